//! A tree's directory: where each of its lists is. Slots of a fixed size, as many as a page takes, over a chain of pages.
//!
//! A list keeps its slot as long as it lives, and the centroid of slot i is record i of the centroids' chain.
#![forbid(unsafe_code)]

use super::corrupted;
use super::meta::ListHead;
use super::page::{Kind, area, check_used, set_special, set_used, special};
use crate::error::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One list of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Slot {
    /// Where it is. Its `centre` is not used: a list's centre is its centroid.
    pub head: ListHead,
    /// Its number, which its pages carry; 0 in an unused slot.
    pub list: u32,
    /// 0
    pub reserved: u32,
}

const _: () = assert!(size_of::<Slot>() == 48);

impl Slot {
    /// Whether there is a list in it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.list != 0
    }
}

/// Slots a page takes.
#[must_use]
pub fn per_page() -> usize {
    area(Kind::Directory).len() / size_of::<Slot>()
}

/// Appends the slots of a directory page.
pub fn read(page: &[u8], slots: &mut Vec<Slot>) -> Result<(), Error> {
    let head = special(page)?;
    let (kind, count) = (head.kind()?, usize::from(head.rows));
    if kind != Kind::Directory || count > per_page() {
        return Err(corrupted(format!(
            "page of kind {kind:?} with {count} slots in a directory"
        )));
    }
    let start = area(Kind::Directory).start;
    check_used(page, start + count * size_of::<Slot>())?;
    let bytes = &page[start..start + count * size_of::<Slot>()];
    let read = |bytes| Slot::read_from_bytes(bytes).ok();
    for slot in bytes.chunks_exact(size_of::<Slot>()).filter_map(read) {
        slot.head.check()?;
        slots.push(slot);
    }
    Ok(())
}

/// Writes slot `number` of a directory page, adding it if it is the next.
pub fn write(page: &mut [u8], number: usize, slot: &Slot) -> Result<(), Error> {
    let mut head = special(page)?;
    if number >= per_page() || number > usize::from(head.rows) {
        return Err(corrupted(format!("slot {number} of a directory page")));
    }
    let start = area(Kind::Directory).start;
    let at = start + number * size_of::<Slot>();
    page[at..at + size_of::<Slot>()].copy_from_slice(slot.as_bytes());
    head.rows = head.rows.max(number as u16 + 1);
    set_special(page, &head);
    set_used(page, start + usize::from(head.rows) * size_of::<Slot>());
    Ok(())
}
