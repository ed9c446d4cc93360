//! Searching an index from the PostgreSQL side: rows' places in waves, best first, until the caller's bar is reached.
#![forbid(unsafe_code)]

use super::heap_tid;
use super::teller::Tellers;
use crate::error::Error;
use crate::filter::Filter;
use crate::index::search::{Search, SearchStats};
use crate::metric::Metric;
use crate::pg::gin::Matching;
use crate::pg::heap::Tid;
use crate::pg::relation::Relation;
use crate::storage::{self, PgPages};

/// Up to so many pages a table is scanned whole: its rows are all read sooner than codes are looked at first.
const FEW_PAGES: u32 = 32;

/// Reckoned from the times of whole queries, not measured one by one: what looking at a row costs where all that match are looked at in the order
/// of their places, …
const ROW_IN_ORDER: f64 = 0.8;
/// … where the nearest by their codes are, …
const ROW_BY_CODE: f64 = 1.5;
/// … and what a row's code does: in microseconds, at some hundreds of dimensions.
const CODE: f64 = 0.003;
/// An ordinary index is asked if by what the first rows told it finds no more than so many times as many as pay: it costs something to ask.
const WORTH_ASKING: f64 = 3.0;

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
    /// Ordinary indexes that may tell which rows match, until they were asked.
    tellers: Tellers,
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
            tellers: Tellers::default(),
            wave: Vec::new(),
        })
    }

    /// The same, but only of rows of a table that a filter on one of its columns may match, as far as signatures of the index tell: if it includes that column.
    #[must_use]
    pub fn only(mut self, heap: &Relation, filter: &Filter, column: i16, recall: f64) -> Self {
        self.tellers = Tellers::of(heap, filter, column);
        // Signatures are of the first column included.
        if self.pages.index().included_columns().first() == Some(&column) {
            self.search = self.search.only(filter.needed(), recall as f32);
            if !self.tellers.is_empty() {
                self.search = self.search.tell_first();
            }
        }
        self
    }

    /// All rows that may pass the filter, in the order of their places, where that is the better way: they are few, and an ordinary index of the table
    /// tells them; and its name. To be asked when a wave is over and fewer than k passed so far, `passed` of them.
    pub fn all_matching(&mut self, heap: &Relation, k: usize, passed: usize) -> Option<Matching> {
        if self.tellers.is_empty() {
            return None;
        }
        let rows = self.search.rows() as f64;
        let admitted = self.search.may_match().map_or(rows, |rows| rows as f64);
        let share = (passed + 1) as f64 / (self.search.stats.candidates + 2) as f64;
        let most = worth_reading(rows, admitted, k as f64);
        if admitted * share > most * WORTH_ASKING {
            return None;
        }
        std::mem::take(&mut self.tellers).matching(heap, most as usize)
    }

    /// The next rows to look at, in the order of their places; none when the search is over. `bar` is the k-th smallest key
    /// ([`crate::metric::Scorer::exact`]) found so far, None while there are fewer than k.
    pub fn next(&mut self, bar: Option<f64>) -> Result<&[Tid], Error> {
        let bar = bar.map(|key| rounded_up(self.metric.estimate_unit(key)));
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

/// How many matching rows are as soon looked at as the k nearest of them are found by the codes of all `rows`, of which signatures admit so
/// many: m · [`ROW_IN_ORDER`] = rows · [`CODE`] + k · admitted / m · [`ROW_BY_CODE`], solved for m.
fn worth_reading(rows: f64, admitted: f64, k: f64) -> f64 {
    let codes = rows * CODE;
    let looked_at = 4.0 * ROW_IN_ORDER * ROW_BY_CODE * k * admitted;
    (codes + (codes * codes + looked_at).sqrt()) / (2.0 * ROW_IN_ORDER)
}

/// Above what rounding may have taken from an estimate: a row at the same distance as the k-th is looked at for its id's sake.
fn rounded_up(key: f32) -> f32 {
    key + key.abs() * 4.0 * f32::EPSILON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_reading_costs_as_much_either_way() {
        for (rows, admitted, k) in [
            (62_436.0, 2_700.0, 10.0),
            (1e6, 34_000.0, 10.0),
            (1e3, 1e3, 100.0),
        ] {
            let most = worth_reading(rows, admitted, k);
            let by_code = rows * CODE + k * admitted / most * ROW_BY_CODE;
            assert!(
                (most * ROW_IN_ORDER / by_code - 1.0).abs() < 1e-6,
                "{rows}: {most}"
            );
        }
    }
}
