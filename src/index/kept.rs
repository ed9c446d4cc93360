//! What a pass over codes keeps: every entry whose lower bound is not above the k-th smallest upper bound so far.
#![forbid(unsafe_code)]

use super::members::Members;
use super::state::IndexState;
use super::topk::{Ordered, TopK};
use crate::error::Error;
use crate::filter::Needed;
use crate::kernel::{BLOCK_ENTRIES, Kernels};
use crate::layout::entry::{Entries, EntryTid, read_row};
use crate::quantizer::QueryCode;
use std::sync::Arc;

/// An entry that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// What its key is hardly below.
    pub lower: f32,
    /// What its key is about.
    pub estimate: f32,
    /// Its row version.
    pub tid: EntryTid,
    /// The [`super::search::Effort::gap`] with which its list is looked at; less than any if that is the list that takes new rows.
    pub gap: f32,
}

/// What one pass keeps.
#[derive(Clone)]
pub struct Kept {
    /// Entries whose lower bounds are not above the threshold, and some that were kept before it sank.
    pub candidates: Vec<Candidate>,
    /// The smallest upper bounds, as many as are asked for; none where a bar is known.
    uppers: Option<TopK<Ordered>>,
    /// Entries with a lower bound above are not kept.
    pub threshold: f32,
    /// How many times as far as the lower bound the upper one is from the estimate.
    widen: f32,
    /// Of the list that is looked at.
    pub gap: f32,
    /// What signatures must hold.
    pub needed: Option<Needed>,
    /// The rows that may match, if they are known.
    pub members: Option<Arc<Members>>,
    /// Under a filter, the smallest estimates of all entries, …
    nearest: TopK<Ordered>,
    /// … and of those whose rows may match.
    matching: TopK<Ordered>,
    /// If signatures must hold anything, the entries looked at, …
    pub looked_at: u64,
    /// … and those of them whose signatures do.
    pub may_match: u64,
    /// Of the others so many have been told of.
    told_excluded: u64,
}

impl Kept {
    /// Nothing yet: as many upper bounds are to be kept as `quota`, unless a bar is known.
    pub fn new(quota: usize, bar: Option<f32>, widen: f32) -> Self {
        Self {
            nearest: TopK::growing(quota),
            matching: TopK::growing(quota),
            candidates: Vec::new(),
            // Room is made by need: a caller may ask for more than there are.
            uppers: bar.is_none().then(|| TopK::growing(quota)),
            threshold: bar.unwrap_or(f32::INFINITY),
            widen,
            gap: f32::NEG_INFINITY,
            needed: None,
            members: None,
            looked_at: 0,
            may_match: 0,
            told_excluded: 0,
        }
    }

    /// Whether only some rows may match, as far as is known.
    pub fn is_filtered(&self) -> bool {
        self.needed.is_some() || self.members.is_some()
    }

    /// How many entries more signatures have excluded since it was last asked.
    pub fn newly_excluded(&mut self) -> u64 {
        let excluded = self.looked_at - self.may_match;
        excluded - std::mem::replace(&mut self.told_excluded, excluded)
    }

    /// By how much the k-th nearest of the entries that may match is farther away than that of all, by their estimates or the `bar` where it is
    /// known; None while there are fewer than k.
    pub fn farther(&self, bar: Option<f32>) -> Option<f32> {
        let nearest = self.nearest.worst()?.0;
        let matching = bar.or_else(|| Some(self.matching.worst()?.0))?;
        Some((matching - nearest).max(0.0))
    }

    /// Whether the row of a signature may match.
    fn may_match(&mut self, signature: u64) -> bool {
        let Some(needed) = &self.needed else {
            return true;
        };
        let admitted = needed.admits(signature);
        self.looked_at += 1;
        self.may_match += u64::from(admitted);
        admitted
    }

    /// Keeps what of a page's entries may be among the nearest.
    pub fn scan(
        &mut self,
        state: &IndexState,
        kernels: &Kernels,
        code: &QueryCode,
        entries: &Entries<'_>,
    ) -> Result<(), Error> {
        let geometry = state.geometry;
        let query = code.block();
        let slack = query.slack;
        let mut estimates = [0.0; BLOCK_ENTRIES];
        for block in entries.blocks() {
            let mut lanes = (kernels.scan_block)(block, &query, self.threshold, &mut estimates);
            if self.is_filtered() {
                self.note_nearest(&estimates);
            }
            if let Some(needed) = &self.needed {
                let admitted = needed.admitted(&geometry.block_signatures(block));
                self.looked_at += BLOCK_ENTRIES as u64;
                self.may_match += u64::from(admitted.count_ones());
                lanes &= admitted;
            }
            while lanes != 0 {
                let lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                let tid = geometry.block_tid(block, lane);
                let spread = slack * geometry.block_error(block, lane);
                self.offer(tid, estimates[lane], spread);
            }
        }
        for row in entries.rows() {
            let row = read_row(row)?;
            let may_match = self.may_match(row.signature);
            let bound = code.row(kernels, row.code, row.factors);
            if self.is_filtered() {
                self.nearest.push(Ordered(bound.estimate));
            }
            if !may_match {
                continue;
            }
            let spread = slack * row.factors.error;
            self.offer(EntryTid::from_bytes(&row.tid), bound.estimate, spread);
        }
        Ok(())
    }

    /// Notes the smallest estimates of all: without branches until one is smaller than the k-th so far, as hardly any is.
    fn note_nearest(&mut self, estimates: &[f32; BLOCK_ENTRIES]) {
        let worst = self.nearest.worst().map_or(f32::INFINITY, |worst| worst.0);
        let mut nearer = 0_u32;
        for (lane, estimate) in estimates.iter().enumerate() {
            nearer |= u32::from(*estimate < worst) << lane;
        }
        while nearer != 0 {
            let lane = nearer.trailing_zeros() as usize;
            nearer &= nearer - 1;
            self.nearest.push(Ordered(estimates[lane]));
        }
    }

    #[inline]
    fn offer(&mut self, tid: EntryTid, estimate: f32, spread: f32) {
        let lower = estimate - spread;
        // Not `lower > threshold`: what overflowed to NaN is looked at.
        if !tid.is_live() || lower > self.threshold {
            return;
        }
        if self
            .members
            .as_ref()
            .is_some_and(|members| !members.contains(tid))
        {
            return;
        }
        if self.is_filtered() {
            self.matching.push(Ordered(estimate));
        }
        let lower = if lower.is_nan() {
            f32::NEG_INFINITY
        } else {
            lower
        };
        self.candidates.push(Candidate {
            lower,
            estimate,
            tid,
            gap: self.gap,
        });
        if let Some(uppers) = &mut self.uppers {
            let upper = estimate + spread * self.widen;
            let upper = if upper.is_nan() { f32::INFINITY } else { upper };
            if uppers.push(Ordered(upper))
                && let Some(worst) = uppers.worst()
            {
                self.threshold = self.threshold.min(worst.0);
            }
        }
    }
}
