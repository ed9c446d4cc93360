//! Rows by the places an index tells: which version of them a snapshot sees, and any version where that does not matter.
//!
//! A place names the root of a HOT chain. As heapam_index_fetch_tuple does, the chain is followed under the page's share lock
//! (heap_hot_search_buffer); the row is read under the pin alone. Where the root itself is plainly visible nothing has to be followed.

use super::page::{PageSource, Pin, item_id, max_offset, page_of, prefetch_tuple, tuple_bytes};
use super::visibility::{is_plainly_visible, lock_for_serializable};
use super::{Snapshot, Tid};
use crate::error::Error;
use crate::pg::column::ColumnReader;
use crate::pg::relation::Relation;
use pgrx::pg_sys;

/// Functions of the server without pgrx's guard, for use inside a guarded closure only: two guards for a batch of pages.
mod unguarded {
    use core::ffi::c_int;
    use pgrx::pg_sys::{Buffer, HeapTuple, ItemPointer, Relation, Snapshot};

    unsafe extern "C-unwind" {
        pub(super) fn LockBuffer(buffer: Buffer, mode: c_int);
        pub(super) fn ReleaseBuffer(buffer: Buffer);
        pub(super) fn heap_hot_search_buffer(
            tid: ItemPointer,
            relation: Relation,
            buffer: Buffer,
            snapshot: Snapshot,
            tuple: HeapTuple,
            all_dead: *mut bool,
            first_call: bool,
        ) -> bool;
    }
}

/// Reads rows of one table by their places.
pub struct Fetcher<'r> {
    relation: &'r Relation,
    snapshot: Snapshot<'r>,
    source: PageSource<'r>,
    blocks: u32,
    serializable: bool,
    /// Visible rows of the batch: number of their page in it, offset, number of the place asked for.
    found: Vec<(usize, u16, usize)>,
}

/// Pages held at once: their rows' first lines are on their way while earlier ones are read. A backend counts eight pins in an array and further ones in
/// a hash table (REFCOUNT_ARRAY_ENTRIES in bufmgr.c), with which 600 rows took a tenth longer.
const PINS: usize = 7;

/// A page of a batch: its block, its buffer once it is pinned, and which of the places asked for lie on it.
#[derive(Clone, Copy)]
struct BatchPage {
    block: u32,
    buffer: pg_sys::Buffer,
    first: usize,
    count: usize,
}

/// Pins of a batch of pages, given back together on drop.
struct Batch {
    pages: [BatchPage; PINS],
    count: usize,
    /// So many of the pages are pinned.
    pinned: usize,
}

impl Batch {
    /// Of the pages of the places from `number` on, which is moved behind them. Those past the end of the table are left out.
    fn of(places: &[Tid], number: &mut usize, blocks: u32) -> Batch {
        let none = BatchPage {
            block: 0,
            buffer: 0,
            first: 0,
            count: 0,
        };
        let mut batch = Batch {
            pages: [none; PINS],
            count: 0,
            pinned: 0,
        };
        while *number < places.len() && batch.count < PINS {
            let block = places[*number].block;
            let run = places[*number..]
                .iter()
                .take_while(|tid| tid.block == block);
            let run = run.count();
            if block < blocks {
                batch.pages[batch.count] = BatchPage {
                    block,
                    buffer: 0,
                    first: *number,
                    count: run,
                };
                batch.count += 1;
            }
            *number += run;
        }
        batch
    }

    fn places(&self) -> usize {
        self.pages[..self.count].iter().map(|page| page.count).sum()
    }
}

impl Drop for Batch {
    #[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort releases them
        }
        let pages = &self.pages[..self.pinned];
        // SAFETY: pinned by the source and released once, here. The closure owns nothing that would have to be dropped.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for page in pages {
                    unguarded::ReleaseBuffer(page.buffer);
                }
            });
        }
    }
}

impl<'r> Fetcher<'r> {
    /// Of rows that `snapshot` sees, of a table of so many blocks.
    pub fn new(relation: &'r Relation, blocks: u32, snapshot: Snapshot<'r>) -> Fetcher<'r> {
        Fetcher {
            relation,
            snapshot,
            source: PageSource::new(relation, blocks),
            blocks,
            serializable: lock_for_serializable(relation, snapshot),
            found: Vec::new(),
        }
    }

    /// Calls `each` with the version of each row that the snapshot sees: its number among `places`, where it lies and its bytes.
    /// Places in the order of pages are read fastest. Stops at the first error.
    pub fn fetch(
        &mut self,
        places: &[Tid],
        mut each: impl FnMut(usize, Tid, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let within = |block: &u32| *block < self.blocks;
        let blocks = places.iter().map(|tid| tid.block).filter(within);
        self.source.advise_all(blocks);
        let mut number = 0;
        while number < places.len() {
            pgrx::check_for_interrupts!();
            let mut batch = Batch::of(places, &mut number, self.blocks);
            self.look(&mut batch, places);
            for &(page, offset, number) in &self.found {
                let page = batch.pages[page];
                // SAFETY: a line pointer of a visible tuple on a pinned page stays normal and in place.
                let tuple = unsafe { tuple_bytes(pg_sys::BufferGetPage(page.buffer), offset) };
                let block = page.block;
                each(number, Tid { block, offset }, tuple)?;
            }
        }
        Ok(())
    }

    /// Pins the pages of a batch and notes their visible rows.
    fn look(&mut self, batch: &mut Batch, places: &[Tid]) {
        self.found.clear();
        self.found.reserve(batch.places());
        // SAFETY: the closure owns nothing that would have to be dropped, and the vector it fills has room, so that an error may jump over it;
        // abort releases what is pinned then.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for number in 0..batch.count {
                    let page = &mut batch.pages[number];
                    page.buffer = self.source.read_unguarded(page.block);
                    batch.pinned += 1;
                    let page = *page;
                    self.look_at(number, page, &places[page.first..page.first + page.count]);
                }
            });
        }
    }

    /// Notes the visible rows of one page.
    ///
    /// # Safety
    /// Inside a guarded closure, with the page pinned and room for as many rows as there are places.
    #[allow(ffi_unwind_calls, reason = "called inside a guard")]
    unsafe fn look_at(&mut self, number: usize, page: BatchPage, places: &[Tid]) {
        let (relation, snapshot) = (self.relation.raw(), self.snapshot.raw());
        let found_before = self.found.len();
        // SAFETY: the page is pinned; under its share lock line pointers do not change, and a visible tuple's stays as it is under the pin.
        unsafe {
            let bytes = pg_sys::BufferGetPage(page.buffer);
            unguarded::LockBuffer(page.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let last = max_offset(bytes);
            for (at, place) in places.iter().enumerate() {
                let offset = place.offset;
                if offset == 0 || offset > last {
                    continue;
                }
                let item = item_id(bytes, offset);
                let plain = !self.serializable
                    && (*item).lp_flags() == pg_sys::LP_NORMAL
                    && is_plain_root(bytes, item, snapshot);
                if plain {
                    self.found.push((number, offset, page.first + at));
                    continue;
                }
                let mut tid = place.to_raw();
                let mut tuple = pg_sys::HeapTupleData::default();
                if unguarded::heap_hot_search_buffer(
                    &raw mut tid,
                    relation,
                    page.buffer,
                    snapshot,
                    &raw mut tuple,
                    std::ptr::null_mut(),
                    true,
                ) {
                    self.found.push((number, tid.ip_posid, page.first + at));
                }
            }
            unguarded::LockBuffer(page.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            for &(_, offset, _) in &self.found[found_before..] {
                prefetch_tuple(tuple_bytes(bytes, offset));
            }
        }
    }

    /// Whether a place still has a row, be it dead. Of an index whose dead entries were removed with their rows, every one has.
    pub fn is_used(&mut self, tid: Tid) -> bool {
        if tid.block >= self.blocks {
            self.blocks = self.relation.blocks();
            if tid.block >= self.blocks {
                return false;
            }
        }
        let pin = self.source.read(tid.block);
        locked(&pin, |page| {
            // SAFETY: the page is pinned and locked; the offset is checked.
            unsafe {
                tid.offset != 0
                    && tid.offset <= max_offset(page)
                    && (*item_id(page, tid.offset)).lp_flags() != pg_sys::LP_UNUSED
            }
        })
    }
}

/// Is the tuple no heap-only one, and plainly visible? Then it is the version of its chain that the snapshot sees.
///
/// # Safety
/// `item` is a normal line pointer of the pinned and locked page.
unsafe fn is_plain_root(
    page: pg_sys::Page,
    item: pg_sys::ItemId,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: the caller's contract; lp_off of a normal line pointer lies within the page.
    unsafe {
        let tuple = page
            .cast::<u8>()
            .add((*item).lp_off() as usize)
            .cast::<pg_sys::HeapTupleHeaderData>();
        let heap_only = (*tuple).t_infomask2 as u32 & pg_sys::HEAP_ONLY_TUPLE != 0;
        !heap_only && is_plainly_visible(tuple, snapshot)
    }
}

fn locked<T>(pin: &Pin, read: impl FnOnce(pg_sys::Page) -> T) -> T {
    // SAFETY: the buffer is pinned; the lock is held over a read of the page alone, which raises no error.
    unsafe {
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_SHARE as i32);
        let answer = read(page_of(pin));
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        answer
    }
}

/// Reads vectors of rows whatever their visibility, for an index's maintenance: all versions of a HOT chain have the same.
pub struct AnyVersion<'r> {
    relation: &'r Relation,
    source: PageSource<'r>,
    reader: ColumnReader,
    blocks: u32,
    scratch: Vec<f32>,
}

impl<'r> AnyVersion<'r> {
    /// Of a vector column.
    pub fn new(relation: &'r Relation, column: i16) -> AnyVersion<'r> {
        let blocks = relation.blocks();
        AnyVersion {
            relation,
            source: PageSource::in_bulk(relation, blocks),
            reader: ColumnReader::new(relation, column),
            blocks,
            scratch: Vec::new(),
        }
    }

    /// The vector of a row; None if it is not there any more.
    ///
    /// One in the TOAST table is read only if its row is alive: that of a dead row may have been vacuumed away. A row that is
    /// deleted by another transaction and vacuumed between the look and the read, microseconds apart, is an error.
    pub fn vector<T>(
        &mut self,
        tid: Tid,
        use_elements: impl FnOnce(&[f32]) -> T,
    ) -> Result<Option<T>, Error> {
        if tid.block >= self.blocks {
            self.blocks = self.relation.blocks();
            if tid.block >= self.blocks {
                return Ok(None);
            }
        }
        let pin = self.source.read(tid.block);
        // The tuple may be pruned once the lock is gone, so that it is copied under it.
        let tuple = locked(&pin, |page| {
            let offset = resolve(page, tid.offset)?;
            // SAFETY: a normal line pointer of a pinned, locked page.
            let tuple = unsafe { tuple_bytes(page, offset) };
            Some((offset, tuple.to_vec()))
        });
        let Some((offset, tuple)) = tuple else {
            return Ok(None);
        };
        if !self.reader.is_inline(&tuple)? && !self.is_alive(&pin, tid.block, offset) {
            return Ok(None);
        }
        self.reader
            .with_values(&tuple, &mut self.scratch, use_elements)
    }

    fn is_alive(&self, pin: &Pin, block: u32, offset: u16) -> bool {
        // SAFETY: the relation is open; the buffer is pinned and locked over HeapTupleSatisfiesVacuum, which may set hint bits.
        unsafe {
            let oldest = pg_sys::GetOldestNonRemovableTransactionId(self.relation.raw());
            pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_SHARE as i32);
            let page = page_of(pin);
            let item = item_id(page, offset);
            let mut alive = offset <= max_offset(page) && (*item).lp_flags() == pg_sys::LP_NORMAL;
            if alive {
                let mut tuple = pg_sys::HeapTupleData {
                    t_len: (*item).lp_len(),
                    t_self: Tid { block, offset }.to_raw(),
                    t_tableOid: self.relation.oid(),
                    t_data: page.cast::<u8>().add((*item).lp_off() as usize).cast(),
                };
                let state = pg_sys::HeapTupleSatisfiesVacuum(&raw mut tuple, oldest, pin.0);
                alive = matches!(
                    state,
                    pg_sys::HTSV_Result::HEAPTUPLE_LIVE
                        | pg_sys::HTSV_Result::HEAPTUPLE_INSERT_IN_PROGRESS
                        | pg_sys::HTSV_Result::HEAPTUPLE_DELETE_IN_PROGRESS
                );
            }
            pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            alive
        }
    }
}

/// The tuple a line pointer leads to, by one redirection at most.
fn resolve(page: pg_sys::Page, offset: u16) -> Option<u16> {
    // SAFETY: called with a pinned, locked page; offsets are checked before their line pointers are read.
    unsafe {
        let last = max_offset(page);
        let at = |offset: u16| (offset != 0 && offset <= last).then(|| item_id(page, offset));
        let item = at(offset)?;
        match (*item).lp_flags() {
            pg_sys::LP_NORMAL => Some(offset),
            pg_sys::LP_REDIRECT => {
                let to = (*item).lp_off() as u16;
                ((*at(to)?).lp_flags() == pg_sys::LP_NORMAL).then_some(to)
            }
            _ => None,
        }
    }
}
