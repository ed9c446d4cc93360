//! A record's metadata in 64 bits: whether it may have a value, told without reading it.
//!
//! Each pair of a field and a value (each element, of a list) sets four bits. A record whose signature lacks one of a
//! pair's bits does not have the pair; one that has all may have it: of records with five other pairs 1 in 200, with nine 1 in 30, with
//! fifteen 1 in 7 (two bits would let through 1 in 50, 1 in 17 and 1 in 7). Entries of the leaf index carry signatures, so the
//! hash is part of the on-disk format: it never changes.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::record::jsonb::{self, Value};

/// The signature of metadata in binary `jsonb`; of none, no bits.
pub fn of_metadata(metadata: Option<&[u8]>) -> Result<u64, Error> {
    let Some(Value::Object(object)) = metadata.map(jsonb::parse).transpose()? else {
        return Ok(0);
    };
    let mut signature = 0;
    for pair in object.iter() {
        let (field, value) = pair?;
        match value {
            Value::Array(list) => {
                for element in list.iter() {
                    signature |= of_pair(field, element?)?;
                }
            }
            value => signature |= of_pair(field, value)?,
        }
    }
    Ok(signature)
}

/// The bits of one pair; none for what no filter can ask for (null, nested objects).
pub fn of_pair(field: &[u8], value: Value<'_>) -> Result<u64, Error> {
    Ok(match value {
        Value::String(text) => of_string(field, text),
        Value::Number(number) => of_number(field, number.to_f64()?),
        Value::Bool(truth) => of_bool(field, truth),
        Value::Null | Value::Array(_) | Value::Object(_) => 0,
    })
}

/// The bits of a field that is a string.
#[must_use]
pub fn of_string(field: &[u8], text: &[u8]) -> u64 {
    bits(field, b's', text)
}

/// The bits of a field that is a number.
#[must_use]
pub fn of_number(field: &[u8], number: f64) -> u64 {
    // Minus zero equals zero.
    bits(field, b'n', &(number + 0.0).to_bits().to_le_bytes())
}

/// The bits of a field that is a boolean.
#[must_use]
pub fn of_bool(field: &[u8], truth: bool) -> u64 {
    bits(field, b'b', &[u8::from(truth)])
}

fn bits(field: &[u8], kind: u8, value: &[u8]) -> u64 {
    // FNV-1a, 64 bits, over the field, a byte no UTF-8 text has, the kind and the value; then the finalizer of
    // MurmurHash3, for FNV leaves the upper bits of short texts alike.
    let mark = [0xff, kind];
    let bytes = field.iter().chain(&mark).chain(value);
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    [0, 6, 12, 18]
        .into_iter()
        .fold(0, |bits, at| bits | 1 << (hash >> at & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build;

    fn signature(json: &str) -> u64 {
        of_metadata(Some(&build::jsonb(json))).unwrap()
    }

    #[test]
    fn it_never_changes() {
        assert_eq!(of_metadata(None).unwrap(), 0);
        assert_eq!(signature("{}"), 0);
        // Computed apart from this code; indexes on disk have them.
        let golden = [
            (r#"{"genre": "drama"}"#, 0x0000_0440_8000_4000),
            (r#"{"seen": true}"#, 0x0800_0004_0000_2400),
            (r#"{"year": 2020}"#, 0x0000_0000_1002_0404),
        ];
        for (json, expected) in golden {
            assert_eq!(signature(json), expected, "{json}");
        }
    }

    #[test]
    fn a_record_has_the_bits_of_each_of_its_pairs() {
        let all =
            signature(r#"{"genre": "drama", "year": 2020, "tags": ["a", "b"], "seen": false}"#);
        for json in [
            r#"{"genre": "drama"}"#,
            r#"{"year": 2020.0}"#,
            r#"{"tags": "a"}"#,
            r#"{"tags": "b"}"#,
            r#"{"seen": false}"#,
        ] {
            let pair = signature(json);
            assert!(pair.count_ones() >= 1 && all & pair == pair, "{json}");
        }
    }

    #[test]
    fn few_records_have_a_pair_by_chance() {
        let records: Vec<u64> = (0..1000)
            .map(|n| {
                signature(&format!(
                    r#"{{"id": {n}, "name": "n{n}", "group": "g{}"}}"#,
                    n % 7
                ))
            })
            .collect();
        let wanted = signature(r#"{"name": "elsewhere"}"#);
        let by_chance = records
            .iter()
            .filter(|found| *found & wanted == wanted)
            .count();
        assert!(by_chance < 20, "{by_chance}");
    }
}
