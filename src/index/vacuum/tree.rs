//! VACUUM's work on a tree, in steps: each leaves a whole index behind, and searches and inserts go on between them and meanwhile.
//!
//! ```text
//! grow      a flat index's list becomes the first list of a tree whose others are empty
//! take up   entries of the first list's oldest pages are written to the lists they belong to, then the pages are cut off the first list
//! choose    a tree that has outgrown its lists gets others, written aside, and with them all entries
//! split     a list that has grown too large becomes two around centroids of their own
//! merge     the entries of a list that has become too small are written to others, then it goes
//! pack      a list with many removed entries is written anew
//! ```
//!
//! Nobody but VACUUM writes to a tree's lists, and only one VACUUM works on an index. Entries are written where they go before they are
//! taken from where they were: after a crash in between a row has an entry too many, which does no harm and goes when its list is next
//! written anew. A search reads the first list before the others, and a list given up is noticed by its pages' generation.
#![forbid(unsafe_code)]

use super::grow::{choose_again, has_outgrown};
use super::take_up::take_up;
use super::{VectorOf, is_thin, relist};
use crate::error::Error;
use crate::index::pages::Pages;
use crate::index::plan::{Limits, rows_per_list};
use crate::index::state::IndexState;
use crate::index::tree::Tree;
use crate::layout::meta::ListHead;
use crate::layout::page::special;
use crate::layout::{NO_BLOCK, corrupted};
use std::sync::Arc;

/// Entries of a list as it should be.
pub fn wanted_entries(state: &IndexState) -> u64 {
    let copies = state.meta.copies;
    u64::from(copies) * rows_per_list(state.rows(), copies)
}

/// A list of so many times as many is split …
pub const TOO_LARGE: u64 = 2;
/// … and one of a share of them is merged: one in so many.
pub const TOO_SMALL: u64 = 4;
/// Entries of the first list are taken up when there are so many pages of them: before, scanning them costs less than the work.
const TAKE_UP_PAGES: u64 = 16;

/// One step of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Choose all lists anew.
    ChooseAgain,
    /// Write entries of the first list's pages before this one to the other lists.
    TakeUp(u32),
    /// Make two lists of the one in this slot.
    Split(usize),
    /// Write the entries of the list in this slot to others.
    Merge(usize),
    /// Write the list in this slot anew.
    Pack(usize),
}

/// The next step that is worth it; none of a flat index. Pages of the first list from `until` on are left to the next VACUUM.
pub fn next_step(
    pages: &impl Pages,
    state: &mut IndexState,
    until: u32,
    limits: Limits,
) -> Result<Option<Step>, Error> {
    let Some(tree) = state.tree.clone() else {
        return Ok(None);
    };
    let lists = tree.lists();
    let head = |at: usize| tree.slots[at].head;
    let outgrown = has_outgrown(state, limits);
    // First of all, so that no list becomes much larger than it should be while entries are taken up.
    let wanted = wanted_entries(state);
    let large = |at: &usize| head(*at).entries > wanted * TOO_LARGE && has_grown(&head(*at));
    if let Some(at) = tree.used().find(large).filter(|_| !outgrown) {
        return Ok(Some(Step::Split(at)));
    }
    if has_pages(pages, state.list(), until, TAKE_UP_PAGES)? {
        return Ok(Some(Step::TakeUp(until)));
    }
    if outgrown {
        return Ok(Some(Step::ChooseAgain));
    }
    Ok(tree.used().find_map(|at| {
        if head(at).entries < wanted / TOO_SMALL && has_shrunk(&head(at)) && lists > 1 {
            Some(Step::Merge(at))
        } else if is_thin(&head(at)) {
            Some(Step::Pack(at))
        } else {
            None
        }
    }))
}

/// Lists are of different sizes from the first: what was written large or small stays so until it is a half larger, …
fn has_grown(head: &ListHead) -> bool {
    head.entries > head.centred + head.centred / 2
}

/// … or has half as many entries as then.
fn has_shrunk(head: &ListHead) -> bool {
    head.centred == 0 || head.entries < head.centred / 2
}

/// Whether the first list has so many pages before `until`.
fn has_pages(pages: &impl Pages, list: &ListHead, until: u32, wanted: u64) -> Result<bool, Error> {
    let (mut block, mut passed) = (list.first, 0);
    while block != NO_BLOCK && block != until && passed < wanted {
        pages.pause();
        let head = special(&pages.read(block)?)?;
        if !head.is_of(0, list.generation) {
            return Err(corrupted("page in a list it is not of"));
        }
        passed += 1;
        block = head.next;
    }
    Ok(passed == wanted)
}

impl Step {
    /// Takes the step and answers how many pages became free.
    pub fn take(
        self,
        pages: &impl Pages,
        state: &mut IndexState,
        limits: Limits,
        vector: &mut VectorOf<'_>,
    ) -> Result<u64, Error> {
        let freed = match self {
            Self::TakeUp(until) => take_up(pages, state, until, vector)?,
            Self::ChooseAgain => choose_again(pages, state, limits, vector)?,
            Self::Split(at) => relist::split(pages, state, at, vector)?,
            Self::Merge(at) => relist::merge(pages, state, at, vector)?,
            Self::Pack(at) => relist::pack(pages, state, at)?,
        };
        state.read_tree(pages)?;
        Ok(freed)
    }
}

/// The lists, of which there must be some.
pub fn tree_of(state: &IndexState) -> Result<Arc<Tree>, Error> {
    let tree = state.tree.clone();
    tree.ok_or_else(|| corrupted("tree without a directory"))
}
