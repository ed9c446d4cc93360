//! Pages in memory, for tests: every algorithm of this folder runs on them without a server.
#![forbid(unsafe_code)]

use super::pages::{Edit, Pages, ReadPages};
use crate::error::Error;
use crate::layout::page::is_free;
use crate::layout::{PAGE, corrupted};
use crate::stop_point::StopPoint;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// A file of pages. One process; a lock taken twice is a fault of the algorithm and panics.
#[derive(Default)]
pub struct MemPages {
    pages: RefCell<Vec<Vec<u8>>>,
    free: RefCell<BTreeSet<u32>>,
    locked: RefCell<BTreeSet<u32>>,
    /// Commits so far.
    pub commits: Cell<u64>,
    /// After so many commits every further one fails, as a crash would have it.
    pub commits_left: Cell<u64>,
    /// So many more pages may be read: who needs more does not come to an end.
    pub reads_left: Cell<u64>,
    /// The pages may contradict each other.
    pub damaged: Cell<bool>,
}

impl MemPages {
    /// A file of one page.
    pub fn new(first: Vec<u8>) -> Self {
        let pages = Self::default();
        pages.pages.borrow_mut().push(first);
        pages.commits_left.set(u64::MAX);
        pages.reads_left.set(u64::MAX);
        pages
    }

    /// A file of these pages, of which none is known to be free.
    pub fn of(pages: Vec<Vec<u8>>) -> Self {
        let file = Self::new(Vec::new());
        file.set_contents(&pages);
        file
    }

    /// Whether a change has a page locked.
    pub fn is_locked(&self) -> bool {
        !self.locked.borrow().is_empty()
    }

    /// All pages as they are.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.pages.borrow().clone()
    }

    /// The file has these pages, of which none is known to be free.
    pub fn set_contents(&self, pages: &[Vec<u8>]) {
        self.pages.replace(pages.to_vec());
        self.damaged.set(true);
        self.crash();
    }

    /// Forgets the free list, as a crash does.
    pub fn crash(&self) {
        self.free.borrow_mut().clear();
        self.commits_left.set(u64::MAX);
        assert!(self.locked.borrow().is_empty());
    }

    /// A free page; one that is noted and is not free is passed over, as PostgreSQL's side does.
    fn take_free(&self) -> Option<u32> {
        loop {
            let block = self.free.borrow_mut().pop_first()?;
            if is_free(&self.pages.borrow()[block as usize]) {
                return Some(block);
            }
        }
    }

    /// Damages or mends a page behind the algorithm's back.
    pub fn with_page(&self, block: u32, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.pages.borrow_mut()[block as usize]);
    }
}

impl ReadPages for MemPages {
    type Page<'a> = Vec<u8>;

    fn blocks(&self) -> u32 {
        self.pages.borrow().len() as u32
    }

    fn read(&self, block: u32) -> Result<Vec<u8>, Error> {
        assert!(
            !self.locked.borrow().contains(&block),
            "block {block} is read under its own exclusive lock"
        );
        let left = self.reads_left.get().checked_sub(1);
        self.reads_left
            .set(left.expect("a walk that does not come to an end"));
        self.pages
            .borrow()
            .get(block as usize)
            .cloned()
            .ok_or_else(|| corrupted(format!("block {block} is past the end")))
    }

    fn pause(&self) {
        // The edit that is held while a rewrite carries over the rest is the one exception PostgreSQL's side allows.
    }
}

impl Pages for MemPages {
    type Edit<'a> = MemEdit<'a>;

    fn edit(&self) -> MemEdit<'_> {
        MemEdit {
            pages: self,
            open: Vec::new(),
        }
    }

    fn recycle(&self, block: u32) {
        let new = self.free.borrow_mut().insert(block);
        assert!(new || self.damaged.get(), "{block} freed twice");
    }

    fn found_free(&self, block: u32) {
        self.free.borrow_mut().insert(block);
    }
}

/// A change under way.
pub struct MemEdit<'a> {
    pages: &'a MemPages,
    /// Block, its bytes here, whether they were changed.
    open: Vec<(u32, Vec<u8>, bool)>,
}

impl MemEdit<'_> {
    fn lock(&mut self, block: u32, bytes: Vec<u8>) -> usize {
        assert!(
            self.pages.locked.borrow_mut().insert(block),
            "block {block} is locked twice"
        );
        assert!(
            block == 0 || self.open.iter().all(|(other, ..)| *other != 0) || bytes.is_empty(),
            "list page {block} is locked after the meta page"
        );
        self.open.push((block, bytes, false));
        assert!(self.open.len() <= 4, "more than four pages in an edit");
        self.open.len() - 1
    }
}

impl Edit for MemEdit<'_> {
    fn open(&mut self, block: u32) -> Result<usize, Error> {
        let bytes = self.pages.pages.borrow().get(block as usize).cloned();
        let bytes = bytes.ok_or_else(|| corrupted(format!("block {block} is past the end")))?;
        Ok(self.lock(block, bytes))
    }

    fn create(&mut self) -> Result<(usize, u32), Error> {
        let block = self.pages.take_free().unwrap_or_else(|| {
            self.pages.pages.borrow_mut().push(vec![0; PAGE]);
            self.pages.blocks() - 1
        });
        let page = self.lock(block, Vec::new());
        self.open[page].1 = vec![0; PAGE];
        Ok((page, block))
    }

    fn bytes(&self, page: usize) -> &[u8] {
        &self.open[page].1
    }

    fn bytes_mut(&mut self, page: usize) -> Result<&mut [u8], Error> {
        let (_, bytes, changed) = &mut self.open[page];
        *changed = true;
        Ok(bytes)
    }

    fn commit(mut self, _: StopPoint) -> Result<(), Error> {
        let left = self.pages.commits_left.get();
        if left == 0 {
            return Err(corrupted("crashed"));
        }
        self.pages.commits_left.set(left - 1);
        self.pages.commits.set(self.pages.commits.get() + 1);
        for (block, bytes, changed) in std::mem::take(&mut self.open) {
            self.pages.locked.borrow_mut().remove(&block);
            if changed {
                self.pages.pages.borrow_mut()[block as usize] = bytes;
            }
        }
        Ok(())
    }
}

impl Drop for MemEdit<'_> {
    fn drop(&mut self) {
        for (block, ..) in &self.open {
            self.pages.locked.borrow_mut().remove(block);
        }
    }
}
