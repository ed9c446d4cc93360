//! Removing the entries of dead rows, in place.
#![forbid(unsafe_code)]

use super::update_meta;
use crate::error::Error;
use crate::index::pages::{Edit, Pages};
use crate::index::state::IndexState;
use crate::layout::entry::{Entries, EntryTid, Geometry, remove};
use crate::layout::page::{Kind, is_new, special};
use crate::layout::{META_BLOCK, corrupted};
use crate::stop_point::StopPoint;
use std::collections::HashMap;

/// What a removal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Rows whose entries were removed now, about: of a tree with two entries for each row, half of those in its lists.
    pub removed: u64,
    /// Rows left, likewise.
    pub live: u64,
}

/// Entries of a list.
#[derive(Clone, Copy, Default)]
struct Count {
    live: u64,
    dead: u64,
}

/// Removes the entries whose rows are dead. Looks at every page once, in the order of the file, and so comes upon free ones that a crash has
/// made forgotten.
pub fn remove_dead(
    pages: &impl Pages,
    state: &mut IndexState,
    is_dead: &mut dyn FnMut(EntryTid) -> bool,
) -> Result<Removal, Error> {
    state.read_tree(pages)?; // as maintenance does, and for the same reason
    // Of each list by number and generation; pages of others are what a crash left behind.
    let mut counts = HashMap::from([((0, state.list().generation), Count::default())]);
    if let Some(tree) = &state.tree {
        let lists = tree.used().map(|at| &tree.slots[at]);
        counts.extend(lists.map(|slot| ((slot.list, slot.head.generation), Count::default())));
    }
    let mut removed = [0, 0];
    // Pages added from now on hold entries of rows that are alive.
    for block in 0..pages.blocks() {
        pages.pause();
        let found = match entries_of(pages, state.geometry, block, is_dead)? {
            Looked::Entries(found) => found,
            Looked::Free if block == META_BLOCK => {
                return Err(corrupted("the meta page is marked as free"));
            }
            Looked::Free => {
                pages.found_free(block);
                continue;
            }
            Looked::Other => continue,
        };
        let Some(count) = counts.get_mut(&found.owner) else {
            continue;
        };
        if !found.gone.is_empty() {
            let mut edit = pages.edit();
            let page = edit.open(block)?;
            remove(state.geometry, edit.bytes_mut(page)?, &found.gone)?;
            edit.commit(StopPoint::RemoveEntries)?;
        }
        removed[usize::from(found.owner.0 != 0)] += found.gone.len() as u64;
        count.live += found.live;
        count.dead += found.gone_before + found.gone.len() as u64;
    }
    note(pages, state, &counts)?;
    state.refresh(pages)?;
    Ok(Removal {
        removed: removed[0] + removed[1] / u64::from(state.meta.copies.max(1)),
        live: state.rows(),
    })
}

/// Writes the counts to the meta page and the directory, where they are others.
fn note(
    pages: &impl Pages,
    state: &mut IndexState,
    counts: &HashMap<(u32, u32), Count>,
) -> Result<(), Error> {
    let list = *state.list();
    if let Some(count) = counts.get(&(0, list.generation)) {
        update_meta(pages, StopPoint::CountList, |meta| {
            meta.list.entries = count.live;
            meta.list.dead = count.dead;
        })?;
    }
    let Some(tree) = state.tree.clone() else {
        return Ok(());
    };
    let mut changed = false;
    for number in tree.used() {
        let mut slot = tree.slots[number];
        if let Some(count) = counts.get(&(slot.list, slot.head.generation)) {
            (slot.head.entries, slot.head.dead) = (count.live, count.dead);
        }
        if slot != tree.slots[number] {
            pages.pause();
            let mut edit = pages.edit();
            tree.set_slot(&mut edit, number, &slot)?;
            edit.commit(StopPoint::CountLists)?;
            changed = true;
        }
    }
    if changed {
        state.read_tree(pages)?;
    }
    Ok(())
}

/// Entries of one page.
struct Found {
    /// List and generation.
    owner: (u32, u32),
    live: u64,
    /// Numbers of those that are to go.
    gone: Vec<usize>,
    gone_before: u64,
}

/// What a page is.
enum Looked {
    Entries(Found),
    Free,
    Other,
}

fn entries_of(
    pages: &impl Pages,
    geometry: Geometry,
    block: u32,
    is_dead: &mut dyn FnMut(EntryTid) -> bool,
) -> Result<Looked, Error> {
    let (owner, tids): (_, Vec<EntryTid>) = {
        let page = pages.read(block)?;
        if is_new(&page) {
            return Ok(Looked::Free);
        }
        let head = special(&page)?;
        match head.kind()? {
            Kind::List | Kind::Meta => (),
            Kind::Free => return Ok(Looked::Free),
            Kind::Centre | Kind::Directory => return Ok(Looked::Other),
        }
        let entries = Entries::of(geometry, &page)?;
        let tids = (0..entries.len()).map(|number| entries.tid(number));
        ((head.list, head.generation), tids.collect())
    };
    let mut found = Found {
        owner,
        live: 0,
        gone: Vec::new(),
        gone_before: 0,
    };
    for (number, tid) in tids.into_iter().enumerate() {
        if !tid.is_live() {
            found.gone_before += 1;
        } else if is_dead(tid) {
            found.gone.push(number);
        } else {
            found.live += 1;
        }
    }
    Ok(Looked::Entries(found))
}
