//! How many rows may match a filter, about, told by the signatures on a few pages: whether it pays to ask an ordinary index which they are.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use super::search::Search;
use crate::error::Error;
use crate::filter::Needed;
use crate::layout::NO_BLOCK;
use crate::layout::entry::{Entries, read_row};
use crate::layout::meta::ListHead;

/// Pages looked at: of some hundreds of rows signatures tell a share of some hundredths well enough.
const PAGES: usize = 8;

/// What signatures tell, as shares of all rows.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Those that may match.
    pub may_match: f64,
    /// Those that do, about: without those that signatures admit by chance.
    pub matching: f64,
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
            None => self.sample_list(&needed, (*self.state.list(), 0), PAGES, &mut counts)?,
            Some(tree) => {
                let used: Vec<usize> = tree.used().collect();
                for number in 0..PAGES.min(used.len()) {
                    let slot = &tree.slots[used[number * used.len() / PAGES.min(used.len())]];
                    self.sample_list(&needed, (slot.head, slot.list), 1, &mut counts)?;
                }
            }
        }
        self.sampled = Some(counts.shares(&needed));
        Ok(())
    }

    /// The first pages of a list, at most so many; none of one that was given up meanwhile.
    fn sample_list(
        &mut self,
        needed: &Needed,
        (head, list): (ListHead, u32),
        most: usize,
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
            for block in entries.blocks() {
                for signature in geometry.block_signatures(block) {
                    counts.add(needed, signature);
                }
            }
            for row in entries.rows() {
                counts.add(needed, read_row(row)?.signature);
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
        }
    }

    fn add(&mut self, needed: &Needed, signature: u64) {
        self.looked_at += 1;
        self.may_match += u64::from(needed.admits(signature));
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
