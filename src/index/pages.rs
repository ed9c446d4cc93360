//! What the index algorithm asks of the pages it lives on: the persistence contract.
//!
//! A page is read under a shared lock and changed under an exclusive one; an [`Edit`] changes several pages in one atomic
//! step, which after a crash has happened whole or not at all. Locks are taken list page before meta page (block 0), and
//! whoever reads holds one lock at a time, so that nobody waits in a circle.
//!
//! Pages of a chain may be given to another list between two reads. Each page therefore names its list and generation, and
//! whoever walks a chain begins anew when a page is not of what he walks.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::layout::page::special;
use crate::layout::{NO_BLOCK, corrupted};
use crate::stop_point::StopPoint;
use std::ops::Deref;

/// What is done with a page of a walk: its block and its bytes.
pub type Visit<'a> = dyn FnMut(u32, &[u8]) -> Result<(), Error> + 'a;

/// A file of pages of [`crate::layout::PAGE`] bytes, numbered from 0, to be read.
pub trait ReadPages {
    /// A page under a shared lock, let go of on drop.
    type Page<'a>: Deref<Target = [u8]>
    where
        Self: 'a;

    /// How many pages the file has now. It only grows.
    fn blocks(&self) -> u32;

    /// Reads a page. One that is past the end is an error.
    fn read(&self, block: u32) -> Result<Self::Page<'_>, Error>;

    /// Calls `each` with the pages of a chain, under their shared locks, from `first` on. Can be interrupted between two pages.
    /// False if it came to a page that is not of that list and generation: the chain has been given up meanwhile.
    fn walk(
        &self,
        first: u32,
        list: u32,
        generation: u32,
        each: &mut Visit<'_>,
    ) -> Result<bool, Error> {
        let mut walk = Walk::new(list, generation);
        let mut next = Some(first);
        while let Some(block) = next {
            self.pause();
            let page = self.read(block)?;
            match walk.step(self, &page)? {
                None => return Ok(false),
                Some(following) => next = following,
            }
            each(block, &page)?;
        }
        Ok(true)
    }

    /// A walk begins with this page soon.
    fn prefetch(&self, block: u32) {
        let _ = block;
    }

    /// A place to be interrupted at, or to sleep at in a vacuum's interest. No lock is held.
    fn pause(&self);
}

/// The same, to be changed as well.
pub trait Pages: ReadPages {
    /// See [`Pages::edit`].
    type Edit<'a>: Edit
    where
        Self: 'a;

    /// Begins a change of at most four pages.
    fn edit(&self) -> Self::Edit<'_>;

    /// Notes that a page may be used again: it has been made a free one, or was never written. The note is kept, but for a crash.
    fn recycle(&self, block: u32);

    /// The same of a page that was come upon and is free: a crash may have taken the note. By the time it is used it may be free no longer.
    fn found_free(&self, block: u32) {
        self.recycle(block);
    }
}

/// So many pages of a chain may be passed before the file's length is asked for: the lists of a tree have a few each, and a search walks a hundred of
/// them.
const UNASKED: u32 = 32;

/// The way along a chain. A chain of more pages than the file has bites its tail.
pub struct Walk {
    list: u32,
    generation: u32,
    passed: u32,
    most: u32,
}

impl Walk {
    /// Along that list, as it is since that generation.
    #[must_use]
    pub fn new(list: u32, generation: u32) -> Self {
        Self {
            list,
            generation,
            passed: 0,
            most: UNASKED,
        }
    }

    /// Comes to a page: None if it is not of the list, else the page that follows, if there is one. Nothing else of the page may be
    /// believed before: it may be a page of another list by now, or a free one.
    pub fn step(
        &mut self,
        pages: &(impl ReadPages + ?Sized),
        page: &[u8],
    ) -> Result<Option<Option<u32>>, Error> {
        if self.passed >= self.most {
            self.most = pages.blocks(); // it may have grown
            if self.passed >= self.most {
                return Err(corrupted("chain of pages without an end"));
            }
        }
        self.passed += 1;
        let head = special(page)?;
        let of_list = head.is_of(self.list, self.generation);
        Ok(of_list.then(|| (head.next != NO_BLOCK).then_some(head.next)))
    }
}

/// A change of several pages at once. Dropped without a commit it changes nothing.
pub trait Edit {
    /// Locks a page exclusively and answers by which number this edit knows it.
    fn open(&mut self, block: u32) -> Result<usize, Error>;

    /// A page nobody else uses, new or free, locked: its place in this edit and its block. Its bytes are to be
    /// written whole.
    fn create(&mut self) -> Result<(usize, u32), Error>;

    /// The page as it stands in this edit.
    fn bytes(&self, page: usize) -> &[u8];

    /// The page, to be changed.
    fn bytes_mut(&mut self, page: usize) -> Result<&mut [u8], Error>;

    /// Makes the changes durable with the next WAL flush, all or none, and lets go of the locks. Tests may stop before and after, by the change's name.
    fn commit(self, change: StopPoint) -> Result<(), Error>;
}
