//! What a record's metadata may be: a flat object of strings, numbers, booleans and lists of strings.
//!
//! The limit of 40 KB (40,960 bytes) is on the stored form: the bytes of the `jsonb` without its length header and before
//! compression. That is what the row carries and what a filter reads; for metadata of a few fields it differs little from the text.
#![forbid(unsafe_code)]

use super::jsonb::{self, Object, Value};
use super::rules::MAX_METADATA_BYTES;
use crate::error::Error;

/// Checks metadata as stored.
pub fn check_jsonb(bytes: &[u8]) -> Result<(), Error> {
    let object = check_is_object(bytes)?;
    if bytes.len() > MAX_METADATA_BYTES {
        return Err(Error::MetadataTooLarge {
            actual: bytes.len(),
            max: MAX_METADATA_BYTES,
        });
    }
    for pair in object.iter() {
        let (key, value) = pair?;
        if let Some(problem) = problem(key, value)? {
            return Err(Error::InvalidMetadata {
                field: String::from_utf8_lossy(key).into_owned(),
                problem,
            });
        }
    }
    Ok(())
}

/// Checks only that metadata is an object, which it answers.
pub fn check_is_object(bytes: &[u8]) -> Result<Object<'_>, Error> {
    match jsonb::parse(bytes)? {
        Value::Object(object) => Ok(object),
        other => Err(Error::MetadataNotObject {
            found: other.kind(),
        }),
    }
}

fn problem(key: &[u8], value: Value<'_>) -> Result<Option<&'static str>, Error> {
    if key.starts_with(b"$") {
        return Ok(Some("begins with $"));
    }
    Ok(match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => None,
        Value::Null => Some("is null"),
        Value::Object(_) => Some("is a nested object"),
        Value::Array(array) => {
            for element in array.iter() {
                if !matches!(element?, Value::String(_)) {
                    return Ok(Some("is a list with an element that is not a string"));
                }
            }
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build::jsonb;

    fn message(json: &str) -> Option<String> {
        check_jsonb(&jsonb(json))
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn what_is_accepted() {
        for json in [
            "{}",
            r#"{"genre":"drama","year":2020,"ok":true,"tags":["a","b"],"none":[],"":"","a$":1}"#,
        ] {
            assert_eq!(message(json), None);
        }
    }

    #[test]
    fn what_is_refused() {
        for (json, expected) in [
            (r#"{"a":1,"b":null}"#, "metadata field \"b\" is null"),
            (
                r#"{"a":{"b":1}}"#,
                "metadata field \"a\" is a nested object",
            ),
            (
                r#"{"a":["x",1]}"#,
                "metadata field \"a\" is a list with an element that is not a string",
            ),
            (
                r#"{"a":[["x"]]}"#,
                "metadata field \"a\" is a list with an element that is not a string",
            ),
            (r#"{"$in":1}"#, "metadata field \"$in\" begins with $"),
            ("[]", "metadata must be a JSON object, not an array"),
            ("\"x\"", "metadata must be a JSON object, not a string"),
            ("7", "metadata must be a JSON object, not a number"),
            ("null", "metadata must be a JSON object, not null"),
            ("true", "metadata must be a JSON object, not a boolean"),
        ] {
            assert_eq!(message(json).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_limit_is_on_the_stored_bytes() {
        // One pair: header, two entries, and the bytes of key and value.
        let of = |stored: usize| format!("{{\"k\":\"{}\"}}", "x".repeat(stored - 13));
        assert_eq!(jsonb(&of(40_960)).len(), 40_960);
        assert_eq!(message(&of(40_960)), None);
        let expected = "metadata of 40961 bytes is larger than 40960";
        assert_eq!(message(&of(40_961)).as_deref(), Some(expected));
    }
}
