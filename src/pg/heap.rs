//! Reads of heap tables below the executor: all rows a snapshot sees, a page at a time, and single rows by TID.
//!
//! The scan follows heapam's page-at-a-time mode (heapgetpage in access/heap/heapam.c): visibility is decided for a
//! whole page under its share lock, then the rows are read under the pin alone, which keeps them in place.

use super::relation::Relation;
use crate::error::Error;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;

/// Where a row version lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid {
    pub block: u32,
    pub offset: u16,
}

impl Tid {
    pub(super) fn from_raw(raw: pg_sys::ItemPointerData) -> Tid {
        Tid {
            block: u32::from(raw.ip_blkid.bi_hi) << 16 | u32::from(raw.ip_blkid.bi_lo),
            offset: raw.ip_posid,
        }
    }

    pub(super) fn to_raw(self) -> pg_sys::ItemPointerData {
        pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (self.block >> 16) as u16,
                bi_lo: (self.block & 0xffff) as u16,
            },
            ip_posid: self.offset,
        }
    }
}

/// The MVCC snapshot a read goes by.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    raw: pg_sys::Snapshot,
    life: PhantomData<&'a ()>,
}

impl Snapshot<'_> {
    /// The snapshot of the running statement. It stays active for as long as the SQL function runs.
    pub fn active() -> Snapshot<'static> {
        // SAFETY: a statement that calls a function has an active snapshot.
        let raw = unsafe { pg_sys::GetActiveSnapshot() };
        Snapshot {
            raw,
            life: PhantomData,
        }
    }

    pub(super) fn raw(self) -> pg_sys::Snapshot {
        self.raw
    }
}

/// A buffer pin, given back on drop.
struct Pin(pg_sys::Buffer);

impl Drop for Pin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort releases it
        }
        // SAFETY: pinned by ReadBufferExtended and released once, here.
        unsafe { pg_sys::ReleaseBuffer(self.0) };
    }
}

/// Rows a page can hold (MaxHeapTuplesPerPage: (8192 - 24) / (24 + 4) with MAXALIGN).
const MAX_TUPLES: usize = 291;

/// Bytes the processor fetches at once.
const CACHE_LINE: usize = 64;

/// SizeOfPageHeaderData: the line pointers begin here.
const PAGE_HEADER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);

unsafe extern "C-unwind" {
    /// storage/lmgr/predicate.c; not in the bindings.
    fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
}

/// Calls `each` with every row version of `relation` that `snapshot` sees, in physical order: its TID and its bytes
/// (header included). Stops at the first error. Honours interrupts at every page.
///
/// The next page is pinned while one is read, and its cache lines are asked for row by row: the rows of a table lie
/// scattered over shared buffers, where no hardware prefetcher follows (measured: a third of the time of a scan).
pub fn scan(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    mut each: impl FnMut(Tid, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let serializable = begin_read(relation, snapshot);
    let blocks = relation.blocks();
    let mut source = PageSource::new(relation, blocks);
    let mut offsets = [0u16; MAX_TUPLES];
    let mut pin = (blocks > 0).then(|| source.read(0));
    let mut block = 0;
    while let Some(current) = pin {
        pgrx::check_for_interrupts!();
        pin = (block + 1 < blocks).then(|| source.read(block + 1));
        let ahead = pin.as_ref().map_or(std::ptr::null(), |next| {
            page_of(next).cast::<u8>().cast_const()
        });
        let visible = visible_offsets(
            relation,
            snapshot,
            &current,
            block,
            serializable,
            &mut offsets,
        );
        prefetch(ahead, 0..4);
        prefetch(ahead, 64..68);
        for &offset in offsets[..visible].iter().rev() {
            // SAFETY: a line pointer of a visible tuple on a pinned page stays normal and in place.
            let tuple = unsafe { tuple_bytes(page_of(&current), offset) };
            each(Tid { block, offset }, tuple)?;
        }
        block += 1;
    }
    Ok(())
}

/// Rows of `relation` that `snapshot` sees, without reading them.
pub fn count(relation: &Relation, snapshot: Snapshot<'_>) -> u64 {
    let blocks = relation.blocks();
    count_blocks(relation, snapshot, 0..blocks)
}

fn count_blocks(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    blocks: impl Iterator<Item = u32>,
) -> u64 {
    let serializable = begin_read(relation, snapshot);
    let mut source = PageSource::new(relation, relation.blocks());
    let mut offsets = [0u16; MAX_TUPLES];
    let mut rows = 0;
    for block in blocks {
        pgrx::check_for_interrupts!();
        let pin = source.read(block);
        rows += visible_offsets(relation, snapshot, &pin, block, serializable, &mut offsets) as u64;
    }
    rows
}

/// Rows that `snapshot` sees, in bounded time: counted if the table has at most `pages` pages, else estimated from so
/// many spread evenly over it.
pub fn estimate_count(relation: &Relation, snapshot: Snapshot<'_>, pages: u32) -> u64 {
    let blocks = relation.blocks();
    if blocks <= pages {
        return count(relation, snapshot);
    }
    let sample =
        (0..pages).map(|step| (u64::from(step) * u64::from(blocks) / u64::from(pages)) as u32);
    let rows = count_blocks(relation, snapshot, sample);
    (u128::from(rows) * u128::from(blocks) / u128::from(pages)) as u64
}

/// Reads one row version found by a scan under the same snapshot (which keeps it from being pruned).
pub fn fetch<T>(relation: &Relation, tid: Tid, read: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
    // SAFETY: the relation is open; a block past the end raises an error.
    let pin = Pin(unsafe { pg_sys::ReadBuffer(relation.raw(), tid.block) });
    let page = page_of(&pin);
    // SAFETY: the page is pinned; the line pointer is checked before use.
    let bytes = unsafe {
        if tid.offset == 0 || tid.offset > max_offset(page) {
            None
        } else {
            let item = item_id(page, tid.offset);
            ((*item).lp_flags() == pg_sys::LP_NORMAL).then(|| tuple_bytes(page, tid.offset))
        }
    };
    let bytes = bytes.ok_or_else(|| Error::Corrupted {
        what: format!("no row at ({},{})", tid.block, tid.offset),
    })?;
    Ok(read(bytes))
}

/// Pages of one relation for one scan.
///
/// It remembers from scan to scan which buffers the pages of a small table were in. With some five rows of 384
/// dimensions a page, the lookup in the shared buffer table was a tenth of a scan's time.
struct PageSource<'r> {
    relation: &'r Relation,
    strategy: ReadStrategy,
    recent: Vec<pg_sys::Buffer>,
}

/// Larger tables are not remembered, and of the others so many: at 4 bytes a page at most 4 MB a backend.
const REMEMBERED_PAGES: u32 = 4096;
const REMEMBERED_TABLES: usize = 256;

thread_local! {
    static RECENT: RefCell<HashMap<pg_sys::Oid, Vec<pg_sys::Buffer>>> = RefCell::default();
}

impl<'r> PageSource<'r> {
    fn new(relation: &'r Relation, blocks: u32) -> PageSource<'r> {
        let strategy = ReadStrategy::new(blocks);
        let remembers = blocks <= REMEMBERED_PAGES && strategy.0.is_null();
        let recent = if remembers {
            let mut recent = RECENT
                .with_borrow_mut(|tables| tables.remove(&relation.oid()))
                .unwrap_or_default();
            recent.resize(blocks as usize, 0);
            recent
        } else {
            Vec::new()
        };
        PageSource {
            relation,
            strategy,
            recent,
        }
    }

    fn read(&mut self, block: u32) -> Pin {
        let relation = self.relation.raw();
        let recent = self.recent.get_mut(block as usize);
        if let Some(&mut buffer) = recent
            && buffer > 0
            // SAFETY: the relation is open; the number is of an earlier pin.
            && unsafe { super::compat::read_recent_buffer(relation, block, buffer) }
        {
            return Pin(buffer);
        }
        // SAFETY: the relation is open; a block past the end raises an error; the strategy is NULL or one we made.
        let buffer = unsafe {
            pg_sys::ReadBufferExtended(
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
        Pin(buffer)
    }
}

impl Drop for PageSource<'_> {
    fn drop(&mut self) {
        if self.recent.is_empty() || std::thread::panicking() {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        RECENT.with_borrow_mut(|tables| {
            if tables.len() >= REMEMBERED_TABLES {
                tables.clear();
            }
            tables.insert(self.relation.oid(), recent);
        });
    }
}

/// Asks for cache lines of a page to come to L2 while others are being read.
#[inline]
fn prefetch(page: *const u8, lines: std::ops::Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    if !page.is_null() {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for line in lines {
            // SAFETY: a prefetch reads nothing and cannot fault; SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(page.wrapping_add(line * CACHE_LINE).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (page, lines); // elsewhere there is no stable intrinsic
}

/// Counts the scan for statistics and takes the serializable isolation's predicate lock. True if serializable.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
fn begin_read(relation: &Relation, snapshot: Snapshot<'_>) -> bool {
    // SAFETY: plain reads of a global; pgstat_info is NULL unless statistics are kept for the open relation.
    unsafe {
        let raw = relation.raw();
        if !(*raw).pgstat_info.is_null() || ((*raw).pgstat_enabled && assoc_statistics(raw)) {
            super::compat::count_scan((*raw).pgstat_info);
        }
        let serializable = pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32;
        if serializable {
            pg_sys::ffi::pg_guard_ffi_boundary(|| PredicateLockRelation(raw, snapshot.raw()));
        }
        serializable
    }
}

/// # Safety
/// `relation` must be open.
unsafe fn assoc_statistics(relation: pg_sys::Relation) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::pgstat_assoc_relation(relation);
        !(*relation).pgstat_info.is_null()
    }
}

/// A ring of buffers for tables larger than a quarter of shared buffers, as a sequential scan has (initscan in
/// heapam.c); else nothing.
struct ReadStrategy(pg_sys::BufferAccessStrategy);

impl ReadStrategy {
    fn new(blocks: u32) -> ReadStrategy {
        // SAFETY: NBuffers is set at server start; GetAccessStrategy allocates in the current memory context.
        ReadStrategy(unsafe {
            if i64::from(blocks) > i64::from(pg_sys::NBuffers) / 4 {
                pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD)
            } else {
                std::ptr::null_mut()
            }
        })
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
unsafe fn max_offset(page: pg_sys::Page) -> u16 {
    // SAFETY: the caller's contract; PageGetMaxOffsetNumber in storage/bufpage.h.
    let lower = unsafe { (*page.cast::<pg_sys::PageHeaderData>()).pd_lower } as usize;
    (lower.saturating_sub(PAGE_HEADER) / size_of::<pg_sys::ItemIdData>()) as u16
}

/// # Safety
/// `offset` must lie between 1 and the page's [`max_offset`].
unsafe fn item_id(page: pg_sys::Page, offset: u16) -> pg_sys::ItemId {
    // SAFETY: the caller's contract; the line pointers follow the page header.
    unsafe {
        page.cast::<u8>()
            .add(PAGE_HEADER)
            .cast::<pg_sys::ItemIdData>()
            .add(offset as usize - 1)
    }
}

fn page_of(pin: &Pin) -> pg_sys::Page {
    // SAFETY: the buffer is pinned.
    unsafe { pg_sys::BufferGetPage(pin.0) }
}

/// # Safety
/// `offset` must be a normal line pointer of the pinned page, and the tuple must be one no pruning removes.
unsafe fn tuple_bytes<'a>(page: pg_sys::Page, offset: u16) -> &'a [u8] {
    // SAFETY: the caller's contract; lp_off and lp_len of a normal line pointer lie within the page.
    unsafe {
        let item = item_id(page, offset);
        let start = page.cast::<u8>().add((*item).lp_off() as usize);
        std::slice::from_raw_parts(start, (*item).lp_len() as usize)
    }
}

/// Fills `offsets` with the visible rows of a page and answers how many they are.
fn visible_offsets(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    pin: &Pin,
    block: u32,
    serializable: bool,
    offsets: &mut [u16; MAX_TUPLES],
) -> usize {
    let page = page_of(pin);
    let header = page.cast::<pg_sys::PageHeaderData>();
    // SAFETY: the page is pinned; pd_prune_xid is a hint that may be read without the lock, as heapgetpage does.
    unsafe {
        if (*header).pd_prune_xid != pg_sys::InvalidTransactionId {
            pg_sys::heap_page_prune_opt(relation.raw(), pin.0);
        }
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_SHARE as i32);
    }
    // SAFETY: pinned and share-locked from here to the unlock; all reads stay on the page.
    unsafe {
        let raw = snapshot.raw();
        let all_visible =
            (*header).pd_flags as u32 & pg_sys::PD_ALL_VISIBLE != 0 && !(*raw).takenDuringRecovery;
        let mut found = 0;
        for offset in 1..=max_offset(page) {
            let item = item_id(page, offset);
            if (*item).lp_flags() != pg_sys::LP_NORMAL {
                continue;
            }
            let tuple = page
                .cast::<u8>()
                .add((*item).lp_off() as usize)
                .cast::<pg_sys::HeapTupleHeaderData>();
            let visible = if serializable {
                is_visible_serializable(
                    relation,
                    snapshot,
                    pin,
                    tuple,
                    (*item).lp_len(),
                    block,
                    offset,
                    all_visible,
                )
            } else {
                all_visible
                    || is_plainly_visible(tuple, raw)
                    || is_visible(
                        relation,
                        snapshot,
                        pin,
                        tuple,
                        (*item).lp_len(),
                        block,
                        offset,
                    )
            };
            if visible && found < MAX_TUPLES {
                offsets[found] = offset;
                found += 1;
            }
        }
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        found
    }
}

/// The common case of HeapTupleSatisfiesMVCC without a call: inserted by a transaction known to have committed before
/// the snapshot was taken, and never deleted. False means "ask".
///
/// # Safety
/// `tuple` must point at a tuple header, `snapshot` at an MVCC snapshot.
#[inline]
unsafe fn is_plainly_visible(
    tuple: *const pg_sys::HeapTupleHeaderData,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let mask = (*tuple).t_infomask as u32;
        if mask & pg_sys::HEAP_XMAX_INVALID == 0 || mask & pg_sys::HEAP_XMIN_COMMITTED == 0 {
            return false;
        }
        if mask & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN {
            return true;
        }
        let xmin = (*tuple).t_choice.t_heap.t_xmin.into_inner();
        // TransactionIdPrecedes for normal ids: modulo-2^32 order.
        xmin >= pg_sys::FirstNormalTransactionId.into_inner()
            && (xmin.wrapping_sub((*snapshot).xmin.into_inner()) as i32) < 0
    }
}

/// # Safety
/// The page must be pinned and share-locked, the tuple on it.
#[inline]
unsafe fn is_visible(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    pin: &Pin,
    tuple: *mut pg_sys::HeapTupleHeaderData,
    length: u32,
    block: u32,
    offset: u16,
) -> bool {
    let mut tuple = heap_tuple(relation, tuple, length, block, offset);
    // SAFETY: the caller's contract.
    unsafe { pg_sys::HeapTupleSatisfiesVisibility(&raw mut tuple, snapshot.raw(), pin.0) }
}

/// # Safety
/// As [`is_visible`].
#[expect(
    clippy::too_many_arguments,
    reason = "one call of PostgreSQL's, one line here"
)]
unsafe fn is_visible_serializable(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    pin: &Pin,
    tuple: *mut pg_sys::HeapTupleHeaderData,
    length: u32,
    block: u32,
    offset: u16,
    all_visible: bool,
) -> bool {
    let mut tuple = heap_tuple(relation, tuple, length, block, offset);
    // SAFETY: the caller's contract. Serializable isolation must see each tuple, visible or not.
    unsafe {
        let visible = all_visible
            || pg_sys::HeapTupleSatisfiesVisibility(&raw mut tuple, snapshot.raw(), pin.0);
        pg_sys::HeapCheckForSerializableConflictOut(
            visible,
            relation.raw(),
            &raw mut tuple,
            pin.0,
            snapshot.raw(),
        );
        visible
    }
}

fn heap_tuple(
    relation: &Relation,
    data: *mut pg_sys::HeapTupleHeaderData,
    length: u32,
    block: u32,
    offset: u16,
) -> pg_sys::HeapTupleData {
    pg_sys::HeapTupleData {
        t_len: length,
        t_self: Tid { block, offset }.to_raw(),
        t_tableOid: relation.oid(),
        t_data: data,
    }
}
