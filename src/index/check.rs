//! Looking an index over: every page well-formed, in the place it claims, and in one place only.
#![forbid(unsafe_code)]

use super::pages::Pages;
use super::state::IndexState;
use crate::error::Error;
use crate::layout::NO_BLOCK;
use crate::layout::entry::{Entries, EntryTid};
use crate::layout::page::{Kind, is_new, special};
use std::collections::BTreeSet;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The page of the index, if it is about one.
    pub block: Option<u32>,
    /// What is wrong with it.
    pub message: String,
}

/// What there is, beside what is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Pages of the list, block 0 included if it holds entries of it.
    pub list_pages: u64,
    /// Pages of the centre.
    pub centre_pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Entries in packed blocks.
    pub packed: u64,
    /// Entries in row form.
    pub rows: u64,
    /// Removed entries among both.
    pub dead: u64,
}

/// Looks the index over. No VACUUM works on it meanwhile; inserters may. Calls `each` with every live entry's TID.
pub fn check(
    pages: &impl Pages,
    state: &mut IndexState,
    violations: &mut Vec<Violation>,
    each: &mut dyn FnMut(EntryTid),
) -> Result<Census, Error> {
    // Pages that come later are beyond what is looked at.
    let blocks = pages.blocks();
    state.refresh(pages)?;
    let list = *state.list();
    let mut reached = BTreeSet::from([0]);
    let mut census = Census::default();
    let mut say = |block: u32, message: String| {
        violations.push(Violation {
            block: Some(block),
            message,
        });
    };

    let mut last = list.first;
    let mut next = Some(list.first);
    while let Some(block) = next.take() {
        pages.pause();
        let page = pages.read(block)?;
        last = block;
        if !reached.insert(block) && block != 0 {
            say(block, "the list comes to this page twice".into());
            break;
        }
        match list_page(state, &page, list.generation) {
            Err(error) => say(block, error.to_string()),
            Ok(entries) => {
                census.list_pages += 1;
                census.rows += u64::from(entries.special.rows);
                census.packed += entries.len() as u64 - u64::from(entries.special.rows);
                let mut dead = 0;
                for number in 0..entries.len() {
                    let tid = entries.tid(number);
                    if tid.is_live() {
                        each(tid);
                    } else {
                        dead += 1;
                    }
                }
                census.dead += dead;
                if dead != u64::from(entries.special.dead) {
                    let told = entries.special.dead;
                    say(block, format!("{dead} entries are removed, not {told}"));
                }
                next = (entries.special.next != NO_BLOCK).then_some(entries.special.next);
            }
        }
    }
    state.refresh(pages)?;
    if last != state.list().last && reached.len() > 1 && !reached.contains(&state.list().last) {
        let told = state.list().last;
        say(last, format!("the list ends here, not at {told}"));
    }

    let mut next = list.centre;
    while next != NO_BLOCK {
        pages.pause();
        let head = special(&pages.read(next)?)?;
        if !reached.insert(next) || head.kind()? != Kind::Centre || !head.is_of(0, list.generation)
        {
            say(next, "it is in the centre's chain but not of it".into());
            break;
        }
        census.centre_pages += 1;
        next = head.next;
    }

    for block in (1..blocks).filter(|block| !reached.contains(block)) {
        pages.pause();
        let page = pages.read(block)?;
        let free = is_new(&page) || special(&page)?.kind().is_ok_and(|kind| kind == Kind::Free);
        census.free_pages += u64::from(free);
        // A page that an inserter linked after the list was walked is of the list.
        let late = !free && special(&page)?.is_of(0, list.generation);
        if !free && !late && state.meta.rewriting == 0 {
            say(block, "nothing leads to it and it is not free".into());
        }
    }
    Ok(census)
}

fn list_page<'a>(
    state: &IndexState,
    page: &'a [u8],
    generation: u32,
) -> Result<Entries<'a>, Error> {
    let entries = Entries::of(state.geometry, page)?;
    if !entries.special.is_of(0, generation) {
        return Err(crate::layout::corrupted(format!(
            "page of generation {} in a list of generation {generation}",
            entries.special.generation
        )));
    }
    let capacity = state.geometry.capacity(entries.special.kind()?);
    let (blocks, rows) = (
        usize::from(entries.special.blocks),
        usize::from(entries.special.rows),
    );
    let room = if blocks == capacity.blocks {
        capacity.rows
    } else {
        crate::kernel::BLOCK_ENTRIES - 1
    };
    if blocks > capacity.blocks || rows > room {
        return Err(crate::layout::corrupted(format!(
            "page with {blocks} blocks and {rows} rows"
        )));
    }
    Ok(entries)
}
