//! What filters mean, and which are refused.
#![forbid(unsafe_code)]

use super::*;
use crate::error::SqlState;
use crate::record::jsonb::{self, build};

fn matches(filter: &str, metadata: &str) -> bool {
    let bytes = build::jsonb(metadata);
    let filter = Filter::parse(filter).unwrap();
    filter.matches(Some(jsonb::parse(&bytes).unwrap())).unwrap()
}

const FILM: &str =
    r#"{"genre":"drama","year":2020,"score":0.1,"seen":true,"tags":["war","love"],"none":[]}"#;

#[test]
fn equality() {
    for filter in [
        "{}",
        " { } ",
        r#"{"genre":"drama"}"#,
        r#"{ "genre" : { "$eq" : "drama" } }"#,
        r#"{"genre":"dr\u0061ma"}"#,
        r#"{"year":2020}"#,
        r#"{"year":2020.0}"#,
        r#"{"year":{"$eq":2.02e3}}"#,
        r#"{"score":0.1}"#,
        r#"{"score":0.10000000000000000001}"#,
        r#"{"seen":true}"#,
        r#"{"tags":"war"}"#,
        r#"{"tags":{"$eq":"love"}}"#,
        r#"{"genre":"drama","year":2020,"seen":true}"#,
    ] {
        assert!(matches(filter, FILM), "{filter}");
    }
    for filter in [
        r#"{"genre":"Drama"}"#,
        r#"{"genre":""}"#,
        r#"{"year":2021}"#,
        r#"{"score":0.10000000000000002}"#,
        r#"{"seen":false}"#,
        r#"{"tags":"peace"}"#,
        r#"{"none":"x"}"#,
        r#"{"absent":"drama"}"#,
        r#"{"genre":"drama","year":2021}"#,
    ] {
        assert!(!matches(filter, FILM), "{filter}");
    }
}

#[test]
fn another_type_never_matches() {
    let metadata = r#"{"a":"1","b":1,"c":true,"d":"true","e":null,"f":{"g":1},"h":["1",1,true]}"#;
    for filter in [
        r#"{"a":1}"#,
        r#"{"b":"1"}"#,
        r#"{"b":true}"#,
        r#"{"c":1}"#,
        r#"{"c":"true"}"#,
        r#"{"d":true}"#,
        r#"{"e":"null"}"#,
        r#"{"f":1}"#,
    ] {
        assert!(!matches(filter, metadata), "{filter}");
    }
    // Lists of other things than strings come only by plain SQL; elements compare all the same.
    for filter in [r#"{"h":"1"}"#, r#"{"h":1}"#, r#"{"h":true}"#] {
        assert!(matches(filter, metadata), "{filter}");
    }
}

#[test]
fn without_metadata_only_the_empty_filter_matches() {
    let (all, some) = (
        Filter::parse("{}").unwrap(),
        Filter::parse(r#"{"a":1}"#).unwrap(),
    );
    assert!(all.is_empty() && !some.is_empty());
    assert_eq!(all.matches(None), Ok(true));
    assert_eq!(some.matches(None), Ok(false));
    for metadata in ["null", "[]", "1"] {
        assert!(matches("{}", metadata));
        assert!(!matches(r#"{"a":1}"#, metadata));
    }
}

#[test]
fn what_is_refused_is_told_with_its_path() {
    let not_an_operand = "the value to equal must be a string, number or boolean, not";
    for (filter, expected) in [
        ("[]", "$: a filter must be a JSON object".to_owned()),
        ("null", "$: a filter must be a JSON object".to_owned()),
        (
            r#"{"$and":[{"a":1}]}"#,
            "$.$and: this operator is not supported".to_owned(),
        ),
        (
            r#"{"genre":{"$in":["a"]}}"#,
            "$.genre.$in: this operator is not supported".to_owned(),
        ),
        (
            r#"{"year":{"$eq":1,"$gt":0}}"#,
            "$.year.$gt: this operator is not supported".to_owned(),
        ),
        (r#"{"a":{}}"#, "$.a: an operator is missing".to_owned()),
        (
            r#"{"a":{"b":1}}"#,
            "$.a.b: metadata has no nested fields".to_owned(),
        ),
        (r#"{"a":null}"#, format!("$.a: {not_an_operand} null")),
        (r#"{"a":["x"]}"#, format!("$.a: {not_an_operand} a list")),
        (
            r#"{"a":{"$eq":["x"]}}"#,
            format!("$.a.$eq: {not_an_operand} a list"),
        ),
        (
            r#"{"a":{"$eq":{}}}"#,
            format!("$.a.$eq: {not_an_operand} an object"),
        ),
        (
            r#"{"a":{"$eq":null}}"#,
            format!("$.a.$eq: {not_an_operand} null"),
        ),
    ] {
        let error = Filter::parse(filter).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid filter at {expected}"));
        assert_eq!(error.sqlstate(), SqlState::InvalidParameterValue);
        assert!(error.hint().unwrap().contains("$eq"));
    }
    let error = Filter::parse(r#"{"a":1"#).unwrap_err().to_string();
    assert!(
        error.starts_with("invalid filter at $: this is not JSON"),
        "{error}"
    );
}

#[test]
fn corrupted_metadata_is_an_error() {
    let mut bytes = build::jsonb(r#"{"a":1}"#);
    bytes.truncate(14);
    let metadata = jsonb::parse(&bytes).unwrap();
    let filter = Filter::parse(r#"{"a":1}"#).unwrap();
    assert!(matches!(
        filter.matches(Some(metadata)),
        Err(Error::Corrupted { .. })
    ));
}
