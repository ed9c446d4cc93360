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
//! Under a filter entries whose signatures tell that their rows do not match are passed over like removed ones. The nearest that match are farther
//! away than the nearest of all: of so many as may match, k are about as far as k · all / matching are of all, and the lists are chosen for those.
#![forbid(unsafe_code)]

pub use super::kept::Candidate;
use super::kept::Kept;
use super::pages::ReadPages;
use super::rank::Ranked;
use super::state::{IndexState, read_meta};
use super::topk::Ordered;
use super::tree::Tree;
use crate::error::Error;
use crate::filter::Needed;
use crate::kernel::{BLOCK_ENTRIES, Kernels, kernels};
use crate::layout::corrupted;
use crate::layout::entry::{Entries, EntryTid};
use crate::layout::meta::ListHead;
use crate::quantizer::QueryCode;
use std::collections::HashSet;
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
/// The threshold of a pass goes by upper bounds at least so many standard deviations above their estimates. Narrower ones, which a
/// low recall goal would allow, end up below the true k-th key, and the whole pass has to be made again.
const LEAST_UPPER: f32 = 2.0;
/// Under a filter lists are chosen as for so many times as many rows: those that match may lie together, and their share is guessed.
const WIDER_FILTERED: f64 = 2.0;
/// No goal asks for less, and something must be there to be widened.
const LEAST_EPSILON: f32 = 0.05;

/// One query's way through an index.
pub struct Search<'p, P: ReadPages> {
    pages: &'p P,
    state: IndexState,
    kernels: &'static Kernels,
    code: QueryCode,
    rotated: Vec<f32>,
    effort: Effort,
    /// What signatures must hold, and the recall goal.
    only: Option<(Needed, f32)>,
    /// Entries that the last pass looked at, and those of them whose signatures hold what is needed.
    admitted: Option<(u64, u64)>,
    /// How many upper bounds the pass keeps.
    quota: usize,
    /// How many lists of the tree the next pass looks at; none chosen yet.
    lists: Option<usize>,
    /// The last pass looked at all of them.
    all_lists: bool,
    /// The gap of the middle one of those the last pass looked at.
    middle: f32,
    /// Kept and not handed out.
    candidates: Vec<Candidate>,
    /// Entries with bounds up to here have all been kept; below the first pass, none.
    reach: f32,
    /// Everything has been kept.
    complete: bool,
    given: Vec<EntryTid>,
    wave: Vec<Candidate>,
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
            admitted: None,
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

    /// The same, but only of rows whose signatures hold what is needed; `recall` is the goal that `effort` is for.
    #[must_use]
    pub fn only(mut self, needed: Needed, recall: f32) -> Self {
        self.only = (!needed.is_all()).then_some((needed, recall));
        self
    }

    /// How many rows the index is of, as far as is known.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.state.rows()
    }

    /// About how many rows may match by their signatures, at least those that do; None without a filter.
    #[must_use]
    pub fn may_match(&self) -> Option<u64> {
        let (looked_at, may_match) = self.admitted?;
        let share = (may_match + 1) as f64 / (looked_at + 1) as f64;
        Some((share * self.state.rows() as f64) as u64)
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
        loop {
            self.take_wave(bar);
            let satisfied = bar.is_some_and(|bar| bar <= self.reach);
            if !self.wave.is_empty() || self.complete || satisfied {
                break;
            }
            if self.stats.passes > 0 {
                self.quota = self.quota.saturating_mul(WIDENING).max(BLOCK_ENTRIES);
                self.lists = self.lists.map(|lists| lists.saturating_mul(MORE_LISTS));
            }
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

    /// Passes over the codes and keeps what may be among the nearest, or under the bar, if that is known.
    fn pass(&mut self, bar: Option<f32>) -> Result<(), Error> {
        loop {
            self.all_lists = true;
            let epsilon = self.effort.epsilon.max(LEAST_EPSILON);
            let (centre, metric) = (Arc::clone(&self.state.centre), self.state.metric);
            self.code.prepare(&self.rotated, &centre, metric, epsilon);
            let entries = self.state.meta.copies.max(1) as usize;
            let widen = (LEAST_UPPER / epsilon).max(1.0);
            let mut kept = Kept::new(self.quota.saturating_mul(entries), bar, widen);
            kept.needed = self.only.as_ref().map(|(needed, _)| needed.clone());
            if self.pass_list(&mut kept)? && self.pass_tree(&mut kept)? {
                self.stats.passes += 1;
                self.stats.excluded += kept.looked_at - kept.may_match;
                if self.only.is_some() {
                    self.admitted = Some((kept.looked_at, kept.may_match));
                }
                self.keep(kept);
                return Ok(());
            }
        }
    }

    /// The list that takes new rows. False if it was written anew meanwhile.
    fn pass_list(&mut self, kept: &mut Kept) -> Result<bool, Error> {
        let list = *self.state.list();
        if self.scan(kept, &list, 0, f32::NEG_INFINITY)? {
            return Ok(true);
        }
        let meta = read_meta(self.pages)?;
        if (meta.list.generation, meta.list.first) == (list.generation, list.first) {
            return Err(corrupted(format!(
                "page in the list of generation {} that is not of it",
                list.generation
            )));
        }
        self.state.refresh(self.pages)?;
        Ok(false)
    }

    /// The tree's lists, nearest first. False if one was given up meanwhile.
    fn pass_tree(&mut self, kept: &mut Kept) -> Result<bool, Error> {
        let Some(tree) = self.state.tree.clone() else {
            return Ok(true);
        };
        let mut ranked = match self.lists {
            None => Ranked::within(&tree, &self.code, self.state.metric, self.effort.gap),
            Some(_) => Ranked::all(&tree, &self.code, self.state.metric),
        };
        let (gap, quota) = (self.effort.gap, self.quota);
        let is_first = self.lists.is_none();
        let first = || ranked.first_lists(&tree, gap, quota);
        let mut lists = self.lists.unwrap_or_else(first).min(ranked.len());
        if !self.scan_lists(&tree, kept, ranked.nearest(lists))? {
            return Ok(false);
        }
        // More of them tell better how many rows may match.
        while is_first
            && let Some(gap) = self.gap_of_matching(kept)
            && let wider = ranked.first_lists(&tree, gap, quota)
            && wider > lists
        {
            let more = &ranked.nearest(wider)[lists..];
            lists = wider;
            if !self.scan_lists(&tree, kept, more)? {
                return Ok(false);
            }
        }
        let middle = ranked.nearest(lists).get(lists / 2);
        self.middle = middle.map_or(f32::NEG_INFINITY, |(gap, _)| *gap);
        self.all_lists = lists == ranked.len();
        self.lists = Some(lists);
        self.stats.lists = lists as u64;
        Ok(true)
    }

    /// Within which gap the lists are of the k nearest rows that may match, by the share of entries looked at that may; None without a filter.
    fn gap_of_matching(&self, kept: &Kept) -> Option<f32> {
        let (_, recall) = self.only.as_ref()?;
        let share = (kept.looked_at + 1) as f64 / (kept.may_match + 1) as f64;
        let k = self.quota as f64 * share * WIDER_FILTERED;
        let k = k.min(self.state.rows() as f64);
        Some(self.state.effort(k as usize, *recall).gap)
    }

    /// These lists' codes. False if one was given up meanwhile.
    fn scan_lists(
        &mut self,
        tree: &Tree,
        kept: &mut Kept,
        chosen: &[(f32, usize)],
    ) -> Result<bool, Error> {
        let mut centroid = Vec::new();
        for (number, &(gap, slot)) in chosen.iter().enumerate() {
            if let Some((_, next)) = chosen.get(number + 1) {
                self.pages.prefetch(tree.slots[*next].head.first);
            }
            let (head, list) = (tree.slots[slot].head, tree.slots[slot].list);
            centroid.clear();
            tree.centroids.read(slot, &mut centroid);
            self.code.turn_to(&centroid);
            if !self.scan(kept, &head, list, gap)? {
                self.state.read_tree(self.pages)?;
                let now = self
                    .state
                    .tree
                    .as_ref()
                    .and_then(|tree| tree.slots.get(slot));
                if now.is_some_and(|now| now.list == list && now.head.generation == head.generation)
                {
                    return Err(corrupted(format!("page in list {list} that is not of it")));
                }
                self.state.refresh(self.pages)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One list's codes, for which the query is prepared.
    fn scan(
        &mut self,
        kept: &mut Kept,
        head: &ListHead,
        list: u32,
        gap: f32,
    ) -> Result<bool, Error> {
        kept.gap = gap;
        let (state, kernels, code, stats) =
            (&self.state, self.kernels, &self.code, &mut self.stats);
        let generation = head.generation;
        self.pages
            .walk(head.first, list, generation, &mut |_, page| {
                let entries = Entries::of(state.geometry, page)?;
                stats.pages += 1;
                stats.codes += entries.len() as u64;
                kept.scan(state, kernels, code, &entries)
            })
    }

    /// Takes over what a pass kept, but for what was handed out before.
    fn keep(&mut self, kept: Kept) {
        self.reach = kept.threshold;
        self.complete = kept.threshold == f32::INFINITY && self.all_lists;
        self.candidates = kept.candidates;
        let reach = self.reach;
        self.candidates.retain(|found| found.lower <= reach);
        if self.state.tree.is_some() {
            // Of a row's entries, one too many while VACUUM moves it, the one whose list came first tells more.
            self.candidates
                .sort_unstable_by_key(|found| (found.tid, Ordered(found.gap)));
            self.candidates.dedup_by_key(|found| found.tid);
        }
        if !self.given.is_empty() {
            let given: HashSet<EntryTid> = self.given.iter().copied().collect();
            self.candidates.retain(|found| !given.contains(&found.tid));
        }
    }
}
