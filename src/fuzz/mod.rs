//! What bytes of any kind are put to: the bodies of the fuzz targets in `tests/fuzz`, and the short form of each as an ordinary test.
//!
//! A body returns, whatever the bytes; what may not be is an assertion. Built for tests and with the feature `fuzz` only.
#![forbid(unsafe_code)]

pub mod pages;
#[cfg(test)]
mod tests;

use crate::error::{Error, SqlState};
use crate::filter::{Filter, facet, signature};
use crate::kernel::{BLOCK_ENTRIES, kernels};
use crate::metric::Metric;
use crate::quantizer::{
    Centre, Factors, QueryCode, Row, block_bytes, encode, pack, row_bytes, shift, unpack,
};
use crate::record::json::parse_records;
use crate::record::jsonb::{self, build};
use crate::record::{metadata, rules};
use crate::vector::{MAX_DIMENSIONS, check_elements, parse_text, write_text};

/// A fuzz target.
pub type Body = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Body); 7] = [
    ("vector_text", vector_text),
    ("vector_elements", vector_elements),
    ("filter", filter),
    ("records", records),
    ("metadata", of_metadata),
    ("codes", codes),
    ("pages", pages::pages),
];

/// A vector's text: what is taken is a vector, and its text is read as the same.
pub fn vector_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse_text(text, None) {
        Ok(elements) => {
            assert!((1..=MAX_DIMENSIONS).contains(&elements.len()));
            reads_back(&elements);
            assert!(parse_text(text, Some(elements.len())).is_ok());
        }
        Err(error) => told_to_users(&error),
    }
}

/// The elements of a vector's binary form.
pub fn vector_elements(data: &[u8]) {
    let (elements, _) = data.as_chunks();
    let elements: Vec<f32> = elements
        .iter()
        .map(|bytes| f32::from_be_bytes(*bytes))
        .collect();
    match check_elements(&elements) {
        Ok(()) if !elements.is_empty() && elements.len() <= MAX_DIMENSIONS => reads_back(&elements),
        Ok(()) => (),
        Err(error) => told_to_users(&error),
    }
}

fn reads_back(elements: &[f32]) {
    assert!(elements.iter().all(|element| element.is_finite()));
    let mut text = String::new();
    write_text(elements, &mut text);
    let again = parse_text(&text, Some(elements.len())).unwrap_or_default();
    let same = again.iter().map(|element| element.to_bits());
    assert!(
        same.eq(elements.iter().map(|element| element.to_bits())),
        "{text}"
    );
}

/// A filter and metadata, one behind the other: what a filter lets through, its signatures, search arguments and guesses admit.
pub fn filter(data: &[u8]) {
    let [first, second, rest @ ..] = data else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([*first, *second])) % (rest.len() + 1);
    let (filter, metadata) = rest.split_at(at);
    let (filter, metadata) = (stored(filter), stored(metadata));
    let filter = match Filter::parse(&filter) {
        Ok(filter) => filter,
        Err(error) => {
            told_or_corrupted(&error);
            return;
        }
    };
    let needed = filter.needed();
    let _ = (filter.jsonpath(), filter.search_arguments().len());
    let sample = crate::filter::estimate::Sample {
        nulls: 0.1,
        common: vec![(metadata.clone(), 0.5)],
        others: vec![metadata.clone(); 12],
    };
    if let Ok(share) = filter.selectivity(&sample) {
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
    let Ok(value) = jsonb::parse(&metadata) else {
        return;
    };
    match filter.matches(Some(value)) {
        Ok(true) if metadata::check_jsonb(&metadata).is_ok() => {
            let signature = signature::of_metadata(Some(&metadata));
            assert!(signature.is_ok_and(|signature| needed.admits(signature)));
        }
        Ok(_) => (),
        Err(error) => told_or_corrupted(&error),
    }
}

/// Records as `pc_upsert` takes them: what is taken keeps the rules.
pub fn records(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse_records(text) {
        Ok(records) => {
            for record in records {
                assert!(rules::check_id(&record.id).is_ok());
                assert!((1..=MAX_DIMENSIONS).contains(&record.values.len()));
                assert!(check_elements(&record.values).is_ok());
                let metadata = record.metadata.unwrap_or("{}");
                assert!(metadata.trim_start().starts_with('{'));
            }
        }
        Err(error) => told_to_users(&error),
    }
    let _ = rules::parse_tags(text);
    let _ = rules::canonical_namespace(text);
    let _ = rules::check_index_name(text);
}

/// Metadata as stored.
pub fn of_metadata(data: &[u8]) {
    let bytes = stored(data);
    if let Err(error) = metadata::check_jsonb(&bytes) {
        told_or_corrupted(&error);
    }
    if let Err(error) = signature::of_metadata(Some(&bytes)) {
        told_or_corrupted(&error);
    }
    if let Ok(value) = jsonb::parse(&bytes)
        && let Ok(values) = facet::values_of(Some(value), b"a")
    {
        assert!(values.count() <= bytes.len());
    }
    let _ = Filter::number(&bytes, b"a");
    let _ = Filter::string(&bytes, b"a");
}

/// Codes, factors and a query of any bytes: estimates are made of them, and packing loses nothing.
pub fn codes(data: &[u8]) {
    let [shape, data @ ..] = data else {
        return;
    };
    let bits = [64, 128, 192, 1024][usize::from(shape % 4)];
    let metric = Metric::ALL[usize::from(shape / 4) % 3];
    let mut bytes = data.iter().copied().cycle();
    let mut take = |count: usize| -> Vec<u8> {
        (0..count)
            .map(|_| bytes.next().unwrap_or_default())
            .collect()
    };
    let block = take(block_bytes(bits));
    let mut rows = vec![vec![0; row_bytes(bits)]; BLOCK_ENTRIES];
    for (entry, row) in rows.iter_mut().enumerate() {
        unpack(&block, bits, entry, row);
    }
    let mut packed = vec![0; block.len()];
    let some: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    pack(&some, bits, &mut packed);
    assert!(packed == block, "packed again");
    let mut floats = || -> Vec<f32> {
        take(bits * 4)
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_ne_bytes(*bytes))
            .collect()
    };
    let finite = |floats: Vec<f32>| {
        floats
            .into_iter()
            .map(|float| if float.is_finite() { float } else { 1.0 })
            .collect()
    };
    let (query, centre, other): (Vec<f32>, _, _) = (
        finite(floats()),
        Centre::new(finite(floats())),
        Centre::new(finite(floats())),
    );
    let mut code = QueryCode::default();
    code.prepare(&query, &centre, metric, 2.0);
    let mut estimates = [0.0; BLOCK_ENTRIES];
    let lanes = (kernels().scan_block)(&block, &code.block(), f32::INFINITY, &mut estimates);
    for (entry, row) in rows.iter().enumerate() {
        let Some(row) = Row::read(row) else {
            continue;
        };
        let bound = code.row(kernels(), row.code, row.factors);
        assert!(
            !bound.lower.is_infinite() || !bound.may_reach(f32::NEG_INFINITY) || bound.lower < 0.0
        );
        // What is no number is kept, to be looked at.
        let kept = lanes >> entry & 1 == 1;
        assert!(
            kept || !estimates[entry].is_nan(),
            "entry {entry}: {estimates:?}"
        );
        let shifted = shift(row.factors, row.code, &centre, &other);
        assert!(
            shifted == Factors::UNKNOWN || shifted.error.to_bits() == row.factors.error.to_bits()
        );
    }
    let mut written = vec![0; bits / 8];
    let factors = encode(&query, &centre, metric, &mut written);
    assert!(factors.error >= 0.0 && factors.add.is_finite() && factors.rescale.is_finite());
    code.turn_to(other.rotated());
}

/// The `jsonb` of JSON, or the bytes themselves as one.
fn stored(data: &[u8]) -> Vec<u8> {
    serde_json::from_slice(data).map_or_else(|_| data.to_vec(), |json| build::of_value(&json))
}

/// An error of what a user wrote is not one of the program.
fn told_to_users(error: &Error) {
    assert!(error.sqlstate() != SqlState::IndexCorrupted, "{error}");
    assert!(!error.to_string().is_empty());
}

/// Stored bytes may be damaged as well.
fn told_or_corrupted(error: &Error) {
    if error.sqlstate() != SqlState::IndexCorrupted {
        told_to_users(error);
    }
}
