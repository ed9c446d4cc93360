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
/// Under a filter so many times as many lists are looked at before it is asked again how far they have to reach: the more are, the better it is known.
const STEP: usize = 2;
/// No goal asks for less, and something must be there to be widened.
const LEAST_EPSILON: f32 = 0.05;

/// A pass under a filter, which may go on to more lists.
pub(super) struct UnderWay {
    kept: Kept,
    ranked: Ranked,
    /// Looked at, the nearest.
    lists: usize,
}

impl<P: ReadPages> Search<'_, P> {
    /// Passes over the codes and keeps what may be among the nearest, or under the bar, if that is known.
    pub(super) fn pass(&mut self, bar: Option<f32>) -> Result<(), Error> {
        loop {
            let epsilon = self.effort.epsilon.max(LEAST_EPSILON);
            let (centre, metric) = (Arc::clone(&self.state.centre), self.state.metric);
            self.code.prepare(&self.rotated, &centre, metric, epsilon);
            let entries = self.state.meta.copies.max(1) as usize;
            let widen = (LEAST_UPPER / epsilon).max(1.0);
            let mut kept = Kept::new(self.quota.saturating_mul(entries), bar, widen);
            kept.needed.clone_from(&self.only);
            kept.members.clone_from(&self.members);
            if self.pass_list(&mut kept)? && self.pass_tree(kept)? {
                self.stats.passes += 1;
                if !self.tells_first {
                    self.go_on(bar)?;
                }
                return Ok(());
            }
        }
    }

    /// Looks at as many more lists as it takes under a filter: whether at any.
    ///
    /// Without one, those within the effort's gap hold the k nearest. If the k-th nearest that may match is farther away by so much, so may its list be.
    pub(super) fn go_on(&mut self, bar: Option<f32>) -> Result<bool, Error> {
        let (Some(mut pass), Some(tree)) = (self.under_way.take(), self.state.tree.clone()) else {
            return Ok(false);
        };
        self.tells_first = false;
        if let Some(bar) = bar {
            pass.kept.threshold = pass.kept.threshold.min(bar);
        }
        let before = pass.lists;
        loop {
            let farther = pass.kept.farther(bar).map(|keys| pass.ranked.gap_of(keys));
            let gap = self.effort.gap + farther.unwrap_or(f32::INFINITY);
            let lists = pass
                .ranked
                .lists_within(gap)
                .min(pass.lists.saturating_mul(STEP));
            if lists <= pass.lists {
                break;
            }
            let more = &pass.ranked.nearest(lists)[pass.lists..];
            pass.lists = lists;
            if !self.scan_lists(&tree, &mut pass.kept, more)? {
                // One was given up meanwhile: anew.
                self.candidates.clear();
                self.lists = None;
                self.pass(bar)?;
                return Ok(true);
            }
        }
        let is_more = pass.lists > before;
        if is_more {
            self.end(pass);
        } else {
            self.under_way = Some(pass);
        }
        Ok(is_more)
    }

    /// Takes over what a pass kept.
    fn end(&mut self, mut pass: UnderWay) {
        let middle = pass.ranked.nearest(pass.lists).get(pass.lists / 2);
        self.middle = middle.map_or(f32::NEG_INFINITY, |(gap, _)| *gap);
        self.all_lists = pass.lists == pass.ranked.len();
        self.lists = Some(pass.lists);
        self.stats.lists = pass.lists as u64;
        self.keep(&mut pass.kept);
        self.under_way = (pass.kept.is_filtered() && !self.all_lists).then_some(pass);
    }

    /// The list that takes new rows. False if it was written anew meanwhile, or pages were cut off it: of these it may have used some again, behind
    /// others that a walk which came upon them would have missed.
    fn pass_list(&mut self, kept: &mut Kept) -> Result<bool, Error> {
        let list = *self.state.list();
        let cuts = self.state.meta.cuts;
        let whole = self.scan(kept, &list, 0, f32::NEG_INFINITY)?;
        let meta = read_meta(self.pages)?;
        let is_cut = meta.cuts != cuts;
        if whole && !is_cut {
            return Ok(true);
        }
        if !is_cut && meta.list.generation == list.generation {
            return Err(corrupted(format!(
                "page in the list of generation {} that is not of it",
                list.generation
            )));
        }
        self.state.refresh(self.pages)?;
        Ok(false)
    }

    /// The tree's lists, nearest first. False if one was given up meanwhile.
    fn pass_tree(&mut self, mut kept: Kept) -> Result<bool, Error> {
        let Some(tree) = self.state.tree.clone() else {
            self.all_lists = true;
            self.keep(&mut kept);
            return Ok(true);
        };
        let mut ranked = match self.lists {
            None => Ranked::within(&tree, &self.code, self.state.metric, self.effort.gap),
            Some(_) => Ranked::all(&tree, &self.code, self.state.metric),
        };
        let first = || ranked.first_lists(&tree, self.effort.gap, self.quota);
        let lists = self.lists.unwrap_or_else(first).min(ranked.len());
        if !self.scan_lists(&tree, &mut kept, ranked.nearest(lists))? {
            return Ok(false);
        }
        self.end(UnderWay {
            kept,
            ranked,
            lists,
        });
        Ok(true)
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
    fn keep(&mut self, kept: &mut Kept) {
        self.stats.excluded += kept.newly_excluded();
        if let Some(sampled) = &mut self.sampled {
            sampled.may_match = (kept.may_match + 1) as f64 / (kept.looked_at + 1) as f64;
        }
        self.reach = kept.threshold;
        self.complete = kept.threshold == f32::INFINITY && self.all_lists;
        self.candidates.append(&mut kept.candidates);
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
