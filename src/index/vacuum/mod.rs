//! What VACUUM does to an index: removing the entries of dead rows, and putting in order what has changed.
//!
//! Only one VACUUM works on a table at a time (PostgreSQL's SHARE UPDATE EXCLUSIVE lock sees to it), while searches and
//! inserts go on. The list that takes new entries is written anew like this:
//!
//! ```text
//! 1  a new generation number is taken, and the meta page says that a rewrite is under way
//! 2  a centre and a chain of the new generation are written, from the old chain's live entries, aside
//! 3  the old chain's last page is locked, which stops inserters; what they appended meanwhile is carried over
//! 4  in one step the meta page names the new chain and the old last page becomes a free one
//! 5  the old chain's pages are made free; the meta page forgets the rewrite
//! ```
//!
//! Searches notice 4 and 5 by the generation of the next page they come to, and begin anew. After a crash in 2 or 5 pages
//! of other generations lie about; the next VACUUM, told by the meta page, frees them. The lists of a tree are changed by VACUUM alone
//! (`tree`).
#![forbid(unsafe_code)]

mod grow;
mod mean;
mod relist;
mod remove;
mod rewrite;
mod take_up;
mod tree;

pub use grow::grow_tree;
pub use mean::Mean;
pub use remove::{Removal, remove_dead};
pub use rewrite::{CENTRE_SAMPLE, rewrite};
pub use tree::{Step, next_step};

use super::chain::free_page_if;
use super::pages::{Edit, Pages};
use super::plan::Limits;
use super::state::IndexState;
use crate::error::Error;
use crate::layout::META_BLOCK;
use crate::layout::corrupted;
use crate::layout::entry::{Entries, EntryTid};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, is_new, special};
use crate::stop_point::StopPoint;
use std::collections::HashSet;

/// Answers the vector of a row version, or None where there is none any more.
pub type VectorOf<'v> = dyn FnMut(EntryTid) -> Result<Option<Vec<f32>>, Error> + 'v;

/// Fewer entries than this get no centre of their own: they are all scanned in no time.
pub const LEAST_CENTRED: u64 = 256;
/// A list gets a new centre when it is this many times as large as when it got the last …
const RECENTRE_GROWTH: u64 = 4;
/// … and is written anew when this share of its entries is removed ones: one in so many.
const DEAD_SHARE: u64 = 5;

/// What maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// The list that takes new entries was written anew.
    pub rewritten: bool,
    /// Steps of work on a tree.
    pub steps: u64,
    /// Pages made free.
    pub freed: u64,
    /// Rows, as far as is known.
    pub entries: u64,
    /// They were counted now.
    pub counted: bool,
}

/// Frees what a crash left behind, and puts in order what has grown or thinned out enough: a flat index's list is written anew, or becomes
/// a tree; a tree takes up new entries, and its lists are split, merged or written anew. Costs a look at one page where nothing has, and at
/// the directory of a tree.
pub fn maintain(
    pages: &impl Pages,
    state: &mut IndexState,
    limits: Limits,
    vector: &mut VectorOf<'_>,
) -> Result<Maintenance, Error> {
    // What is remembered of a tree may be old: its version tells of new lists, not of entries and pages.
    state.read_tree(pages)?;
    let mut done = Maintenance::default();
    if state.meta.rewriting != 0 {
        done.freed += free_strays(pages, state)?;
    }
    if state.tree.is_none() {
        maintain_list(pages, state, vector, &mut done)?;
        if state.list().entries >= limits.tree_rows {
            done.steps += u64::from(grow_tree(pages, state, limits, vector)?);
        }
    }
    // What is appended from now on is the next VACUUM's: or inserters, and entries put back, would keep this one busy for ever.
    let until = state.list().last;
    while let Some(step) = next_step(pages, state, until, limits)? {
        done.freed += step.take(pages, state, limits, vector)?;
        done.steps += 1;
        done.counted = false;
    }
    done.entries = state.rows();
    Ok(done)
}

/// Of a flat index.
fn maintain_list(
    pages: &impl Pages,
    state: &mut IndexState,
    vector: &mut VectorOf<'_>,
    done: &mut Maintenance,
) -> Result<(), Error> {
    let list = *state.list();
    if most_entries(pages, state) < recentre_at(&list) && !is_thin(&list) {
        return Ok(());
    }
    let count = count(pages, state)?;
    update_meta(pages, StopPoint::CountList, |meta| {
        meta.list.entries = count.live;
        meta.list.dead = count.dead;
    })?;
    done.counted = true;
    state.refresh(pages)?;
    let list = *state.list();
    let recentre = list.entries >= recentre_at(&list);
    if recentre || is_thin(&list) {
        done.freed += rewrite(pages, state, recentre, vector)?;
        done.rewritten = true;
    }
    Ok(())
}

fn recentre_at(list: &ListHead) -> u64 {
    (list.centred * RECENTRE_GROWTH).max(LEAST_CENTRED)
}

fn is_thin(list: &ListHead) -> bool {
    list.dead > 0 && list.dead * DEAD_SHARE >= list.entries + list.dead
}

/// As many entries as the file has room for.
fn most_entries(pages: &impl Pages, state: &IndexState) -> u64 {
    let per_page = state.geometry.capacity(Kind::List).entries();
    u64::from(pages.blocks()) * per_page as u64
}

#[derive(Default)]
struct Count {
    live: u64,
    dead: u64,
}

/// Of the list that takes new entries.
fn count(pages: &impl Pages, state: &IndexState) -> Result<Count, Error> {
    let mut count = Count::default();
    walk_list(pages, state, state.list(), 0, &mut |entries| {
        let dead = u64::from(entries.special.dead);
        count.dead += dead;
        count.live += entries.len() as u64 - dead;
        Ok(())
    })?;
    Ok(count)
}

/// What is done with the entries of a page.
type VisitEntries<'v> = dyn FnMut(Entries<'_>) -> Result<(), Error> + 'v;

/// Visits the entries of all lists. The caller is the only one who could write them anew.
pub fn walk_entries(
    pages: &impl Pages,
    state: &IndexState,
    visit: &mut VisitEntries<'_>,
) -> Result<(), Error> {
    walk_list(pages, state, state.list(), 0, visit)?;
    if let Some(tree) = &state.tree {
        for slot in tree.used().map(|at| &tree.slots[at]) {
            walk_list(pages, state, &slot.head, slot.list, visit)?;
        }
    }
    Ok(())
}

/// The places of `wanted` of the index's `entries`, spread evenly over it, or some fewer.
pub fn some_rows(
    pages: &impl Pages,
    state: &IndexState,
    entries: u64,
    wanted: u64,
) -> Result<Vec<EntryTid>, Error> {
    let step = entries.div_ceil(wanted.max(1)).max(1);
    let (mut chosen, mut number) = (Vec::new(), 0);
    walk_entries(pages, state, &mut |entries| {
        let tids = (0..entries.len()).map(|number| entries.tid(number));
        for tid in tids.filter(|tid| tid.is_live()) {
            number += 1;
            if number % step == 0 {
                chosen.push(tid);
            }
        }
        Ok(())
    })?;
    Ok(chosen)
}

fn walk_list(
    pages: &impl Pages,
    state: &IndexState,
    head: &ListHead,
    list: u32,
    visit: &mut VisitEntries<'_>,
) -> Result<(), Error> {
    let whole = pages.walk(head.first, list, head.generation, &mut |_, page| {
        visit(Entries::of(state.geometry, page)?)
    })?;
    if !whole {
        return Err(corrupted("page in a list it is not of"));
    }
    Ok(())
}

/// Changes the meta body, a change of that name, and answers it.
pub fn update_meta(
    pages: &impl Pages,
    name: StopPoint,
    change: impl FnOnce(&mut Meta),
) -> Result<Meta, Error> {
    let mut edit = pages.edit();
    let page = edit.open(META_BLOCK)?;
    let mut meta = Meta::read(edit.bytes(page))?;
    let before = meta;
    change(&mut meta);
    if meta != before {
        meta.write(edit.bytes_mut(page)?);
        edit.commit(name)?;
    }
    Ok(meta)
}

/// Frees pages that a crash left behind: of no list and generation in use, or never written.
fn free_strays(pages: &impl Pages, state: &IndexState) -> Result<u64, Error> {
    let owners = owners(state);
    let is_stray = |page: &[u8]| {
        if is_new(page) {
            return Ok(true);
        }
        let head = special(page)?;
        Ok(head.kind()? != Kind::Free && !owners.contains(&(head.list, head.generation)))
    };
    let mut freed = 0;
    for block in 1..pages.blocks() {
        pages.pause();
        let (stray, free) = {
            let page = pages.read(block)?;
            let stray = is_stray(&page)?;
            (stray, !stray && special(&page)?.kind()? == Kind::Free)
        };
        if free {
            pages.found_free(block);
        }
        // Asked again under the exclusive lock: an inserter may have taken a page that was never written.
        if stray && free_page_if(pages, block, is_stray)? {
            freed += 1;
        }
    }
    update_meta(pages, StopPoint::FreedStrays, |meta| meta.rewriting = 0)?;
    Ok(freed)
}

/// List and generation of every page that is in use.
pub fn owners(state: &IndexState) -> HashSet<(u32, u32)> {
    let mut owners = HashSet::from([(0, state.list().generation)]);
    if let Some(tree) = &state.tree {
        owners.insert((0, state.meta.tree_generation));
        let slots = tree.used().map(|at| &tree.slots[at]);
        owners.extend(slots.map(|slot| (slot.list, slot.head.generation)));
    }
    owners
}
