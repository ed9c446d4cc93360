//! What all functions do with their arguments: NULL where a value is needed, names, pages.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::namespace::pin;
use crate::record::rules;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgrx::Array;
use std::borrow::Cow;

/// Records or names on a page unless the caller says otherwise.
pub const DEFAULT_LIMIT: usize = 100;

/// Records or values on a page at most, as Pinecone has it.
const MAX_LIMIT: usize = 10_000;

/// The argument, or an error that names it. Functions are not STRICT: a NULL by mistake must not pass for "nothing".
pub fn required<T>(argument: Option<T>, what: &'static str) -> Result<T, Error> {
    argument.ok_or(Error::NullArgument { what })
}

/// A namespace's canonical name: one that the session may use the functions for.
pub fn namespace(argument: Option<&str>) -> Result<Cow<'_, str>, Error> {
    let name = rules::canonical_namespace(required(argument, "namespace")?)?;
    pin::check(&name)?;
    Ok(name)
}

/// A page's size.
pub fn limit(argument: Option<i64>) -> Result<usize, Error> {
    limit_within(argument, usize::MAX, "A limit is at least 1.")
}

/// The size of a page of whole records or values.
pub fn bounded_limit(argument: Option<i64>) -> Result<usize, Error> {
    limit_within(argument, MAX_LIMIT, "A limit is 1 to 10000.")
}

fn limit_within(argument: Option<i64>, max: usize, hint: &str) -> Result<usize, Error> {
    let Some(limit) = argument else {
        return Ok(DEFAULT_LIMIT);
    };
    usize::try_from(limit)
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| Error::InvalidArgument {
            what: "limit",
            value: limit.to_string(),
            hint: hint.into(),
        })
}

/// An array whose elements are all there; `what` is one of them.
pub fn texts<'a>(argument: &'a Array<'_, &str>, what: &'static str) -> Result<Vec<&'a str>, Error> {
    argument.iter().map(|text| required(text, what)).collect()
}

/// The token that continues a listing after `last`.
pub fn token_after(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// Where a token continues.
pub fn token(argument: Option<&str>) -> Result<Option<String>, Error> {
    let Some(token) = argument else {
        return Ok(None);
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|last| !last.is_empty() && !last.contains('\0'))
        .map(Some)
        .ok_or_else(|| Error::InvalidArgument {
            what: "pagination_token",
            value: token.into(),
            hint: "Pass the next_token of the page before, or NULL for the first page.".into(),
        })
}
