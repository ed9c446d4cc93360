//! Pages of a heap table: pinned, remembered from scan to scan, their tuples as bytes.

use crate::pg::compat;
use crate::pg::relation::Relation;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Functions of the server without pgrx's guard, for use inside a guarded closure only.
mod unguarded {
    use pgrx::pg_sys::{
        BlockNumber, Buffer, BufferAccessStrategy, ForkNumber, ReadBufferMode, Relation,
    };

    unsafe extern "C-unwind" {
        pub(super) fn ReadBufferExtended(
            relation: Relation,
            fork: ForkNumber::Type,
            block: BlockNumber,
            mode: ReadBufferMode::Type,
            strategy: BufferAccessStrategy,
        ) -> Buffer;
    }
}

/// Bytes the processor fetches at once.
const CACHE_LINE: usize = 64;

/// SizeOfPageHeaderData: the line pointers begin here.
const PAGE_HEADER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);

/// A buffer pin, given back on drop.
pub struct Pin(pub(in crate::pg) pg_sys::Buffer);

impl Drop for Pin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort releases it
        }
        // SAFETY: pinned by ReadBufferExtended and released once, here.
        unsafe { pg_sys::ReleaseBuffer(self.0) };
    }
}

/// Pages of one relation for one scan.
///
/// It remembers from scan to scan which buffers the pages of a small table were in. With some five rows of 384
/// dimensions a page, the lookup in the shared buffer table was a tenth of a scan's time. Every sixteenth page, others
/// each time, is looked up all the same: only that raises a buffer's usage count, without which the pages of a
/// busy tenant would be the first to be evicted.
pub struct PageSource<'r> {
    relation: &'r Relation,
    strategy: ReadStrategy,
    recent: Vec<pg_sys::Buffer>,
    turn: u32,
}

/// Larger relations are not remembered, and of the others so many pages in all: at 4 bytes each at most 4 MB a backend.
const REMEMBERED_PAGES: u32 = 1 << 17;
const REMEMBERED_IN_ALL: usize = 1 << 20;

/// One page of so many is looked up in the buffer table although it is remembered.
const LOOKED_UP: u32 = 16;

/// Where the pages of tables were.
#[derive(Default)]
struct Recent {
    tables: HashMap<pg_sys::Oid, Vec<pg_sys::Buffer>>,
    /// How many pages of all tables.
    pages: usize,
}

impl Recent {
    fn take(&mut self, table: pg_sys::Oid) -> Vec<pg_sys::Buffer> {
        let buffers = self.tables.remove(&table).unwrap_or_default();
        self.pages -= buffers.len();
        buffers
    }

    fn put(&mut self, table: pg_sys::Oid, buffers: Vec<pg_sys::Buffer>) {
        self.take(table);
        if self.pages + buffers.len() > REMEMBERED_IN_ALL {
            *self = Self::default();
        }
        self.pages += buffers.len();
        self.tables.insert(table, buffers);
    }
}

/// Forgets where the pages of a relation were: it will not be read again soon.
pub fn forget(relation: pg_sys::Oid) {
    RECENT.with_borrow_mut(|recent| drop(recent.take(relation)));
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
    /// Scans begun, to choose the pages that are looked up.
    static TURN: Cell<u32> = const { Cell::new(0) };
}

impl<'r> PageSource<'r> {
    /// Of pages that are looked up: those of an index, and those it names. They stay in shared buffers as long as they are used.
    pub fn new(relation: &'r Relation, blocks: u32) -> PageSource<'r> {
        PageSource::with(relation, blocks, ReadStrategy::NONE)
    }

    /// Of a table that is read as a whole, or in large part: it does not push everything else out of shared buffers. Dropped before the
    /// memory context it is made in is reset.
    pub fn in_bulk(relation: &'r Relation, blocks: u32) -> PageSource<'r> {
        PageSource::with(relation, blocks, ReadStrategy::in_bulk(blocks))
    }

    fn with(relation: &'r Relation, blocks: u32, strategy: ReadStrategy) -> PageSource<'r> {
        let remembers = blocks <= REMEMBERED_PAGES && strategy.0.is_null();
        let recent = if remembers {
            let mut recent = RECENT.with_borrow_mut(|recent| recent.take(relation.oid()));
            recent.resize(blocks as usize, 0);
            recent
        } else {
            Vec::new()
        };
        let turn = TURN.get();
        TURN.set(turn.wrapping_add(1));
        PageSource {
            relation,
            strategy,
            recent,
            turn,
        }
    }

    /// Pins a block.
    pub fn read(&mut self, block: u32) -> Pin {
        // SAFETY: the closure owns nothing that would have to be dropped.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Pin(self.read_unguarded(block))) }
    }

    /// The same, for use inside a guarded closure that owns nothing to be dropped.
    ///
    /// # Safety
    /// Inside such a closure.
    #[inline]
    #[allow(ffi_unwind_calls, reason = "called inside a guard")]
    pub unsafe fn read_unguarded(&mut self, block: u32) -> pg_sys::Buffer {
        let relation = self.relation.raw();
        let recent = self.recent.get_mut(block as usize);
        if let Some(&mut buffer) = recent
            && buffer > 0
            && !block.wrapping_add(self.turn).is_multiple_of(LOOKED_UP)
            // SAFETY: the relation is open; the number is of an earlier pin.
            && unsafe { compat::file::read_recent_buffer(relation, block, buffer) }
        {
            return buffer;
        }
        // SAFETY: the relation is open; a block past the end raises an error; the strategy is NULL or one we made.
        let buffer = unsafe {
            unguarded::ReadBufferExtended(
                relation,
                pg_sys::ForkNumber::MAIN_FORKNUM,
                block,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                self.strategy.0,
            )
        };
        if let Some(recent) = self.recent.get_mut(block as usize) {
            *recent = buffer;
        }
        buffer
    }
}

impl PageSource<'_> {
    /// Has the kernel read pages that are wanted soon, but for those remembered to be in shared buffers.
    pub fn advise_all(&mut self, blocks: impl Iterator<Item = u32>) {
        let mut last = None;
        for block in blocks {
            let known = self
                .recent
                .get(block as usize)
                .is_some_and(|&buffer| buffer > 0);
            if last != Some(block) && !known {
                // SAFETY: the relation is open; a block past the end is the caller's to avoid.
                unsafe {
                    pg_sys::PrefetchBuffer(
                        self.relation.raw(),
                        pg_sys::ForkNumber::MAIN_FORKNUM,
                        block,
                    );
                }
            }
            last = Some(block);
        }
    }

    /// Asks for a page whose every line will be read, if it is remembered where it was: the hardware prefetcher begins anew at each 4 KB.
    #[inline]
    pub fn prefetch(&self, block: u32) {
        if let Some(&buffer) = self.recent.get(block as usize)
            && buffer > 0
        {
            // SAFETY: the number is of an earlier pin, so that there is such a buffer; what is in it now is not read.
            let page = unsafe { pg_sys::BufferGetPage(buffer) }.cast::<u8>();
            prefetch(page, pg_sys::BLCKSZ as usize / CACHE_LINE);
        }
    }
}

impl Drop for PageSource<'_> {
    fn drop(&mut self) {
        if self.recent.is_empty() || std::thread::panicking() {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        RECENT.with_borrow_mut(|all| all.put(self.relation.oid(), recent));
    }
}

/// Asks for the first lines of both halves of a page while another is being read.
#[inline]
pub fn prefetch_page(page: *const u8) {
    if !page.is_null() {
        let half = pg_sys::BLCKSZ as usize / 2;
        prefetch(page, 4);
        prefetch(page.wrapping_add(half), 4);
    }
}

/// Asks for a tuple's lines, of a long one the first: the prefetcher follows.
#[inline]
pub fn prefetch_tuple(tuple: &[u8]) {
    prefetch(tuple.as_ptr(), (tuple.len() / CACHE_LINE).min(32));
}

/// Asks for cache lines. Prefetches read nothing and cannot fault, wherever they point. Into the second-level cache: it takes more requests
/// at a time than the first, with which pages in random order came at 9 GB/s instead of 16 to 21 from beyond the caches.
#[inline(always)]
fn prefetch(start: *const u8, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(line * CACHE_LINE).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, lines); // elsewhere there is no stable intrinsic
}

/// A ring of buffers for tables larger than a quarter of shared buffers, as a sequential scan has (initscan in
/// heapam.c); else nothing.
pub struct ReadStrategy(pg_sys::BufferAccessStrategy);

impl ReadStrategy {
    const NONE: ReadStrategy = ReadStrategy(std::ptr::null_mut());

    /// None for a small table.
    pub fn in_bulk(blocks: u32) -> ReadStrategy {
        // SAFETY: NBuffers is set at server start; GetAccessStrategy allocates in the current memory context, which outlives this by
        // the promise of who reads in bulk: all do within one call of one function.
        ReadStrategy(unsafe {
            if i64::from(blocks) > i64::from(pg_sys::NBuffers) / 4 {
                pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD)
            } else {
                std::ptr::null_mut()
            }
        })
    }
}

impl ReadStrategy {
    pub(super) fn raw(&self) -> pg_sys::BufferAccessStrategy {
        self.0
    }
}

impl Drop for ReadStrategy {
    fn drop(&mut self) {
        if self.0.is_null() || std::thread::panicking() {
            return; // abort frees the memory context
        }
        // SAFETY: made by GetAccessStrategy, given up here.
        unsafe { pg_sys::FreeAccessStrategy(self.0) };
    }
}

/// # Safety
/// `page` must be a pinned heap page.
pub unsafe fn max_offset(page: pg_sys::Page) -> u16 {
    // SAFETY: the caller's contract; PageGetMaxOffsetNumber in storage/bufpage.h.
    let lower = unsafe { (*page.cast::<pg_sys::PageHeaderData>()).pd_lower } as usize;
    (lower.saturating_sub(PAGE_HEADER) / size_of::<pg_sys::ItemIdData>()) as u16
}

/// # Safety
/// `offset` must lie between 1 and the page's [`max_offset`].
pub unsafe fn item_id(page: pg_sys::Page, offset: u16) -> pg_sys::ItemId {
    // SAFETY: the caller's contract; the line pointers follow the page header.
    unsafe {
        page.cast::<u8>()
            .add(PAGE_HEADER)
            .cast::<pg_sys::ItemIdData>()
            .add(offset as usize - 1)
    }
}

pub fn page_of(pin: &Pin) -> pg_sys::Page {
    // SAFETY: the buffer is pinned.
    unsafe { pg_sys::BufferGetPage(pin.0) }
}

/// # Safety
/// `offset` must be a normal line pointer of the pinned page, and the tuple must be one no pruning removes.
pub unsafe fn tuple_bytes<'a>(page: pg_sys::Page, offset: u16) -> &'a [u8] {
    // SAFETY: the caller's contract; lp_off and lp_len of a normal line pointer lie within the page.
    unsafe {
        let item = item_id(page, offset);
        let start = page.cast::<u8>().add((*item).lp_off() as usize);
        std::slice::from_raw_parts(start, (*item).lp_len() as usize)
    }
}
