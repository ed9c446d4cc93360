//! Looking an index over: every page well-formed, in the place it claims, and in one place only.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use super::state::{IndexState, read_meta};
use crate::error::Error;
use crate::layout::entry::{Entries, EntryTid};
use crate::layout::meta::ListHead;
use crate::layout::page::{Kind, is_new, special};
use crate::layout::{META_BLOCK, NO_BLOCK};
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
    /// Lists, the one that takes new entries included.
    pub lists: u64,
    /// Pages of lists, block 0 included if it holds entries.
    pub list_pages: u64,
    /// Pages of the directory, the centre and the centroids.
    pub other_pages: u64,
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
    pages: &impl ReadPages,
    state: &mut IndexState,
    violations: &mut Vec<Violation>,
    each: &mut dyn FnMut(EntryTid),
) -> Result<Census, Error> {
    // Pages that come later are beyond what is looked at.
    let blocks = pages.blocks();
    state.refresh(pages)?;
    let mut look = Look {
        pages,
        state,
        violations,
        reached: BTreeSet::from([0]),
        census: Census::default(),
    };
    let list = *look.state.list();
    let last = look.list(&list, 0, each)?;
    look.chain(list.centre, list.generation, Kind::Centre)?;
    if let Some(tree) = look.state.tree.clone() {
        let meta = look.state.meta;
        look.chain(meta.directory, meta.tree_generation, Kind::Directory)?;
        look.chain(meta.centroids, meta.tree_generation, Kind::Centre)?;
        for slot in tree.used().map(|at| tree.slots[at]) {
            let last = look.list(&slot.head, slot.list, each)?;
            if last != slot.head.last {
                look.say(
                    last,
                    format!("list {} ends here, not at {}", slot.list, slot.head.last),
                );
            }
        }
    }
    // An inserter may have added pages meanwhile.
    let now = read_meta(pages)?.list;
    if last != now.last && !look.reached.contains(&now.last) && now.last < blocks {
        look.say(last, format!("the list ends here, not at {}", now.last));
    }
    look.rest(blocks, list.generation)?;
    Ok(look.census)
}

/// A look under way.
struct Look<'a, P: ReadPages> {
    pages: &'a P,
    state: &'a IndexState,
    violations: &'a mut Vec<Violation>,
    /// Pages that something leads to.
    reached: BTreeSet<u32>,
    census: Census,
}

impl<P: ReadPages> Look<'_, P> {
    fn say(&mut self, block: u32, message: String) {
        self.violations.push(Violation {
            block: Some(block),
            message,
        });
    }

    /// One list; answers its last page.
    fn list(
        &mut self,
        head: &ListHead,
        list: u32,
        each: &mut dyn FnMut(EntryTid),
    ) -> Result<u32, Error> {
        self.census.lists += 1;
        let mut last = head.first;
        let mut next = Some(head.first);
        let mut passed = 0_u32;
        while let Some(block) = next.take() {
            self.pages.pause();
            let page = self.pages.read(block)?;
            last = block;
            // Block 0 is reached by itself, and holds the first entries of the first list if any.
            let begins = block == META_BLOCK && list == 0 && passed == 0;
            passed += 1;
            if !self.reached.insert(block) && !begins {
                drop(page);
                self.say(
                    block,
                    format!("list {list} comes to a page that is reached already"),
                );
                break;
            }
            let told = match list_page(self.state, &page, list, head.generation) {
                Err(error) => Some(error.to_string()),
                Ok(entries) => {
                    let special = entries.special;
                    self.census.list_pages += 1;
                    self.census.rows += u64::from(special.rows);
                    self.census.packed += entries.len() as u64 - u64::from(special.rows);
                    let live = (0..entries.len()).map(|number| entries.tid(number));
                    let mut dead = 0;
                    for tid in live {
                        if tid.is_live() {
                            each(tid);
                        } else {
                            dead += 1;
                        }
                    }
                    self.census.dead += dead;
                    next = (special.next != NO_BLOCK).then_some(special.next);
                    (dead != u64::from(special.dead))
                        .then(|| format!("{dead} entries are removed, not {}", special.dead))
                }
            };
            drop(page);
            if let Some(message) = told {
                self.say(block, message);
            }
        }
        Ok(last)
    }

    /// A chain of pages of one kind that are not of a list.
    fn chain(&mut self, first: u32, generation: u32, kind: Kind) -> Result<(), Error> {
        let mut next = first;
        while next != NO_BLOCK {
            self.pages.pause();
            let head = special(&self.pages.read(next)?)?;
            if !self.reached.insert(next) || head.kind()? != kind || !head.is_of(0, generation) {
                self.say(
                    next,
                    format!("it is in a chain of kind {kind:?} but not of it"),
                );
                break;
            }
            self.census.other_pages += 1;
            next = head.next;
        }
        Ok(())
    }

    /// Pages that nothing leads to must be free.
    fn rest(&mut self, blocks: u32, generation: u32) -> Result<(), Error> {
        let unreached: Vec<u32> = (1..blocks)
            .filter(|block| !self.reached.contains(block))
            .collect();
        for block in unreached {
            self.pages.pause();
            let page = self.pages.read(block)?;
            let free = is_new(&page) || special(&page)?.kind().is_ok_and(|kind| kind == Kind::Free);
            self.census.free_pages += u64::from(free);
            // A page that an inserter linked after the list was walked is of the list.
            let late = !free && special(&page)?.is_of(0, generation);
            drop(page);
            if !free && !late && self.state.meta.rewriting == 0 {
                self.say(block, "nothing leads to it and it is not free".into());
            }
        }
        Ok(())
    }
}

fn list_page<'a>(
    state: &IndexState,
    page: &'a [u8],
    list: u32,
    generation: u32,
) -> Result<Entries<'a>, Error> {
    let entries = Entries::of(state.geometry, page)?;
    if !entries.special.is_of(list, generation) {
        return Err(crate::layout::corrupted(format!(
            "page of list {}, generation {} in list {list}, generation {generation}",
            entries.special.list, entries.special.generation
        )));
    }
    Ok(entries)
}
