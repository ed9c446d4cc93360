//! The vectors and exact keys an index's maintenance asks for, read from the table whatever their rows' visibility.
#![forbid(unsafe_code)]

use super::heap_tid;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::metric::Scorer;
use crate::pg::heap::fetch::AnyVersion;
use crate::pg::relation::Relation;

/// Rows looked at between two pauses: for some ten microseconds, or a few hundred where they are stored out of line.
const STEP: usize = 16;

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

    /// The exact keys of rows; None for those that are gone. `pause` is called between a few of them.
    pub fn keys(
        &mut self,
        scorer: &Scorer,
        tids: &[EntryTid],
        pause: &mut dyn FnMut(),
    ) -> Result<Vec<Option<f64>>, Error> {
        let mut keys = Vec::with_capacity(tids.len());
        for some in tids.chunks(STEP) {
            pause();
            for tid in some {
                let rows = &mut self.rows;
                keys.push(rows.vector(heap_tid(*tid), |vector| scorer.exact(vector))?);
            }
        }
        Ok(keys)
    }
}
