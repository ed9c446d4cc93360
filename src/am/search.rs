//! Searching an index from the PostgreSQL side: rows' places in waves, best first, until the caller's bar is reached.
#![forbid(unsafe_code)]

use super::ask::{Asked, Phase};
use super::heap_tid;
use super::teller::Tellers;
use crate::error::Error;
use crate::filter::{Filter, Needed};
use crate::index::search::{Search, SearchStats};
use crate::metric::Metric;
use crate::pg::heap::Tid;
use crate::storage::PgPages;

/// Up to so many pages a table is scanned whole: its rows are all read sooner than codes are looked at first.
const FEW_PAGES: u32 = 32;

/// A recall of 1: only looking at every row is sure to find all.
pub const EXACT: f64 = 1.0;

/// Is a table of so many pages read as a whole sooner than by any index?
pub fn is_small(pages: u32) -> bool {
    pages <= FEW_PAGES
}

/// Does a search by codes pay, for a table of so many pages at this recall goal? A vector that lies in the TOAST table is so dear
/// to read that it does for every size.
pub fn pays(pages: u32, dimension: usize, recall: f64) -> bool {
    let inline = dimension * size_of::<f32>() < crate::layout::PAGE;
    recall < EXACT && (!inline || !is_small(pages))
}

/// One query's search of an index.
pub struct IndexSearch<'p, 'r> {
    pub(super) search: Search<'p, PgPages<'r>>,
    metric: Metric,
    pub(super) k: usize,
    pages: &'p PgPages<'r>,
    /// Ordinary indexes of a table that may tell which rows match, until they were asked.
    pub(super) tellers: Option<Tellers<'p>>,
    pub(super) phase: Phase,
    /// Of the rows whose signatures are admitted the share that passes, as far as a sample tells.
    pub(super) passing: f64,
    /// The one that did, and how many it told.
    pub(super) told_by: Option<(String, usize)>,
    pub(super) wave: Vec<Tid>,
}

/// Rows to look at, in the order of their places.
pub enum Next<'s> {
    /// Those that are the next nearest by their codes; none when the search is over.
    Wave(&'s [Tid]),
    /// How many of these pass the filter is to be told by [`IndexSearch::tell`]; they are not handed out.
    Sample(&'s [Tid]),
    /// All that may pass the filter, whatever was looked at before: they are few, and the search is over.
    All(Vec<Tid>),
}

impl<'p, 'r> IndexSearch<'p, 'r> {
    /// For the `k` nearest to `query`, with a mean recall of `recall` or more.
    pub fn new(
        pages: &'p PgPages<'r>,
        query: &[f32],
        k: usize,
        recall: f64,
    ) -> Result<Self, Error> {
        let state = super::state(pages)?;
        let (metric, effort) = (state.metric, state.effort(k, recall as f32));
        Ok(Self {
            search: Search::new(pages, state, query, k, effort)?,
            metric,
            k,
            pages,
            tellers: None,
            phase: Phase::Signatures,
            passing: 1.0,
            told_by: None,
            wave: Vec::new(),
        })
    }

    /// The same, but only of rows that a filter on one of the table's columns may match, as far as signatures of the index tell, if it includes that
    /// column, and ordinary indexes of the table, of which none told that they are few.
    #[must_use]
    pub fn only(mut self, filter: &Filter, column: i16, tellers: Option<Tellers<'p>>) -> Self {
        // Signatures are of the first column included.
        let signed = self.pages.index().included_columns().first() == Some(&column);
        let needed = if signed {
            filter.needed()
        } else {
            Needed::all()
        };
        self.search = self.search.only(needed);
        let tellers = tellers.filter(|tellers| tellers.cost().is_some());
        if tellers.is_some() {
            self.search = self.search.tell_first();
        }
        self.tellers = tellers;
        self
    }

    /// The next rows to look at. `bar` is the k-th smallest key ([`crate::metric::Scorer::exact`]) found so far, None while there are fewer than k;
    /// `passed` is how many there are.
    pub fn next(&mut self, bar: Option<f64>, passed: usize) -> Result<Next<'_>, Error> {
        if passed < self.k || self.search.stats.passes == 0 {
            match self.ask(passed)? {
                Some(Asked::All(rows)) => return Ok(Next::All(rows)),
                Some(Asked::Sample) => return Ok(Next::Sample(&self.wave)),
                None => {}
            }
        }
        let bar = bar.map(|key| rounded_up(self.metric.estimate_unit(key)));
        self.wave.clear();
        let wave = self.search.next(bar)?;
        self.wave
            .extend(wave.iter().map(|found| heap_tid(found.tid)));
        Ok(Next::Wave(&self.wave))
    }

    /// So many rows of a [`Next::Sample`] pass.
    pub fn tell(&mut self, passed: usize) {
        self.phase = Phase::Sample {
            passed,
            of: self.wave.len(),
        };
    }

    /// The ordinary index that told which rows may match, if one did, and how many it told.
    pub fn told_by(&self) -> Option<(String, usize)> {
        self.told_by.clone()
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
