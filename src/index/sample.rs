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

/// Signatures looked at, those of them that are admitted, and how many of those by chance are to be expected if none matches.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    looked_at: u64,
    may_match: u64,
    by_chance: f64,
}

impl<P: ReadPages> Search<'_, P> {
    /// Looks at signatures on pages of lists all over a tree, or on the first pages of a flat index. Nothing is done without a filter that signatures
    /// can tell of.
    pub fn sample(&mut self) -> Result<(), Error> {
        let Some(needed) = self.only.clone() else {
            return Ok(());
        };
        let mut counts = Counts::default();
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
        let looked_at = (counts.looked_at + 1) as f64;
        let may_match = (counts.may_match + 1) as f64 / looked_at;
        let by_chance = (counts.by_chance / looked_at).min(0.99);
        // Not less than one of all those looked at.
        let matching = ((may_match - by_chance) / (1.0 - by_chance)).max(1.0 / looked_at);
        self.sampled = Some(Shares {
            may_match,
            matching,
        });
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
    fn add(&mut self, needed: &Needed, signature: u64) {
        self.looked_at += 1;
        self.may_match += u64::from(needed.admits(signature));
        self.by_chance += needed.by_chance(signature);
    }
}
