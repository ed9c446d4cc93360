//! What filters mean, and which are refused.
#![forbid(unsafe_code)]

mod compared;
mod damage;
mod refused;

use super::facet::{self, Scalar};
use super::*;
use crate::record::jsonb::{Value, build};

fn parse(filter: &str) -> Result<Filter, Error> {
    Filter::parse(&build::jsonb(filter))
}

fn matches(filter: &str, metadata: &str) -> bool {
    let bytes = build::jsonb(metadata);
    let filter = parse(filter).unwrap();
    filter.matches(Some(jsonb::parse(&bytes).unwrap())).unwrap()
}

fn check(metadata: &str, matching: &[&str], others: &[&str]) {
    for filter in matching {
        assert!(matches(filter, metadata), "{filter} on {metadata}");
    }
    for filter in others {
        assert!(!matches(filter, metadata), "{filter} on {metadata}");
    }
}

const FILM: &str =
    r#"{"genre":"drama","year":2020,"score":0.1,"seen":true,"tags":["war","love"],"none":[]}"#;

#[test]
fn equality() {
    check(
        FILM,
        &[
            "{}",
            r#"{"genre":"drama"}"#,
            r#"{"genre":{"$eq":"drama"}}"#,
            r#"{"genre":"dr\u0061ma"}"#,
            r#"{"year":2020}"#,
            r#"{"year":2020.0}"#,
            r#"{"year":{"$eq":2.02e3}}"#,
            r#"{"score":0.1}"#,
            r#"{"seen":true}"#,
            r#"{"tags":"war"}"#,
            r#"{"tags":{"$eq":"love"}}"#,
            r#"{"genre":"drama","year":2020,"seen":true}"#,
        ],
        &[
            r#"{"genre":"Drama"}"#,
            r#"{"genre":""}"#,
            r#"{"year":2021}"#,
            r#"{"score":0.10000000000000002}"#,
            r#"{"seen":false}"#,
            r#"{"tags":"peace"}"#,
            r#"{"none":"x"}"#,
            r#"{"absent":"drama"}"#,
            r#"{"genre":"drama","year":2021}"#,
        ],
    );
}

#[test]
fn inequality() {
    check(
        FILM,
        &[
            r#"{"genre":{"$ne":"war"}}"#,
            r#"{"year":{"$ne":2021}}"#,
            r#"{"seen":{"$ne":false}}"#,
            r#"{"tags":{"$ne":"peace"}}"#,
            r#"{"none":{"$ne":"peace"}}"#,
        ],
        &[
            r#"{"genre":{"$ne":"drama"}}"#,
            r#"{"year":{"$ne":2020.0}}"#,
            r#"{"seen":{"$ne":true}}"#,
            r#"{"tags":{"$ne":"war"}}"#,
            r#"{"tags":{"$ne":"love"}}"#,
            // Another type, and no field.
            r#"{"genre":{"$ne":1}}"#,
            r#"{"year":{"$ne":"x"}}"#,
            r#"{"seen":{"$ne":"x"}}"#,
            r#"{"tags":{"$ne":1}}"#,
            r#"{"absent":{"$ne":"x"}}"#,
        ],
    );
}

#[test]
fn order() {
    check(
        FILM,
        &[
            r#"{"year":{"$gt":2019}}"#,
            r#"{"year":{"$gte":2020}}"#,
            r#"{"year":{"$lt":2020.5}}"#,
            r#"{"year":{"$lte":2020}}"#,
            r#"{"year":{"$gte":2000,"$lt":2021}}"#,
            r#"{"score":{"$gt":-1}}"#,
        ],
        &[
            r#"{"year":{"$gt":2020}}"#,
            r#"{"year":{"$gte":2021}}"#,
            r#"{"year":{"$lt":2020}}"#,
            r#"{"year":{"$lte":2019}}"#,
            r#"{"year":{"$gte":2000,"$lt":2020}}"#,
            r#"{"genre":{"$gt":0}}"#,
            r#"{"seen":{"$gte":0}}"#,
            r#"{"tags":{"$lt":9}}"#,
            r#"{"absent":{"$lt":9}}"#,
        ],
    );
}

#[test]
fn membership() {
    check(
        FILM,
        &[
            r#"{"genre":{"$in":["comedy","drama"]}}"#,
            r#"{"year":{"$in":["x",2020]}}"#,
            r#"{"tags":{"$in":["peace","love"]}}"#,
            r#"{"genre":{"$nin":["comedy"]}}"#,
            r#"{"year":{"$nin":["x",2021]}}"#,
            r#"{"tags":{"$nin":["peace","x"]}}"#,
            r#"{"none":{"$nin":["peace"]}}"#,
            r#"{"genre":{"$nin":[]}}"#,
        ],
        &[
            r#"{"genre":{"$in":["comedy","dram"]}}"#,
            r#"{"genre":{"$in":[]}}"#,
            r#"{"absent":{"$in":["x"]}}"#,
            r#"{"none":{"$in":["x"]}}"#,
            r#"{"genre":{"$nin":["comedy","drama"]}}"#,
            r#"{"tags":{"$nin":["peace","love"]}}"#,
            r#"{"year":{"$nin":["x"]}}"#,
            r#"{"seen":{"$nin":["x",1]}}"#,
            r#"{"absent":{"$nin":["x"]}}"#,
            r#"{"absent":{"$nin":[]}}"#,
        ],
    );
}

#[test]
fn ten_thousand_values() {
    let values: Vec<String> = (0..MAX_VALUES)
        .map(|n| format!("{}", (n * 7919) % 20_011))
        .collect();
    let filter = parse(&format!(r#"{{"n":{{"$in":[{}]}}}}"#, values.join(","))).unwrap();
    for n in 0..20_011 {
        let bytes = build::jsonb(&format!(r#"{{"n":{n}}}"#));
        let found = filter.matches(Some(jsonb::parse(&bytes).unwrap())).unwrap();
        // The place of n among the multiples of 7919.
        let wanted = (0..MAX_VALUES).any(|m| (m * 7919) % 20_011 == n);
        assert_eq!(found, wanted, "{n}");
    }
}

#[test]
fn existence() {
    check(
        r#"{"a":1,"b":[],"c":null}"#,
        &[
            r#"{"a":{"$exists":true}}"#,
            r#"{"b":{"$exists":true}}"#,
            r#"{"c":{"$exists":true}}"#,
            r#"{"d":{"$exists":false}}"#,
            r#"{"a":{"$exists":true,"$lt":2}}"#,
        ],
        &[
            r#"{"a":{"$exists":false}}"#,
            r#"{"b":{"$exists":false}}"#,
            r#"{"d":{"$exists":true}}"#,
            r#"{"d":{"$exists":false,"$ne":1}}"#,
        ],
    );
}

#[test]
fn logic() {
    check(
        FILM,
        &[
            r#"{"$and":[{"tags":"war"},{"tags":"love"}]}"#,
            r#"{"$or":[{"genre":"comedy"},{"year":2020}]}"#,
            r#"{"$or":[{"absent":1},{"year":2020}]}"#,
            r#"{"$not":{"genre":"comedy"}}"#,
            r#"{"$not":{"absent":"x"}}"#,
            r#"{"$not":{"absent":{"$ne":"x"}}}"#,
            r#"{"$not":{"genre":"drama","year":2021}}"#,
            r#"{"seen":true,"$or":[{"year":1},{"$and":[{"year":2020},{"genre":"drama"}]}]}"#,
        ],
        &[
            r#"{"$and":[{"tags":"war"},{"tags":"peace"}]}"#,
            r#"{"$or":[{"genre":"comedy"},{"year":2021}]}"#,
            r#"{"$not":{"genre":"drama"}}"#,
            r#"{"$not":{"$not":{"genre":"comedy"}}}"#,
            r#"{"seen":false,"$or":[{"year":2020}]}"#,
        ],
    );
}

#[test]
fn another_type_never_matches() {
    check(
        r#"{"a":"1","b":1,"c":true,"d":"true","e":null,"f":{"g":1},"h":["1",1,true]}"#,
        // Lists of other things than strings come only by plain SQL; elements compare all the same.
        &[
            r#"{"h":"1"}"#,
            r#"{"h":1}"#,
            r#"{"h":true}"#,
            r#"{"h":{"$gt":0}}"#,
        ],
        &[
            r#"{"a":1}"#,
            r#"{"b":"1"}"#,
            r#"{"b":true}"#,
            r#"{"c":1}"#,
            r#"{"c":"true"}"#,
            r#"{"d":true}"#,
            r#"{"e":"null"}"#,
            r#"{"e":{"$ne":"null"}}"#,
            r#"{"f":1}"#,
            r#"{"f":{"$ne":1}}"#,
            r#"{"h":{"$ne":"2"}}"#,
        ],
    );
}

#[test]
fn metadata_without_fields() {
    assert!(parse("{}").unwrap().is_empty());
    for (filter, expected) in [
        ("{}", true),
        (r#"{"a":1}"#, false),
        (r#"{"a":{"$ne":1}}"#, false),
        (r#"{"a":{"$exists":false}}"#, true),
        (r#"{"$not":{"a":1}}"#, true),
    ] {
        assert_eq!(parse(filter).unwrap().matches(None), Ok(expected));
        for metadata in ["null", "[]", "1", "{}"] {
            assert_eq!(matches(filter, metadata), expected, "{filter}");
        }
    }
    assert!(!parse(r#"{"a":1}"#).unwrap().is_empty());
}

#[test]
fn what_a_filter_needs_of_a_signature() {
    let a = signature::of_string(b"f", b"a");
    let b = signature::of_string(b"f", b"b");
    let one = signature::of_number(b"n", 1.0);
    let list = |count: usize| {
        let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        format!(r#"{{"n":{{"$in":[{}]}}}}"#, values.join(","))
    };
    for (filter, admitted, refused) in [
        (r#"{"f":"a"}"#, vec![a, a | b, !0], vec![0, b]),
        (r#"{"f":{"$in":["a","b"]}}"#, vec![a, b], vec![0, one]),
        (r#"{"f":"a","n":1}"#, vec![a | one], vec![a, one]),
        (
            r#"{"n":1,"$or":[{"f":"a"},{"f":"b"}]}"#,
            vec![a | one, b | one],
            vec![a, b, one],
        ),
        (r#"{"f":"a","n":{"$gt":1}}"#, vec![a], vec![0]),
        (r#"{"f":{"$in":[]}}"#, vec![], vec![0, !0]),
    ] {
        let needed = parse(filter).unwrap().needed();
        assert!(!needed.is_all(), "{filter}");
        for signature in admitted {
            assert!(needed.admits(signature), "{filter} {signature:x}");
        }
        for signature in refused {
            assert!(!needed.admits(signature), "{filter} {signature:x}");
        }
    }
    for filter in [
        "{}",
        r#"{"f":{"$ne":"a"}}"#,
        r#"{"n":{"$lt":1}}"#,
        r#"{"f":{"$exists":true}}"#,
        r#"{"$not":{"f":"a"}}"#,
        r#"{"$or":[{"f":"a"},{"n":{"$gt":1}}]}"#,
        &list(100),
    ] {
        assert!(parse(filter).unwrap().needed().is_all(), "{filter}");
    }
    // A product with too many terms leaves one of its factors.
    let many = format!(
        r#"{{"$and":[{},{}]}}"#,
        list(12),
        list(12).replace("\"n\"", "\"m\"")
    );
    assert!(!parse(&many).unwrap().needed().admits(0));
}

#[test]
fn facets_are_distinct_values() {
    let bytes = build::jsonb(r#"{"tags":["b","a","b"],"n":-0.0,"t":true,"x":null,"o":{"a":1}}"#);
    let metadata = Some(jsonb::parse(&bytes).unwrap());
    let values = |field: &str| -> Vec<Scalar<'_>> {
        facet::values_of(metadata, field.as_bytes())
            .unwrap()
            .collect()
    };
    assert_eq!(values("tags"), [Scalar::String(b"a"), Scalar::String(b"b")]);
    assert_eq!(values("n"), [Scalar::Number(0.0)]);
    assert_eq!(values("t"), [Scalar::Bool(true)]);
    for field in ["x", "o", "absent"] {
        assert_eq!(values(field), [], "{field}");
    }
    assert_eq!(
        facet::values_of(None::<Value<'_>>, b"a").unwrap().count(),
        0
    );
    assert!(Scalar::Bool(true) < Scalar::Number(-1.0));
    assert!(Scalar::Number(9.0) < Scalar::String(b""));
}
