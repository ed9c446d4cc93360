//! Chains of pages: a list or a centre written page by page, aside from what is in use, and pages given back.
#![forbid(unsafe_code)]

use super::pages::{Edit, Pages, Walk};
use crate::error::Error;
use crate::layout::entry::Geometry;
use crate::layout::meta::ListHead;
use crate::layout::page::{Kind, init, set_special, special};
use crate::layout::{NO_BLOCK, PAGE, centre};
use crate::quantizer::Centre;
use crate::stop_point::StopPoint;

/// The pages of a chain that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its first page.
    pub first: u32,
    /// Its last page.
    pub last: u32,
    /// Entries in it.
    pub entries: u64,
}

impl Chain {
    /// The head of a list of this chain, without removed entries.
    #[must_use]
    pub fn head(&self, generation: u32) -> ListHead {
        ListHead {
            first: self.first,
            last: self.last,
            centre: NO_BLOCK,
            generation,
            entries: self.entries,
            dead: 0,
            centred: 0,
        }
    }
}

/// Writes a list's entries to new pages. Nobody can come upon them before the chain is named on the meta page.
pub struct ChainWriter<'p, P: Pages> {
    pages: &'p P,
    geometry: Geometry,
    list: u32,
    generation: u32,
    /// The page being filled. It is given a block when it is full, so that each page is logged once, whole.
    image: Vec<u8>,
    first: u32,
    last: u32,
    entries: u64,
}

impl<'p, P: Pages> ChainWriter<'p, P> {
    /// A chain of that list and generation.
    pub fn new(pages: &'p P, geometry: Geometry, list: u32, generation: u32) -> Self {
        let mut image = vec![0; PAGE];
        init(&mut image, Kind::List, list, generation);
        Self {
            pages,
            geometry,
            list,
            generation,
            image,
            first: NO_BLOCK,
            last: NO_BLOCK,
            entries: 0,
        }
    }

    /// The list it is of, and the generation.
    pub fn owner(&self) -> (u32, u32) {
        (self.list, self.generation)
    }

    /// Appends an entry in row form.
    pub fn push(&mut self, row: &[u8]) -> Result<(), Error> {
        self.entries += 1;
        if self.geometry.append(&mut self.image, row)? {
            return Ok(());
        }
        self.flush()?;
        init(&mut self.image, Kind::List, self.list, self.generation);
        self.geometry.append(&mut self.image, row)?;
        Ok(())
    }

    /// Writes the last page, be it empty.
    pub fn finish(mut self) -> Result<Chain, Error> {
        self.flush()?;
        Ok(Chain {
            first: self.first,
            last: self.last,
            entries: self.entries,
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.last = append_page(self.pages, self.last, &self.image)?;
        if self.first == NO_BLOCK {
            self.first = self.last;
        }
        Ok(())
    }
}

/// Writes a page behind `last`, if there is one, and answers its block.
pub fn append_page(pages: &impl Pages, last: u32, image: &[u8]) -> Result<u32, Error> {
    pages.pause();
    let mut edit = pages.edit();
    let before = (last != NO_BLOCK).then(|| edit.open(last)).transpose()?;
    let (page, block) = edit.create()?;
    edit.bytes_mut(page)?.copy_from_slice(image);
    if let Some(before) = before {
        let page = edit.bytes_mut(before)?;
        let mut linked = special(page)?;
        linked.next = block;
        set_special(page, &linked);
    }
    edit.commit(StopPoint::ChainPage)?;
    Ok(block)
}

/// Writes a centre's elements and answers their first page: [`NO_BLOCK`] for the origin.
pub fn write_centre(pages: &impl Pages, of: &Centre, generation: u32) -> Result<u32, Error> {
    if of.is_zero() {
        return Ok(NO_BLOCK);
    }
    write_bytes(pages, &centre::to_bytes(of.rotated()), generation)
}

/// Writes bytes to a new chain of centre pages and answers the first: [`NO_BLOCK`] for none.
pub fn write_bytes(pages: &impl Pages, bytes: &[u8], generation: u32) -> Result<u32, Error> {
    let (mut first, mut last) = (NO_BLOCK, NO_BLOCK);
    let mut image = vec![0; PAGE];
    for some in bytes.chunks(centre::per_page()) {
        init(&mut image, Kind::Centre, 0, generation);
        centre::write(&mut image, 0, some)?;
        last = append_page(pages, last, &image)?;
        if first == NO_BLOCK {
            first = last;
        }
    }
    Ok(first)
}

/// Frees the pages of a chain that nothing names any more, as far as they still are of that generation. Block 0 stays.
pub fn free_chain(
    pages: &impl Pages,
    first: u32,
    list: u32,
    generation: u32,
) -> Result<u64, Error> {
    let mut next = first;
    let mut freed = 0;
    let mut walk = Walk::new(list, generation);
    while next != NO_BLOCK {
        pages.pause();
        let head = {
            let page = pages.read(next)?;
            if walk.step(pages, &page)?.is_none() {
                break;
            }
            special(&page)?
        };
        if next != 0 {
            free_page(pages, next)?;
            freed += 1;
        }
        next = head.next;
    }
    Ok(freed)
}

/// Makes a page a free one.
pub fn free_page(pages: &impl Pages, block: u32) -> Result<(), Error> {
    free_page_if(pages, block, |_| Ok(true))?;
    Ok(())
}

/// Makes a page a free one if it is to be, asked under its lock; whether it was.
pub fn free_page_if(
    pages: &impl Pages,
    block: u32,
    is_to_be: impl FnOnce(&[u8]) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let mut edit = pages.edit();
    let page = edit.open(block)?;
    if !is_to_be(edit.bytes(page))? {
        return Ok(false);
    }
    init(edit.bytes_mut(page)?, Kind::Free, 0, 0);
    edit.commit(StopPoint::FreePage)?;
    pages.recycle(block);
    Ok(true)
}
