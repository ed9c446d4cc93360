//! How many rows may match a filter, about, told by the signatures on a few pages: whether it pays to ask an ordinary index which they are.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use super::search::Search;
use crate::error::Error;
use crate::filter::Needed;
use crate::layout::NO_BLOCK;
use crate::layout::entry::{Entries, EntryTid, read_row};
use crate::layout::meta::ListHead;

/// Lists of a tree looked at, and blocks of codes of each: of a thousand rows signatures tell a share of some hundredths well enough, but those of a list
/// are near each other and may well be alike: of a tenth that fill lists of their own few samples of 24 lists know nothing, a third of those of 8.
const LISTS: usize = 24;
const BLOCKS_OF_LIST: usize = 1;
/// Pages of a flat index looked at.
const PAGES: usize = 8;

/// So many rows whose signatures are admitted are remembered, and no more of one page: to ask the filter itself about.
pub const ROWS: usize = 8;
const ROWS_OF_PAGE: usize = 1;

/// What signatures tell, as shares of all rows.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Those that may match.
    pub may_match: f64,
    /// Those that do, about: without those that signatures admit by chance.
    pub matching: f64,
}

impl Shares {
    /// Of those that may match the share that do.
    #[must_use]
    pub fn passing(&self) -> f64 {
        self.matching / self.may_match
    }
}

/// Rounds in which the share that matches and the share that is admitted by chance are found, each from the other.
const ROUNDS: usize = 4;

/// Signatures looked at.
struct Counts {
    looked_at: u64,
    /// Those of them that are admitted.
    may_match: u64,
    /// The bits that are asked for, and how many have each.
    bits: Vec<(u32, u64)>,
    /// Rows that are admitted.
    rows: Vec<EntryTid>,
    /// Room for more of them from this page.
    room: usize,
}

impl<P: ReadPages> Search<'_, P> {
    /// Looks at signatures on pages of lists all over a tree, or on the first pages of a flat index. Nothing is done without a filter that signatures
    /// can tell of.
    pub fn sample(&mut self) -> Result<(), Error> {
        let Some(needed) = self.only.clone() else {
            return Ok(());
        };
        let mut counts = Counts::of(&needed);
        match self.state.tree.clone() {
            None => {
                let list = (*self.state.list(), 0);
                self.sample_list(&needed, list, (PAGES, usize::MAX), &mut counts)?;
            }
            Some(tree) => {
                let used: Vec<usize> = tree.used().collect();
                let lists = LISTS.min(used.len());
                for number in 0..lists {
                    let slot = &tree.slots[used[number * used.len() / lists]];
                    let list = (slot.head, slot.list);
                    self.sample_list(&needed, list, (1, BLOCKS_OF_LIST), &mut counts)?;
                }
            }
        }
        self.sampled = Some(counts.shares(&needed));
        self.sampled_rows = counts.rows;
        Ok(())
    }

    /// A few of the rows whose signatures are admitted, in the order of their places.
    pub fn sampled_rows(&mut self) -> Vec<EntryTid> {
        let mut rows = std::mem::take(&mut self.sampled_rows);
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// The first pages of a list, at most so many, and of each the first blocks, likewise; none of one that was given up meanwhile.
    fn sample_list(
        &mut self,
        needed: &Needed,
        (head, list): (ListHead, u32),
        (most, blocks): (usize, usize),
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let mut next = head.first;
        for _ in 0..most {
            if next == NO_BLOCK {
                break;
            }
            self.pages.pause();
            let page = self.pages.read(next)?;
            let geometry = self.state.geometry;
            let Ok(entries) = Entries::of(geometry, &page) else {
                break;
            };
            if !entries.special.is_of(list, head.generation) {
                break;
            }
            counts.room = ROWS_OF_PAGE;
            for block in entries.blocks().take(blocks) {
                for (lane, signature) in geometry.block_signatures(block).into_iter().enumerate() {
                    counts.add(needed, signature, || geometry.block_tid(block, lane));
                }
            }
            for row in entries.rows() {
                let row = read_row(row)?;
                counts.add(needed, row.signature, || EntryTid::from_bytes(&row.tid));
            }
            self.stats.pages += 1;
            next = entries.special.next;
        }
        Ok(())
    }
}

impl Counts {
    fn of(needed: &Needed) -> Self {
        let asked = needed.bits();
        let bits = (0..u64::BITS).filter(|bit| asked >> bit & 1 == 1);
        Self {
            looked_at: 0,
            may_match: 0,
            bits: bits.map(|bit| (bit, 0)).collect(),
            rows: Vec::new(),
            room: 0,
        }
    }

    fn add(&mut self, needed: &Needed, signature: u64, tid: impl FnOnce() -> EntryTid) {
        self.looked_at += 1;
        if needed.admits(signature) {
            self.may_match += 1;
            if self.room > 0 && self.rows.len() < ROWS {
                let tid = tid();
                if tid.is_live() {
                    self.room -= 1;
                    self.rows.push(tid);
                }
            }
        }
        for (bit, count) in &mut self.bits {
            *count += signature >> *bit & 1;
        }
    }

    /// Of the records that match each has all bits of a mask; the more these are, the fewer of the others have them, and the fewer are admitted by chance.
    fn shares(&self, needed: &Needed) -> Shares {
        let all = (self.looked_at + 1) as f64;
        let may_match = (self.may_match + 1) as f64 / all;
        let least = 1.0 / all;
        let mut matching = least;
        for _ in 0..ROUNDS {
            let of_each_mask = matching / needed.masks() as f64;
            let by_chance = needed.by_chance(|bit| {
                let found = self.bits.iter().find(|(known, _)| *known == bit);
                let set = found.map_or(0, |(_, count)| *count) as f64 / all;
                ((set - of_each_mask) / (1.0 - of_each_mask)).clamp(0.0, 0.99)
            });
            matching = ((may_match - by_chance) / (1.0 - by_chance)).max(least);
        }
        Shares {
            may_match,
            matching,
        }
    }
}
