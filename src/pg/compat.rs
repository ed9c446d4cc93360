//! Every difference between PostgreSQL 15 … 18 that the rest of the crate would see. Functions here present the
//! newest server's view.

use pgrx::pg_sys;

/// Does the path key ask for ascending order?
///
/// # Safety
/// `pathkey` points to a live `PathKey`.
#[cfg(feature = "pg18")]
pub unsafe fn pathkey_is_ascending(pathkey: *const pg_sys::PathKey) -> bool {
    // SAFETY: live by the caller's promise.
    unsafe { (*pathkey).pk_cmptype == pg_sys::CompareType::COMPARE_LT }
}

/// Does the path key ask for ascending order?
///
/// # Safety
/// `pathkey` points to a live `PathKey`.
#[cfg(not(feature = "pg18"))]
pub unsafe fn pathkey_is_ascending(pathkey: *const pg_sys::PathKey) -> bool {
    // SAFETY: live by the caller's promise.
    unsafe { (*pathkey).pk_strategy == pg_sys::BTLessStrategyNumber as core::ffi::c_int }
}

/// Asks, before the executor initialises a custom scan, for a scan slot that holds heap tuples.
///
/// # Safety
/// `state` points to a `CustomScanState` that `CreateCustomScanState` is about to return.
#[cfg(not(feature = "pg15"))]
pub unsafe fn request_heap_slot(state: *mut pg_sys::CustomScanState) {
    // SAFETY: live by the caller's promise; the table of slot functions is a constant of the server.
    unsafe { (*state).slotOps = &raw const pg_sys::TTSOpsBufferHeapTuple }
}

/// PostgreSQL 15 cannot be asked; see [`ensure_heap_slot`].
///
/// # Safety
/// None is needed here.
#[cfg(feature = "pg15")]
pub unsafe fn request_heap_slot(_state: *mut pg_sys::CustomScanState) {}

/// Nothing is left to do: the slot was asked for.
///
/// # Safety
/// None is needed here.
#[cfg(not(feature = "pg15"))]
pub unsafe fn ensure_heap_slot(_state: *mut pg_sys::CustomScanState) {}

/// Replaces the virtual scan slot that PostgreSQL 15 gives to every custom scan, and what was compiled against it.
///
/// # Safety
/// Called from `BeginCustomScan` with its argument, of a scan of one heap relation.
#[cfg(feature = "pg15")]
pub unsafe fn ensure_heap_slot(state: *mut pg_sys::CustomScanState) {
    // SAFETY: the node is initialised and has its relation open (BeginCustomScan is called last); the second
    // initialisation forgets the sub-plans that the first one noted, since they are noted again.
    unsafe {
        let scan = &raw mut (*state).ss;
        let planstate = &raw mut (*scan).ps;
        pg_sys::ExecInitScanTupleSlot(
            (*planstate).state,
            scan,
            (*(*scan).ss_currentRelation).rd_att,
            &raw const pg_sys::TTSOpsBufferHeapTuple,
        );
        (*planstate).subPlan = core::ptr::null_mut();
        pg_sys::ExecAssignScanProjectionInfo(scan);
        (*planstate).qual = pg_sys::ExecInitQual((*(*planstate).plan).qual, planstate);
    }
}

/// A column of a tuple descriptor.
///
/// # Safety
/// `descriptor` is live and has more than `position` columns.
#[cfg(feature = "pg18")]
pub unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    position: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the full attributes lie behind the compact ones, as many; by the caller's promise.
    unsafe {
        let compact = (&raw const (*descriptor).compact_attrs).cast::<pg_sys::CompactAttribute>();
        let count = usize::try_from((*descriptor).natts).unwrap_or(0);
        compact
            .add(count)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(position)
    }
}

/// A column of a tuple descriptor.
///
/// # Safety
/// `descriptor` is live and has more than `position` columns.
#[cfg(not(feature = "pg18"))]
pub unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    position: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the attributes are an array at the end of the descriptor; by the caller's promise.
    unsafe {
        (&raw const (*descriptor).attrs)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(position)
    }
}
