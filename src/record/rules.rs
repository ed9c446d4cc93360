//! Limits, and the rules for names, ids and arguments.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::vector::MAX_DIMENSIONS;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of a record's id.
pub const MAX_ID_BYTES: usize = 512;
/// Bytes of a namespace's name.
pub const MAX_NAMESPACE_BYTES: usize = 512;
/// Characters of an index's name (the longest that leaves room for a suffix in PostgreSQL's 63).
pub const MAX_INDEX_NAME: usize = 45;
/// Records a query returns.
pub const MAX_TOP_K: usize = 10_000;
/// Bytes of a record's metadata, as stored.
pub const MAX_METADATA_BYTES: usize = 40_960;
/// Characters of a tag's key.
pub const MAX_TAG_KEY: usize = 80;
/// Bytes of a tag's value.
pub const MAX_TAG_VALUE: usize = 120;
/// The stored name of the namespace that is also called `''`.
pub const DEFAULT_NAMESPACE: &str = "__default__";

fn invalid(what: &'static str, value: &str, hint: impl Into<String>) -> Error {
    Error::InvalidArgument {
        what,
        value: value.to_owned(),
        hint: hint.into(),
    }
}

fn check_bytes(what: &'static str, text: &str, max: usize) -> Result<(), Error> {
    if text.len() > max {
        return Err(Error::TooLong {
            what,
            actual: text.len(),
            max,
        });
    }
    if text.contains('\0') {
        return Err(invalid(
            what,
            &text.replace('\0', "\\0"),
            "A NUL character cannot be stored.",
        ));
    }
    Ok(())
}

/// An id is 1 … 512 bytes.
pub fn check_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(invalid("id", id, "An id has 1 to 512 bytes."));
    }
    check_bytes("id", id, MAX_ID_BYTES)
}

/// The name a namespace is stored under: at most 512 bytes, and `__default__` for the empty one.
pub fn canonical_namespace(namespace: &str) -> Result<Cow<'_, str>, Error> {
    if namespace.is_empty() {
        return Ok(Cow::Borrowed(DEFAULT_NAMESPACE));
    }
    check_bytes("namespace", namespace, MAX_NAMESPACE_BYTES)?;
    Ok(Cow::Borrowed(namespace))
}

/// An index's name is 1 … 45 of `a-z0-9-` and begins and ends with a letter or digit.
pub fn check_index_name(name: &str) -> Result<(), Error> {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    let valid = name.len() <= MAX_INDEX_NAME
        && ends
            .iter()
            .all(|end| end.is_some_and(|byte| alphanumeric(*byte)))
        && bytes
            .iter()
            .all(|byte| alphanumeric(*byte) || *byte == b'-');
    if valid {
        return Ok(());
    }
    Err(invalid(
        "index name",
        name,
        "An index name has 1 to 45 lower-case letters, digits and hyphens, and begins and ends with a letter or digit.",
    ))
}

/// `top_k` is 1 … 10,000.
pub fn check_top_k(top_k: i64) -> Result<usize, Error> {
    in_range(top_k, MAX_TOP_K)
        .ok_or_else(|| invalid("top_k", &top_k.to_string(), "top_k is 1 to 10000."))
}

/// A dimension is 1 … 20,000.
pub fn check_dimension(dimension: i64) -> Result<usize, Error> {
    in_range(dimension, MAX_DIMENSIONS).ok_or_else(|| {
        invalid(
            "dimension",
            &dimension.to_string(),
            "The dimension of an index is 1 to 20000.",
        )
    })
}

fn in_range(number: i64, max: usize) -> Option<usize> {
    usize::try_from(number)
        .ok()
        .filter(|number| (1..=max).contains(number))
}

/// Whether the setting protects: `enabled` or `disabled`.
pub fn check_deletion_protection(setting: &str) -> Result<bool, Error> {
    match setting {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        _ => Err(invalid(
            "deletion_protection",
            setting,
            "deletion_protection is \"enabled\" or \"disabled\".",
        )),
    }
}

/// The tags of a JSON object: keys of at most 80 of `A-Za-z0-9_-`, values strings of at most 120 bytes.
pub fn parse_tags(json: &str) -> Result<BTreeMap<String, String>, Error> {
    let tags: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| {
        invalid(
            "tags",
            json,
            "Tags are a JSON object whose values are strings.",
        )
    })?;
    for (key, value) in &tags {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if key.is_empty() || key.len() > MAX_TAG_KEY || !key.bytes().all(valid) {
            return Err(invalid(
                "tag key",
                key,
                "A tag's key has 1 to 80 letters, digits, underscores and hyphens.",
            ));
        }
        check_bytes("tag value", value, MAX_TAG_VALUE)?;
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn ids() {
        for id in ["a", "ä/:[]. ", &"x".repeat(512), &"é".repeat(256)] {
            assert_eq!(check_id(id), Ok(()));
        }
        assert_eq!(message(check_id("")), "invalid id: \"\"");
        assert_eq!(message(check_id("a\0b")), "invalid id: \"a\\0b\"");
        let long = check_id(&"é".repeat(257));
        assert_eq!(message(long.clone()), "id of 514 bytes is longer than 512");
        assert_eq!(long.unwrap_err().sqlstate(), SqlState::ProgramLimitExceeded);
    }

    #[test]
    fn namespaces() {
        assert_eq!(canonical_namespace("").unwrap(), "__default__");
        assert_eq!(canonical_namespace("__default__").unwrap(), "__default__");
        assert_eq!(canonical_namespace(" T'1 ").unwrap(), " T'1 ");
        assert!(canonical_namespace(&"n".repeat(512)).is_ok());
        let long = canonical_namespace(&"n".repeat(513)).map(|_| ());
        assert_eq!(message(long), "namespace of 513 bytes is longer than 512");
        assert!(canonical_namespace("a\0").is_err());
    }

    #[test]
    fn index_names() {
        for name in ["a", "0", "multitenant-app", "a--b", &"x".repeat(45)] {
            assert_eq!(check_index_name(name), Ok(()));
        }
        for name in ["", "-a", "a-", "A", "a_b", "é", "a b", &"x".repeat(46)] {
            let expected = format!("invalid index name: \"{name}\"");
            assert_eq!(message(check_index_name(name)), expected);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(check_top_k(1), Ok(1));
        assert_eq!(check_top_k(10_000), Ok(10_000));
        assert_eq!(message(check_top_k(0)), "invalid top_k: \"0\"");
        assert_eq!(message(check_top_k(10_001)), "invalid top_k: \"10001\"");
        assert_eq!(check_dimension(20_000), Ok(20_000));
        assert_eq!(message(check_dimension(-1)), "invalid dimension: \"-1\"");
        assert_eq!(
            message(check_dimension(20_001)),
            "invalid dimension: \"20001\""
        );
    }

    #[test]
    fn settings_and_tags() {
        assert_eq!(check_deletion_protection("enabled"), Ok(true));
        assert_eq!(check_deletion_protection("disabled"), Ok(false));
        let error = check_deletion_protection("on").unwrap_err();
        assert_eq!(error.to_string(), "invalid deletion_protection: \"on\"");
        assert_eq!(error.sqlstate(), SqlState::InvalidParameterValue);

        let tags = parse_tags(r#"{"team":"search","env":""}"#).unwrap();
        assert_eq!(tags.get("team").map(String::as_str), Some("search"));
        assert_eq!(tags.len(), 2);
        for json in ["[]", "null", "{\"a\":1}", "{\"a\":null}", "{\"a\":[]}"] {
            assert_eq!(
                message(parse_tags(json)),
                format!("invalid tags: \"{json}\"")
            );
        }
        assert_eq!(
            message(parse_tags(r#"{"a b":"c"}"#)),
            "invalid tag key: \"a b\""
        );
        assert_eq!(message(parse_tags(r#"{"":"c"}"#)), "invalid tag key: \"\"");
        let long = format!("{{\"a\":\"{}\"}}", "v".repeat(121));
        assert_eq!(
            message(parse_tags(&long)),
            "tag value of 121 bytes is longer than 120"
        );
    }
}
