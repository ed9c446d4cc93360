//! [`Pages`] on an index relation: shared buffers, generic WAL, the free space map.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::index::pages::{Edit, Pages, ReadPages, Visit, Walk};
use crate::layout::page::is_free;
use crate::layout::{self, PAGE};
use crate::pg::index_pages::{
    self, PageEdit, PageReader, SharedPage, check_for_interrupts, is_interrupt_pending,
};
use crate::pg::relation::Relation;
use crate::pg::stop_point;
use crate::pg::vacuum_cost;
use crate::stop_point::StopPoint;
use std::cell::{Cell, RefCell};

const _: () = assert!(PAGE == index_pages::PAGE, "pages of BLCKSZ bytes");

/// The pages of one index.
pub struct PgPages<'r> {
    index: &'r Relation,
    /// Sleeps as VACUUM's cost settings ask.
    in_vacuum: bool,
    /// Changes under way: their pages are locked.
    edits: Cell<u32>,
    /// What the last walk read with, between walks without a page: making one asks the kernel for the file's length, and a search
    /// of a tree walks a hundred lists.
    reader: RefCell<Option<PageReader<'r>>>,
    /// The pages there are for sure.
    known: Cell<u32>,
}

impl<'r> PgPages<'r> {
    /// The index they are of.
    pub fn index(&self) -> &'r Relation {
        self.index
    }

    /// For a query, an insert or a build.
    pub fn new(index: &'r Relation) -> Self {
        Self {
            index,
            in_vacuum: false,
            edits: Cell::new(0),
            reader: RefCell::new(None),
            known: Cell::new(0),
        }
    }

    /// For VACUUM.
    pub fn in_vacuum(index: &'r Relation) -> Self {
        vacuum_cost::begin();
        Self {
            in_vacuum: true,
            ..Self::new(index)
        }
    }

    fn keep(&self, mut reader: PageReader<'r>) {
        reader.let_go();
        self.reader.replace(Some(reader));
    }

    /// The index.
    pub fn relation(&self) -> &'r Relation {
        self.index
    }

    /// Writes the first page of a new index.
    pub fn create(&self, first: &[u8]) -> Result<(), Error> {
        let mut edit = self.edit();
        let (page, block) = edit.create()?;
        if block != layout::META_BLOCK {
            return Err(layout::corrupted("new index that is not empty"));
        }
        edit.bytes_mut(page)?.copy_from_slice(first);
        edit.commit(StopPoint::MetaPage)
    }
}

/// A block that the file has, of which `known` are known: what a damaged page names may be anything, and PostgreSQL takes one of the numbers as
/// the wish for a new page.
fn check(index: &Relation, known: &Cell<u32>, block: u32) -> Result<(), Error> {
    if block >= known.get() {
        known.set(index.blocks()); // it may have grown
        if block >= known.get() {
            return Err(layout::corrupted(format!("block {block} is past the end")));
        }
    }
    Ok(())
}

impl ReadPages for PgPages<'_> {
    type Page<'a>
        = SharedPage
    where
        Self: 'a;

    fn blocks(&self) -> u32 {
        self.index.blocks()
    }

    fn read(&self, block: u32) -> Result<SharedPage, Error> {
        check(self.index, &self.known, block)?;
        Ok(SharedPage::read(self.index, block))
    }

    fn walk(
        &self,
        first: u32,
        list: u32,
        generation: u32,
        each: &mut Visit<'_>,
    ) -> Result<bool, Error> {
        let known = self.reader.take();
        let mut reader = known.unwrap_or_else(|| PageReader::new(self.index, self.blocks()));
        let mut walk = Walk::new(list, generation);
        let mut next = Some(first);
        while let Some(block) = next {
            if self.in_vacuum || is_interrupt_pending() {
                reader.let_go();
                self.pause();
            }
            check(self.index, &self.known, block)?;
            reader.turn_to(block);
            let page = reader.page();
            match walk.step(self, page)? {
                None => {
                    self.keep(reader);
                    return Ok(false);
                }
                Some(following) => next = following,
            }
            if let Some(next) = next {
                reader.prefetch(next);
            }
            each(block, page)?;
        }
        self.keep(reader);
        Ok(true)
    }

    fn prefetch(&self, block: u32) {
        if let Some(reader) = &*self.reader.borrow() {
            reader.prefetch(block);
        }
    }

    fn pause(&self) {
        if self.edits.get() > 0 {
            return; // nobody sleeps with a page locked
        }
        if self.in_vacuum {
            vacuum_cost::delay();
        } else {
            check_for_interrupts();
        }
    }
}

impl Pages for PgPages<'_> {
    type Edit<'a>
        = PgEdit<'a>
    where
        Self: 'a;

    fn edit(&self) -> PgEdit<'_> {
        PgEdit {
            edit: PageEdit::new(self.index),
            index: self.index,
            known: &self.known,
            _under_way: UnderWay::new(&self.edits),
        }
    }

    fn recycle(&self, block: u32) {
        index_pages::recycle(self.index, block);
    }
}

/// A change of several pages, one generic WAL record.
pub struct PgEdit<'a> {
    edit: PageEdit<'a>,
    index: &'a Relation,
    known: &'a Cell<u32>,
    _under_way: UnderWay<'a>,
}

/// Counts a change as long as it is there, be it made or given up.
struct UnderWay<'a>(&'a Cell<u32>);

impl<'a> UnderWay<'a> {
    fn new(edits: &'a Cell<u32>) -> Self {
        edits.set(edits.get() + 1);
        Self(edits)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Edit for PgEdit<'_> {
    fn open(&mut self, block: u32) -> Result<usize, Error> {
        check(self.index, self.known, block)?;
        Ok(self.edit.open(block))
    }

    fn create(&mut self) -> Result<(usize, u32), Error> {
        Ok(self.edit.create(is_free))
    }

    fn bytes(&self, page: usize) -> &[u8] {
        self.edit.bytes(page)
    }

    fn bytes_mut(&mut self, page: usize) -> Result<&mut [u8], Error> {
        Ok(self.edit.bytes_mut(page))
    }

    fn commit(self, change: StopPoint) -> Result<(), Error> {
        stop_point::before(change);
        self.edit.commit();
        stop_point::after(change);
        Ok(())
    }
}
