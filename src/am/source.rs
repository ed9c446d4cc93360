//! The vectors and exact keys an index's maintenance asks for, read from the table whatever their rows' visibility.
#![forbid(unsafe_code)]

use super::heap_tid;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::metric::Scorer;
use crate::pg::heap::fetch::AnyVersion;
use crate::pg::relation::Relation;

/// The vector column of an index's table.
pub struct Source<'r> {
    rows: AnyVersion<'r>,
}

impl<'r> Source<'r> {
    /// Of the table an index is on.
    pub fn new(heap: &'r Relation, index: &Relation) -> Self {
        Self {
            rows: AnyVersion::new(heap, index.key_column()),
        }
    }

    /// The vector of a row; None if it is gone.
    pub fn vector(&mut self, tid: EntryTid) -> Result<Option<Vec<f32>>, Error> {
        self.rows.vector(heap_tid(tid), <[f32]>::to_vec)
    }

    /// The exact keys of rows; None for those that are gone.
    pub fn keys(&mut self, scorer: &Scorer, tids: &[EntryTid]) -> Result<Vec<Option<f64>>, Error> {
        let key = |tid: &EntryTid| {
            let rows = &mut self.rows;
            rows.vector(heap_tid(*tid), |vector| scorer.exact(vector))
        };
        tids.iter().map(key).collect()
    }
}
