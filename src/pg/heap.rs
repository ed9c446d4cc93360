//! Reads of heap tables below the executor: all rows a snapshot sees, a page at a time, and single rows by TID.
//!
//! The scan follows heapam's page-at-a-time mode (heapgetpage in access/heap/heapam.c): visibility is decided for a
//! whole page under its share lock, then the rows are read under the pin alone, which keeps them in place.

pub mod fetch;
pub(in crate::pg) mod page;
mod visibility;

use super::compat;
use super::index_relation::FileId;
use super::relation::{Oid, Relation};
use crate::error::Error;
pub use page::forget;
use page::{
    PageSource, Pin, item_id, max_offset, page_of, prefetch_page, prefetch_tuple, tuple_bytes,
};
use pgrx::pg_sys;
use std::marker::PhantomData;
pub use visibility::is_serializable;
use visibility::{Counted, MAX_TUPLES, begin_read, count_on_page, visible_offsets};

/// Where a row version lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid {
    pub block: u32,
    pub offset: u16,
}

impl Tid {
    pub(in crate::pg) fn from_raw(raw: pg_sys::ItemPointerData) -> Tid {
        Tid {
            block: u32::from(raw.ip_blkid.bi_hi) << 16 | u32::from(raw.ip_blkid.bi_lo),
            offset: raw.ip_posid,
        }
    }

    pub(in crate::pg) fn to_raw(self) -> pg_sys::ItemPointerData {
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

    /// What is committed at the moment of looking, or written by this transaction (SnapshotSelf), whatever the
    /// isolation level: to learn whether a key is taken. Not for scans of whole tables.
    pub(in crate::pg) fn current() -> Snapshot<'static> {
        Snapshot {
            raw: &raw mut pg_sys::SnapshotSelfData,
            life: PhantomData,
        }
    }

    pub(in crate::pg) fn raw(self) -> pg_sys::Snapshot {
        self.raw
    }
}

/// Calls `each` with every row version of `relation` that `snapshot` sees, page by page: its TID and its bytes
/// (header included). Stops at the first error. Honours interrupts at every page.
///
/// While a row is read the next one's cache lines are asked for, and the first lines of the next page, which is pinned
/// ahead: pages lie scattered over shared buffers, and the hardware prefetcher follows upwards within 4 KB only. For its
/// sake a page is read from its last row, which lies lowest, to its first.
pub fn scan(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    mut each: impl FnMut(Tid, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let serializable = begin_read(relation, snapshot);
    let blocks = relation.blocks();
    let mut source = PageSource::in_bulk(relation, blocks);
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
        prefetch_page(ahead);
        // SAFETY: a line pointer of a visible tuple on a pinned page stays normal and in place.
        let tuple_at = |offset: u16| unsafe { tuple_bytes(page_of(&current), offset) };
        let mut rows = offsets[..visible].iter().rev().copied().peekable();
        while let Some(offset) = rows.next() {
            if let Some(&next) = rows.peek() {
                prefetch_tuple(tuple_at(next));
            }
            each(Tid { block, offset }, tuple_at(offset))?;
        }
        block += 1;
    }
    Ok(())
}

/// Takes the predicate lock that a search of a table needs under serializable isolation.
pub(in crate::pg) fn lock_table_for_serializable(
    relation: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
) {
    // SAFETY: the caller has the relation open over the call.
    let relation = unsafe { Relation::borrowed(relation) };
    let snapshot = Snapshot {
        raw: snapshot,
        life: PhantomData,
    };
    visibility::lock_for_serializable(&relation, snapshot);
}

/// Has the kernel read the pages of rows that are wanted soon.
pub(in crate::pg) fn prefetch(relation: pg_sys::Relation, places: &[Tid]) {
    // SAFETY: the caller has the relation open over the call.
    let relation = unsafe { Relation::borrowed(relation) };
    let blocks = relation.blocks();
    let mut source = PageSource::new(&relation, blocks);
    source.advise_all(
        places
            .iter()
            .map(|tid| tid.block)
            .filter(|&block| block < blocks),
    );
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
    let mut source = PageSource::in_bulk(relation, relation.blocks());
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

/// A table's file, read without a relcache entry.
pub struct UncachedFile {
    pub file: FileId,
    /// WAL-logged.
    pub is_permanent: bool,
}

/// Rows of a heap table of so many pages that `snapshot` sees; the table is locked but not open. Not under serializable isolation.
pub fn count_uncached(table: Oid, file: &UncachedFile, blocks: u32, snapshot: Snapshot<'_>) -> u64 {
    let strategy = page::ReadStrategy::in_bulk(blocks);
    let mut rows = 0;
    for block in 0..blocks {
        pgrx::check_for_interrupts!();
        // SAFETY: the table is locked, so that its file is there and keeps its pages.
        let pin = Pin(unsafe {
            compat::file::read_uncached(file.file, file.is_permanent, block, strategy.raw())
        });
        rows += count_on_page(table, snapshot, &pin, block, Counted::Visible);
    }
    if blocks > 0 {
        // SAFETY: who has it open as a relation opens the file again.
        unsafe { compat::file::close(file.file) };
    }
    rows
}

/// Rows of `relation` that the transaction's own view of this moment sees, and those that others have inserted and may yet commit.
pub fn count_with_pending(relation: &Relation) -> u64 {
    let snapshot = LatestSnapshot::take();
    let blocks = relation.blocks();
    let mut source = PageSource::in_bulk(relation, blocks);
    let mut rows = 0;
    for block in 0..blocks {
        pgrx::check_for_interrupts!();
        let pin = source.read(block);
        rows += count_on_page(
            relation.oid(),
            snapshot.get(),
            &pin,
            block,
            Counted::WithPending,
        );
    }
    rows
}

/// A snapshot of this moment, whatever the isolation level, with the transaction's own commands so far; given back on drop.
struct LatestSnapshot(pg_sys::Snapshot);

impl LatestSnapshot {
    fn take() -> Self {
        // SAFETY: inside a transaction.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) })
    }

    fn get(&self) -> Snapshot<'_> {
        Snapshot {
            raw: self.0,
            life: PhantomData,
        }
    }
}

impl Drop for LatestSnapshot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort gives it back
        }
        // SAFETY: registered by `take`.
        unsafe { pg_sys::UnregisterSnapshot(self.0) };
    }
}

/// Reads one row version found by a scan under the same snapshot (which keeps it from being pruned). The page was let go of meanwhile: others may
/// be at moving its tuples together, which a pin alone does not stop when they have begun, but the lock, once had, and the pin after it.
pub fn fetch<T>(relation: &Relation, tid: Tid, read: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
    // SAFETY: the relation is open; a block past the end raises an error.
    let pin = Pin(unsafe { pg_sys::ReadBuffer(relation.raw(), tid.block) });
    let page = page_of(&pin);
    // SAFETY: the page is pinned, and locked while the line pointer is looked at, which is checked before use; nothing between the calls raises an error.
    let bytes = unsafe {
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_SHARE as i32);
        let bytes = if tid.offset == 0 || tid.offset > max_offset(page) {
            None
        } else {
            let item = item_id(page, tid.offset);
            ((*item).lp_flags() == pg_sys::LP_NORMAL).then(|| tuple_bytes(page, tid.offset))
        };
        pg_sys::LockBuffer(pin.0, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        bytes
    };
    let bytes = bytes.ok_or_else(|| Error::Corrupted {
        what: format!("no row at ({},{})", tid.block, tid.offset),
    })?;
    Ok(read(bytes))
}
