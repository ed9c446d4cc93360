//! A scan slot that holds heap tuples for a custom scan: asked for since 16, put in afterwards before.

use pgrx::pg_sys;

/// Asks, before the executor initialises a custom scan, for a scan slot that holds heap tuples.
///
/// # Safety
/// `state` points to a `CustomScanState` that `CreateCustomScanState` is about to return.
#[cfg(not(feature = "pg15"))]
pub unsafe fn request(state: *mut pg_sys::CustomScanState) {
    // SAFETY: live by the caller's promise; the table of slot functions is a constant of the server.
    unsafe { (*state).slotOps = &raw const pg_sys::TTSOpsBufferHeapTuple }
}

/// PostgreSQL 15 cannot be asked; see [`ensure`].
///
/// # Safety
/// None is needed here.
#[cfg(feature = "pg15")]
pub unsafe fn request(_state: *mut pg_sys::CustomScanState) {}

/// Nothing is left to do: the slot was asked for.
///
/// # Safety
/// None is needed here.
#[cfg(not(feature = "pg15"))]
pub unsafe fn ensure(_state: *mut pg_sys::CustomScanState) {}

/// Replaces the virtual scan slot that PostgreSQL 15 gives to every custom scan, and what was compiled against it.
///
/// # Safety
/// Called from `BeginCustomScan` with its argument, of a scan of one heap relation.
#[cfg(feature = "pg15")]
pub unsafe fn ensure(state: *mut pg_sys::CustomScanState) {
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
