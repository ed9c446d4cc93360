//! Which rows of a page a snapshot sees: decided for the whole page at once under its share lock.

use super::page::{Pin, item_id, max_offset, page_of};
use super::{Snapshot, Tid};
use crate::pg::relation::Relation;
use crate::pg::statistics;
use pgrx::pg_sys;

/// Rows a page can hold (MaxHeapTuplesPerPage in access/htup_details.h): a header of 24 bytes and a line pointer each.
pub const MAX_TUPLES: usize =
    (pg_sys::BLCKSZ as usize - 24) / (24 + size_of::<pg_sys::ItemIdData>());

/// Functions of the server without pgrx's guard, for use inside a guarded closure only: one guard a page, not one a call.
mod unguarded {
    use core::ffi::c_int;
    use pgrx::pg_sys::{Buffer, HeapTuple, Relation, Snapshot, TransactionId};

    unsafe extern "C-unwind" {
        pub(super) fn LockBuffer(buffer: Buffer, mode: c_int);
        pub(super) fn HeapTupleSatisfiesVisibility(
            tuple: HeapTuple,
            snapshot: Snapshot,
            buffer: Buffer,
        ) -> bool;
        pub(super) fn HeapCheckForSerializableConflictOut(
            visible: bool,
            relation: Relation,
            tuple: HeapTuple,
            buffer: Buffer,
            snapshot: Snapshot,
        );
        pub(super) fn XidInMVCCSnapshot(xid: TransactionId, snapshot: Snapshot) -> bool;
        pub(super) fn TransactionIdIsCurrentTransactionId(xid: TransactionId) -> bool;
        pub(super) fn TransactionIdDidAbort(xid: TransactionId) -> bool;
        /// storage/lmgr/predicate.c; not in the bindings.
        pub(super) fn PredicateLockRelation(relation: Relation, snapshot: Snapshot);
    }
}

/// Counts the scan for statistics and takes the serializable isolation's predicate lock. True if serializable.
pub fn begin_read(relation: &Relation, snapshot: Snapshot<'_>) -> bool {
    statistics::count_scan(relation);
    lock_for_serializable(relation, snapshot)
}

/// Takes the predicate lock on the whole table under serializable isolation: the nearest rows depend on all of them. True if
/// serializable.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub fn lock_for_serializable(relation: &Relation, snapshot: Snapshot<'_>) -> bool {
    let serializable = is_serializable();
    if serializable {
        // SAFETY: the relation is open.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                unguarded::PredicateLockRelation(relation.raw(), snapshot.raw());
            });
        }
    }
    serializable
}

/// Is the transaction's isolation serializable?
pub fn is_serializable() -> bool {
    // SAFETY: a plain read of a global.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Fills `offsets` with the visible rows of a page and answers how many they are.
#[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
pub fn visible_offsets(
    relation: &Relation,
    snapshot: Snapshot<'_>,
    pin: &Pin,
    block: u32,
    serializable: bool,
    offsets: &mut [u16; MAX_TUPLES],
) -> usize {
    let page = page_of(pin);
    let (buffer, heap, table) = (pin.0, relation.raw(), relation.oid());
    let snapshot = snapshot.raw();
    let header = page.cast::<pg_sys::PageHeaderData>();
    let mut found = 0;
    // SAFETY: the page is pinned; pd_prune_xid is a hint that may be read without the lock, as heapgetpage does. Between
    // lock and unlock all reads stay on the page. The closure owns nothing that would have to be dropped, so an error
    // raised in it may jump over it; the transaction's abort lets go of the lock.
    unsafe {
        if (*header).pd_prune_xid != pg_sys::InvalidTransactionId {
            pg_sys::heap_page_prune_opt(heap, buffer);
        }
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let all_visible = (*header).pd_flags as u32 & pg_sys::PD_ALL_VISIBLE != 0
                && !(*snapshot).takenDuringRecovery;
            each_tuple(page, block, table, |offset, tuple| {
                let visible = all_visible
                    || (!serializable && is_plainly_visible((*tuple).t_data, snapshot))
                    || unguarded::HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);
                if serializable {
                    // This isolation must be shown every tuple, visible or not.
                    unguarded::HeapCheckForSerializableConflictOut(
                        visible, heap, tuple, buffer, snapshot,
                    );
                }
                if visible && found < MAX_TUPLES {
                    offsets[found] = offset;
                    found += 1;
                }
            });
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        });
    }
    found
}

/// Shows `each` the normal tuples of a page, with their offsets.
///
/// # Safety
/// The page is pinned and its content locked.
#[inline]
unsafe fn each_tuple(
    page: pg_sys::Page,
    block: u32,
    table: pg_sys::Oid,
    mut each: impl FnMut(u16, pg_sys::HeapTuple),
) {
    // SAFETY: the caller's contract; a normal line pointer points at a tuple on the page.
    unsafe {
        for offset in 1..=max_offset(page) {
            let item = item_id(page, offset);
            if (*item).lp_flags() != pg_sys::LP_NORMAL {
                continue;
            }
            let mut tuple = pg_sys::HeapTupleData {
                t_len: (*item).lp_len(),
                t_self: Tid { block, offset }.to_raw(),
                t_tableOid: table,
                t_data: page.cast::<u8>().add((*item).lp_off() as usize).cast(),
            };
            each(offset, &raw mut tuple);
        }
    }
}

/// Which rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Those the snapshot sees.
    Visible,
    /// And those that transactions still under way for it have inserted: they may come. A new version of a row that is there is none more.
    /// What such a transaction deletes is still counted.
    WithPending,
}

/// Rows of a page of a table that need not be open, not under serializable isolation.
#[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
pub fn count_on_page(
    table: pg_sys::Oid,
    snapshot: Snapshot<'_>,
    pin: &Pin,
    block: u32,
    counted: Counted,
) -> u64 {
    let page = page_of(pin);
    let (buffer, snapshot) = (pin.0, snapshot.raw());
    let mut rows = 0;
    // SAFETY: the page is pinned, and locked while it is read. The closure owns nothing that would have to be dropped.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            each_tuple(page, block, table, |_, tuple| {
                let counts = is_plainly_visible((*tuple).t_data, snapshot)
                    || unguarded::HeapTupleSatisfiesVisibility(tuple, snapshot, buffer)
                    || (counted == Counted::WithPending && is_pending((*tuple).t_data, snapshot));
                rows += u64::from(counts);
            });
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        });
    }
    rows
}

/// Was it inserted, not as the new version of a row, by another transaction that the snapshot takes to be under way and that has not been rolled back?
///
/// # Safety
/// `tuple` must point at a tuple header, `snapshot` at an MVCC snapshot; inside a guarded closure.
#[allow(ffi_unwind_calls, reason = "called inside a guard")]
unsafe fn is_pending(
    tuple: *const pg_sys::HeapTupleHeaderData,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let mask = (*tuple).t_infomask as u32;
        let xmin = (*tuple).t_choice.t_heap.t_xmin;
        let is_rolled_back = mask & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_INVALID;
        mask & pg_sys::HEAP_UPDATED == 0
            && !is_rolled_back
            && xmin.into_inner() >= pg_sys::FirstNormalTransactionId.into_inner()
            && unguarded::XidInMVCCSnapshot(xmin, snapshot)
            // Of its own the snapshot sees what is there.
            && !unguarded::TransactionIdIsCurrentTransactionId(xmin)
            && !unguarded::TransactionIdDidAbort(xmin)
    }
}

/// The common case of HeapTupleSatisfiesMVCC without a call: inserted by a transaction known to have committed before
/// the snapshot was taken, and never deleted. False means "ask".
///
/// # Safety
/// `tuple` must point at a tuple header, `snapshot` at an MVCC snapshot.
#[inline]
pub unsafe fn is_plainly_visible(
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
