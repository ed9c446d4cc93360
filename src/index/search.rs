//! Finding the entries worth a look at their rows, best first.
//!
//! One pass over the codes keeps every entry whose lower bound is not above the k-th smallest upper bound so far. They are
//! handed out in waves, lowest bound first; the caller computes exact keys and tells the bar they must be under, and the search
//! ends when no bound is. Where rows fell away (not visible, not passing a filter) so that the bar is not reached, the codes
//! are passed over again for more.
//!
//! Of a tree a pass looks at the list that takes new rows, and at those lists whose centroids are not much farther from the query than the
//! nearest few; a further pass at more of them, until it is all. VACUUM moves entries from the first list to the others, writing them there before it takes them
//! away here: so the first list is read first.
//!
//! Under a filter entries whose signatures tell that their rows do not match, or which are not among the rows that are known to, are passed over like
//! removed ones. The nearest that match are farther away than the nearest of all, and so are the lists they are in: those looked at reach farther by as much,
//! as it is known from the entries looked at so far and, once k rows were found, from the k-th of them.
#![forbid(unsafe_code)]

pub use super::kept::Candidate;
use super::members::Members;
use super::pages::ReadPages;
use super::pass::UnderWay;
use super::sample::Shares;
use super::state::IndexState;
use crate::error::Error;
use crate::filter::Needed;
use crate::kernel::{BLOCK_ENTRIES, Kernels, kernels};
use crate::layout::entry::EntryTid;
use crate::quantizer::QueryCode;
use std::sync::Arc;

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Pages read.
    pub pages: u64,
    /// Codes looked at.
    pub codes: u64,
    /// Those of them whose signatures told that their rows do not match.
    pub excluded: u64,
    /// Entries handed out.
    pub candidates: u64,
    /// Passes over the codes.
    pub passes: u64,
    /// Lists of the last pass.
    pub lists: u64,
}

impl SearchStats {
    /// Adds what another search cost; the lists are those of the last.
    pub fn add(&mut self, other: Self) {
        self.pages += other.pages;
        self.codes += other.codes;
        self.excluded += other.excluded;
        self.candidates += other.candidates;
        self.passes += other.passes;
        self.lists = other.lists;
    }
}

/// How thoroughly a search looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Standard deviations of its estimate by which an entry's lower bound lies below it.
    pub epsilon: f32,
    /// A tree's lists are looked at whose centroids are farther by no more than this than the nearest few are on average.
    pub gap: f32,
}

impl Effort {
    /// All lists.
    #[must_use]
    pub fn of_all_lists(epsilon: f32) -> Self {
        Self {
            epsilon,
            gap: f32::INFINITY,
        }
    }
}

/// The first wave has this many entries beyond k, and later ones grow by half: enough to keep several reads in flight, few
/// enough that the bar, which each wave lowers, spares most of the rest.
const FIRST_WAVE_EXTRA: usize = 6;
const LEAST_WAVE: usize = 16;

/// How much more each further pass asks for where rows fall away.
const WIDENING: usize = 8;
/// How many times as many lists it looks at.
const MORE_LISTS: usize = 4;
/// One query's way through an index.
pub struct Search<'p, P: ReadPages> {
    pub(super) pages: &'p P,
    pub(super) state: IndexState,
    pub(super) kernels: &'static Kernels,
    pub(super) code: QueryCode,
    pub(super) rotated: Vec<f32>,
    pub(super) effort: Effort,
    /// What signatures must hold.
    pub(super) only: Option<Needed>,
    /// The rows that may match, if they are known.
    pub(super) members: Option<Arc<Members>>,
    /// The first pass is to tell how many rows may match before it looks at all the lists that takes.
    pub(super) tells_first: bool,
    /// The last pass, if it may go on.
    pub(super) under_way: Option<UnderWay>,
    /// What signatures told of the rows, last.
    pub(super) sampled: Option<Shares>,
    /// Some of those that may match.
    pub(super) sampled_rows: Vec<EntryTid>,
    /// How many upper bounds the pass keeps.
    pub(super) quota: usize,
    /// The next pass is for more than the last one found.
    pub(super) widens: bool,
    /// How many lists of the tree the next pass looks at; none chosen yet.
    pub(super) lists: Option<usize>,
    /// The last pass looked at all of them.
    pub(super) all_lists: bool,
    /// The gap of the middle one of those the last pass looked at.
    pub(super) middle: f32,
    /// Kept and not handed out.
    pub(super) candidates: Vec<Candidate>,
    /// Entries with bounds up to here have all been kept; below the first pass, none.
    pub(super) reach: f32,
    /// Everything has been kept.
    pub(super) complete: bool,
    pub(super) given: Vec<EntryTid>,
    pub(super) wave: Vec<Candidate>,
    /// What it cost so far.
    pub stats: SearchStats,
}

impl<'p, P: ReadPages> Search<'p, P> {
    /// A search for the `k` nearest to `query`.
    pub fn new(
        pages: &'p P,
        state: IndexState,
        query: &[f32],
        k: usize,
        effort: Effort,
    ) -> Result<Self, Error> {
        let dimension = state.meta.dimension as usize;
        if query.len() != dimension {
            return Err(Error::DimensionMismatch {
                expected: dimension,
                actual: query.len(),
            });
        }
        let mut rotated = Vec::new();
        state.quantizer.rotate(query, &mut rotated);
        Ok(Self {
            pages,
            state,
            kernels: kernels(),
            code: QueryCode::default(),
            rotated,
            effort,
            only: None,
            members: None,
            widens: false,
            tells_first: false,
            under_way: None,
            sampled: None,
            sampled_rows: Vec::new(),
            lists: None,
            all_lists: false,
            middle: f32::NEG_INFINITY,
            quota: k,
            candidates: Vec::new(),
            reach: f32::NEG_INFINITY,
            complete: false,
            given: Vec::new(),
            wave: Vec::new(),
            stats: SearchStats::default(),
        })
    }

    /// The same, but its first pass looks at so many lists of a tree, whatever their gaps.
    #[must_use]
    pub fn among(mut self, lists: usize) -> Self {
        self.lists = Some(lists);
        self
    }

    /// The same, but only of rows whose signatures hold what is needed.
    #[must_use]
    pub fn only(mut self, needed: Needed) -> Self {
        self.only = (!needed.is_all()).then_some(needed);
        self
    }

    /// The same, but where few rows may match, the first wave is of no more lists than it takes without a filter: whoever has a better way to few rows
    /// need not pay for the others. The next wave is of all.
    #[must_use]
    pub fn tell_first(mut self) -> Self {
        self.tells_first = self.only.is_some();
        self
    }

    /// From here on only of rows that are known to be all that may match.
    pub fn only_members(&mut self, members: Members) {
        self.members = Some(Arc::new(members));
        // What is kept goes by others as well: a pass as if it were the first.
        self.candidates.clear();
        self.under_way = None;
        self.tells_first = false;
        self.lists = None;
        self.widens = false;
        self.reach = f32::NEG_INFINITY;
        self.complete = false;
    }

    /// How many rows the index is of, as far as is known.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.state.rows()
    }

    /// What a [`Search::sample`] told, or since then all entries looked at; None where no signature can tell.
    #[must_use]
    pub fn sampled(&self) -> Option<Shares> {
        self.sampled
    }

    /// Of a tree's lists that the last pass looked at half have gaps above this.
    #[must_use]
    pub fn middle_gap(&self) -> f32 {
        self.middle
    }

    /// The next entries to look at, in the order of their rows' places; empty when the search is over.
    ///
    /// `bar` is the k-th smallest key found so far, none while there are fewer than k.
    pub fn next(&mut self, bar: Option<f32>) -> Result<&[Candidate], Error> {
        self.wave.clear();
        if self.tells_first && self.stats.passes > 0 {
            self.go_on(bar)?;
        }
        loop {
            self.take_wave(bar);
            if !self.wave.is_empty() {
                break;
            }
            if self.go_on(bar)? {
                continue;
            }
            let satisfied = bar.is_some_and(|bar| bar <= self.reach);
            if self.complete || satisfied {
                break;
            }
            if std::mem::replace(&mut self.widens, true) {
                self.quota = self.quota.saturating_mul(WIDENING).max(BLOCK_ENTRIES);
                self.lists = self.lists.map(|lists| lists.saturating_mul(MORE_LISTS));
            }
            self.candidates.clear();
            self.pass(bar)?;
        }
        self.stats.candidates += self.wave.len() as u64;
        self.given.extend(self.wave.iter().map(|found| found.tid));
        Ok(&self.wave)
    }

    /// Moves the candidates with the lowest bounds, as far as they are under the bar, to the wave.
    fn take_wave(&mut self, bar: Option<f32>) {
        // The bar never rises, so what is above it now will not be asked for.
        if let Some(bar) = bar {
            self.candidates.retain(|found| found.lower <= bar);
        }
        let size = match self.given.len() {
            0 => self.quota.saturating_add(FIRST_WAVE_EXTRA),
            before => before / 2,
        };
        let size = size.max(LEAST_WAVE).min(self.candidates.len());
        let rest = self.candidates.len() - size;
        if size > 0 && rest > 0 {
            // Chosen, not sorted: before the first wave gives a bar there are many more than will be looked at.
            self.candidates
                .select_nth_unstable_by(rest, |a, b| b.lower.total_cmp(&a.lower));
        }
        self.wave.extend(self.candidates.drain(rest..));
        self.wave.sort_unstable_by_key(|found| found.tid);
    }
}
