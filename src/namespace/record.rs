//! Records, queries and matches: what reading, searching and writing hand to each other, whichever way they take.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::filter::Filter;
use crate::metric::Scorer;
use crate::pg::json::{JsonbArg, JsonbOut};
use crate::pg::json_merge::JsonMerge;
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

impl Parts {
    /// Is nothing asked for but the id?
    pub fn is_none(self) -> bool {
        !self.values && !self.metadata
    }
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
    /// The same as the bytes of a `jsonb` behind its header, for SQL.
    pub filter_jsonb: Option<&'a [u8]>,
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

/// What is to become of a record's metadata, checked: keys added or overwritten, keys removed.
pub struct MetadataChange<'a> {
    set: Option<JsonbArg<'a>>,
    remove: Option<Vec<String>>,
    merge: JsonMerge<'a>,
}

impl<'a> MetadataChange<'a> {
    /// Refuses what metadata cannot have, and a key that is both set and removed.
    pub fn new(set: Option<JsonbArg<'a>>, remove: Option<Vec<String>>) -> Result<Self, Error> {
        if let Some(set) = set {
            metadata::check_jsonb(set.payload())?;
            let fields = metadata::check_is_object(set.payload())?;
            for key in remove.iter().flatten() {
                if fields.get(key.as_bytes())?.is_some() {
                    return Err(Error::ArgumentsDisagree {
                        problem: format!("metadata field \"{key}\" is both set and removed"),
                        hint: "Give each field in set_metadata or in remove_metadata, not in both.",
                    });
                }
            }
        }
        Ok(Self {
            set,
            merge: JsonMerge::new(set, remove.as_deref()),
            remove,
        })
    }

    /// Is nothing set and nothing removed?
    pub fn is_none(&self) -> bool {
        !self.merge.changes()
    }

    /// What becomes of a record's metadata (bytes behind the header of a jsonb value).
    pub fn apply(&self, old: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        if self.is_none() {
            return Ok(old.map(<[u8]>::to_vec));
        }
        if let Some(old) = old {
            metadata::check_is_object(old)?;
        }
        let merged = self.merge.apply(old);
        merged.as_deref().map_or(Ok(()), metadata::check_jsonb)?;
        Ok(merged)
    }

    /// What is set, as an argument of a statement.
    pub fn set(&self) -> Option<JsonbOut> {
        self.set.map(|set| JsonbOut::from_payload(set.payload()))
    }

    /// What is removed, likewise.
    pub fn remove(&self) -> Option<Vec<String>> {
        self.remove.clone()
    }
}
