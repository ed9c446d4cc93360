//! A pass of a search over the codes of an index.
//!
//! The list that takes new rows is read first, for VACUUM moves entries from it to the others; then those of the tree that are near the query.
#![forbid(unsafe_code)]

use super::kept::Kept;
use super::pages::ReadPages;
use super::rank::Ranked;
use super::search::Search;
use super::state::read_meta;
use super::topk::Ordered;
use super::tree::Tree;
use crate::error::Error;
use crate::layout::corrupted;
use crate::layout::entry::{Entries, EntryTid};
use crate::layout::meta::ListHead;
use std::collections::HashSet;
use std::sync::Arc;

/// The threshold of a pass goes by upper bounds at least so many standard deviations above their estimates. Narrower ones, which a
/// low recall goal would allow, end up below the true k-th key, and the whole pass has to be made again.
const LEAST_UPPER: f32 = 2.0;
/// Under a filter lists are chosen as for so many times as many rows: those that match may lie together, and their share is guessed.
const WIDER_FILTERED: f64 = 2.0;
/// No goal asks for less, and something must be there to be widened.
const LEAST_EPSILON: f32 = 0.05;

/// A pass that told how many rows may match before it looked at all the lists that takes.
pub(super) struct Held {
    kept: Kept,
    /// Looked at, the nearest.
    lists: usize,
}

impl<P: ReadPages> Search<'_, P> {
    /// Passes over the codes and keeps what may be among the nearest, or under the bar, if that is known.
    pub(super) fn pass(&mut self, bar: Option<f32>) -> Result<(), Error> {
        loop {
            self.all_lists = true;
            let epsilon = self.effort.epsilon.max(LEAST_EPSILON);
            let (centre, metric) = (Arc::clone(&self.state.centre), self.state.metric);
            self.code.prepare(&self.rotated, &centre, metric, epsilon);
            let entries = self.state.meta.copies.max(1) as usize;
            let widen = (LEAST_UPPER / epsilon).max(1.0);
            let mut kept = Kept::new(self.quota.saturating_mul(entries), bar, widen);
            kept.needed = self.only.as_ref().map(|(needed, _)| needed.clone());
            if self.pass_list(&mut kept)?
                && let Some(is_whole) = self.pass_tree(&mut kept)?
            {
                self.stats.passes += 1;
                let lists = self.lists.unwrap_or(0);
                self.held = (!is_whole).then(|| Held {
                    kept: kept.clone(),
                    lists,
                });
                self.end(kept, 0);
                return Ok(());
            }
        }
    }

    /// Looks at the lists that a pass was held back from.
    pub(super) fn go_on(&mut self, held: Held, bar: Option<f32>) -> Result<(), Error> {
        self.tells_first = false;
        let Held { mut kept, lists } = held;
        let excluded = kept.looked_at - kept.may_match;
        if let Some(tree) = self.state.tree.clone() {
            let mut ranked = Ranked::within(&tree, &self.code, self.state.metric, self.effort.gap);
            if let Some(lists) = self.widen(&tree, &mut ranked, &mut kept, lists)? {
                self.note_lists(&mut ranked, lists);
                self.end(kept, excluded);
                return Ok(());
            }
        }
        // A list was given up meanwhile: anew, by other lists.
        self.candidates.clear();
        self.lists = None;
        self.pass(bar)
    }

    /// Takes over what a pass kept. Of the entries that it excluded so many have been counted.
    fn end(&mut self, kept: Kept, counted: u64) {
        self.stats.excluded += kept.looked_at - kept.may_match - counted;
        if self.only.is_some() {
            self.admitted = Some((kept.looked_at, kept.may_match));
        }
        self.keep(kept);
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

    /// The tree's lists, nearest first: whether all that it takes. None if one was given up meanwhile.
    fn pass_tree(&mut self, kept: &mut Kept) -> Result<Option<bool>, Error> {
        let Some(tree) = self.state.tree.clone() else {
            return Ok(Some(true));
        };
        let mut ranked = match self.lists {
            None => Ranked::within(&tree, &self.code, self.state.metric, self.effort.gap),
            Some(_) => Ranked::all(&tree, &self.code, self.state.metric),
        };
        let is_first = self.lists.is_none();
        let first = || ranked.first_lists(&tree, self.effort.gap, self.quota);
        let mut lists = self.lists.unwrap_or_else(first).min(ranked.len());
        if !self.scan_lists(&tree, kept, ranked.nearest(lists))? {
            return Ok(None);
        }
        let mut is_whole = true;
        if is_first && self.tells_first {
            is_whole = self.wider(&tree, &mut ranked, kept, lists).is_none();
        } else if is_first {
            match self.widen(&tree, &mut ranked, kept, lists)? {
                None => return Ok(None),
                Some(wider) => lists = wider,
            }
        }
        self.note_lists(&mut ranked, lists);
        Ok(Some(is_whole))
    }

    /// How many lists it takes under a filter, if those are more than so many.
    fn wider(&self, tree: &Tree, ranked: &mut Ranked, kept: &Kept, lists: usize) -> Option<usize> {
        let gap = self.gap_of_matching(kept)?;
        let wider = ranked.first_lists(tree, gap, self.quota);
        (wider > lists).then_some(wider)
    }

    /// Looks at as many lists as it takes under a filter, so many of which have been looked at: the more are, the better it is known. None if one
    /// was given up meanwhile.
    fn widen(
        &mut self,
        tree: &Tree,
        ranked: &mut Ranked,
        kept: &mut Kept,
        mut lists: usize,
    ) -> Result<Option<usize>, Error> {
        while let Some(wider) = self.wider(tree, ranked, kept, lists) {
            let more = &ranked.nearest(wider)[lists..];
            lists = wider;
            if !self.scan_lists(tree, kept, more)? {
                return Ok(None);
            }
        }
        Ok(Some(lists))
    }

    /// So many were looked at.
    fn note_lists(&mut self, ranked: &mut Ranked, lists: usize) {
        let middle = ranked.nearest(lists).get(lists / 2);
        self.middle = middle.map_or(f32::NEG_INFINITY, |(gap, _)| *gap);
        self.all_lists = lists == ranked.len();
        self.lists = Some(lists);
        self.stats.lists = lists as u64;
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
