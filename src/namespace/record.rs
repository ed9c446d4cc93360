//! Records, queries and matches: what reading, searching and writing hand to each other, whichever way they take.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::filter::Filter;
use crate::metric::Scorer;
use crate::pg::json::JsonbOut;
use crate::pg::leaf::StoredRecord;
use crate::record::metadata;
use std::cmp::Ordering;

/// A record read, in memory of our own: rows of a set-returning function outlive the memory they were read in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub id: String,
    pub values: Option<Vec<f32>>,
    /// Bytes of a jsonb value behind its header.
    pub metadata: Option<Vec<u8>>,
}

/// Which parts of a record to read besides its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub values: bool,
    pub metadata: bool,
}

impl Record {
    /// Copies the parts asked for out of a stored row.
    pub fn from_stored(stored: &StoredRecord<'_>, parts: Parts) -> Result<Record, Error> {
        Ok(Record {
            id: stored.id.clone().into_owned(),
            values: if parts.values {
                stored.with_values(<[f32]>::to_vec)?
            } else {
                None
            },
            metadata: if parts.metadata {
                stored.with_metadata(|payload| payload.map(<[u8]>::to_vec))
            } else {
                None
            },
        })
    }
}

/// A search.
pub struct Query<'a> {
    pub scorer: Scorer,
    pub k: usize,
    pub filter: Option<&'a Filter>,
    /// The same as JSON, for SQL.
    pub filter_text: Option<&'a str>,
    /// What to read of the records found.
    pub parts: Parts,
}

/// A record found, and its score.
#[derive(Clone, Debug)]
pub struct Match {
    pub score: f32,
    pub record: Record,
}

/// A key as users see it: rounded to the score's precision, so that equal scores are ties, which the id decides.
#[derive(Clone, Copy, Debug)]
pub struct Rank(f32);

impl Rank {
    pub fn new(key: f64) -> Rank {
        Rank(key as f32 + 0.0) // −0 is 0
    }

    /// The rounded key.
    pub fn key(self) -> f32 {
        self.0
    }

    /// Has it no place but the last?
    pub fn is_nan(self) -> bool {
        self.0.is_nan()
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rank {
    fn eq(&self, other: &Rank) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rank {}

/// `old || set`, checked: keys of `set` are added or overwrite.
pub fn merge_metadata(
    old: Option<&[u8]>,
    set: Option<&JsonbOut>,
) -> Result<Option<Vec<u8>>, Error> {
    let merged = match (old, set) {
        (old, None) => return Ok(old.map(<[u8]>::to_vec)),
        (None, Some(set)) => set.payload().to_vec(),
        (Some(old), Some(set)) => JsonbOut::from_payload(old).concat(set).payload().to_vec(),
    };
    metadata::check_jsonb(&merged)?;
    Ok(Some(merged))
}
