//! Which rows of a page a snapshot sees: decided for the whole page at once under its share lock.

use super::page::{Pin, item_id, max_offset, page_of};
use super::{Snapshot, Tid};
use crate::pg::relation::Relation;
use pgrx::pg_sys;

/// Rows a page can hold (MaxHeapTuplesPerPage in access/htup_details.h): a header of 24 bytes and a line pointer each.
pub const MAX_TUPLES: usize =
    (pg_sys::BLCKSZ as usize - 24) / (24 + size_of::<pg_sys::ItemIdData>());

unsafe extern "C-unwind" {
    /// storage/lmgr/predicate.c; not in the bindings.
    fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
}

/// Counts the scan for statistics and takes the serializable isolation's predicate lock. True if serializable.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub fn begin_read(relation: &Relation, snapshot: Snapshot<'_>) -> bool {
    // SAFETY: plain reads of a global; pgstat_info is NULL unless statistics are kept for the open relation.
    unsafe {
        let raw = relation.raw();
        if !(*raw).pgstat_info.is_null() || ((*raw).pgstat_enabled && assoc_statistics(raw)) {
            crate::pg::compat::count_scan((*raw).pgstat_info);
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

/// Fills `offsets` with the visible rows of a page and answers how many they are.
pub fn visible_offsets(
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
            let data = page.cast::<u8>().add((*item).lp_off() as usize);
            let mut tuple = pg_sys::HeapTupleData {
                t_len: (*item).lp_len(),
                t_self: Tid { block, offset }.to_raw(),
                t_tableOid: relation.oid(),
                t_data: data.cast(),
            };
            let visible = all_visible
                || (!serializable && is_plainly_visible(tuple.t_data, raw))
                || pg_sys::HeapTupleSatisfiesVisibility(&raw mut tuple, raw, pin.0);
            if serializable {
                // This isolation must be shown every tuple, visible or not.
                let tuple = &raw mut tuple;
                pg_sys::HeapCheckForSerializableConflictOut(
                    visible,
                    relation.raw(),
                    tuple,
                    pin.0,
                    raw,
                );
            }
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
