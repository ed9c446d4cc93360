//! Damaged bytes, of metadata and of filters, are errors or other values, never a panic.
#![forbid(unsafe_code)]

use super::super::{Filter, facet};
use super::parse;
use crate::error::Error;
use crate::record::jsonb::{self, build};

const FILTER: &str =
    r#"{"a":1,"b":{"$in":["x","y",2]},"$or":[{"c":{"$gte":1.5}},{"$not":{"d":{"$exists":true}}}]}"#;
const METADATA: &str = r#"{"a":1,"b":["x","z"],"c":2,"d":true}"#;

/// The bytes cut at every length, and with every bit turned.
fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let turned = (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    cut.chain(turned).collect()
}

#[test]
fn of_metadata() {
    let filter = parse(FILTER).unwrap();
    let mut errors = 0;
    for bytes in damaged(&build::jsonb(METADATA)) {
        let Ok(metadata) = jsonb::parse(&bytes) else {
            continue;
        };
        match filter.matches(Some(metadata)) {
            Ok(_) => (),
            Err(Error::Corrupted { .. }) => errors += 1,
            Err(other) => panic!("{other}"),
        }
        let _ = facet::values_of(Some(metadata), b"b").map(Iterator::count);
    }
    assert!(errors > 50, "{errors}");
}

#[test]
fn of_filters() {
    let (mut corrupted, mut refused) = (0, 0);
    for bytes in damaged(&build::jsonb(FILTER)) {
        match Filter::parse(&bytes) {
            Ok(filter) => assert!(filter.needed().admits(!0)),
            Err(Error::Corrupted { .. }) => corrupted += 1,
            Err(Error::InvalidFilter { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(corrupted > 100 && refused > 20, "{corrupted} {refused}");
}
