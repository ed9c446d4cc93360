//! Searching an index from the PostgreSQL side: rows' places in waves, best first, until the caller's bar is reached.
#![forbid(unsafe_code)]

use super::heap_tid;
use crate::error::Error;
use crate::filter::Filter;
use crate::index::learn::estimate_unit;
use crate::index::search::{Search, SearchStats};
use crate::metric::Metric;
use crate::pg::gin::{self, Matching};
use crate::pg::heap::Tid;
use crate::pg::relation::Relation;
use crate::storage::{self, PgPages};

/// Up to so many pages a table is scanned whole: its rows are all read sooner than codes are looked at first.
const FEW_PAGES: u32 = 32;

/// If the signatures let through no more rows than this, a GIN index is asked how many rows pass a filter, …
const FEW_ADMITTED: u64 = 20_000;
/// … and if these are so few, or so many times k, they are all looked at: that is sooner done than finding the nearest by codes.
const FEW_MATCHING: usize = 1_000;
const FEW_FOR_EACH: usize = 20;

/// A recall of 1: only looking at every row is sure to find all.
pub const EXACT: f64 = 1.0;

/// Does a search by codes pay, for a table of so many pages at this recall goal? A vector that lies in the TOAST table is so dear
/// to read that it does for every size.
pub fn pays(heap: &Relation, dimension: usize, recall: f64) -> bool {
    let inline = dimension * size_of::<f32>() < crate::layout::PAGE;
    recall < EXACT && (!inline || heap.blocks() > FEW_PAGES)
}

/// One query's search of an index.
pub struct IndexSearch<'p, 'r> {
    search: Search<'p, PgPages<'r>>,
    metric: Metric,
    pages: &'p PgPages<'r>,
    wave: Vec<Tid>,
}

impl<'p, 'r> IndexSearch<'p, 'r> {
    /// For the `k` nearest to `query`, with a mean recall of `recall` or more.
    pub fn new(
        pages: &'p PgPages<'r>,
        query: &[f32],
        k: usize,
        recall: f64,
    ) -> Result<Self, Error> {
        let state = storage::state(pages)?;
        let (metric, effort) = (state.metric, state.effort(k, recall as f32));
        Ok(Self {
            search: Search::new(pages, state, query, k, effort)?,
            metric,
            pages,
            wave: Vec::new(),
        })
    }

    /// The same, but only of rows that a filter may match by the signatures of the index, if it includes the column that the filter is about.
    #[must_use]
    pub fn only(mut self, filter: &Filter, column: i16, recall: f64) -> Self {
        // Signatures are of the first column included.
        if self.pages.index().included_columns().first() == Some(&column) {
            self.search = self.search.only(filter.needed(), recall as f32);
        }
        self
    }

    /// All rows that may pass the filter, in the order of their places, where that is the better way: they are few, and the table has a GIN index on
    /// `column` that tells them; and its name. To be asked when a wave is over and fewer than k passed.
    pub fn all_matching(
        &self,
        heap: &Relation,
        filter: &Filter,
        column: i16,
        k: usize,
    ) -> Option<Matching> {
        if self.search.may_match()? > FEW_ADMITTED {
            return None;
        }
        let most = FEW_MATCHING.max(k.saturating_mul(FEW_FOR_EACH));
        gin::matching(heap, column, &filter.jsonpath()?, most)
    }

    /// The next rows to look at, in the order of their places; none when the search is over. `bar` is the k-th smallest key
    /// ([`crate::metric::Scorer::exact`]) found so far, None while there are fewer than k.
    pub fn next(&mut self, bar: Option<f64>) -> Result<&[Tid], Error> {
        let bar = bar.map(|key| rounded_up(estimate_unit(self.metric, key)));
        self.wave.clear();
        let wave = self.search.next(bar)?;
        self.wave
            .extend(wave.iter().map(|found| heap_tid(found.tid)));
        Ok(&self.wave)
    }

    /// What it cost so far.
    pub fn stats(&self) -> SearchStats {
        self.search.stats
    }
}

/// Above what rounding may have taken from an estimate: a row at the same distance as the k-th is looked at for its id's sake.
fn rounded_up(key: f32) -> f32 {
    key + key.abs() * 4.0 * f32::EPSILON
}
