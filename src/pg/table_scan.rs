//! One pass of a custom scan over its table: the rows the query's snapshot sees and the quals let through.

use super::executor::{Executor, clear_slot, not_a_table};
use super::heap::Tid;
use super::vector_datum::VectorArg;
use crate::error::Error;
use pgrx::datum::FromDatum;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// Functions of the server without pgrx's guard, for use inside a guarded closure only.
mod unguarded {
    use core::ffi::c_int;
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        pub(super) fn ProcessInterrupts();
        pub(super) fn MemoryContextReset(context: pg_sys::MemoryContext);
        pub(super) fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
    }
}

/// The flags of a sequential scan, as `table_beginscan` sets them.
const SEQUENTIAL: u32 = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
    | pg_sys::ScanOptions::SO_ALLOW_STRAT
    | pg_sys::ScanOptions::SO_ALLOW_SYNC
    | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;

type GetNextSlot = unsafe extern "C-unwind" fn(
    pg_sys::TableScanDesc,
    pg_sys::ScanDirection::Type,
    *mut pg_sys::TupleTableSlot,
) -> bool;

/// One pass over a table.
pub struct TableScan<'a> {
    descriptor: pg_sys::TableScanDesc,
    get_next: GetNextSlot,
    slot: *mut pg_sys::TupleTableSlot,
    column: i16,
    scanned: u64,
    removed: u64,
    executor: Executor<'a>,
}

impl<'a> TableScan<'a> {
    /// Before the first row. `column` is a variable-length column of the executor's relation.
    pub(super) fn begin(executor: Executor<'a>, column: i16) -> Result<Self, Error> {
        // SAFETY: the node has its relation open and locked and runs under a registered snapshot; the scan begun here
        // is ended by the drop of what is returned, or by the transaction's end.
        unsafe {
            let scan = &raw mut (*executor.node).ss;
            let relation = (*scan).ss_currentRelation;
            let routine = &*(*relation).rd_tableam;
            let (begin, get_next) = (
                routine.scan_begin.ok_or_else(not_a_table)?,
                routine.scan_getnextslot.ok_or_else(not_a_table)?,
            );
            let snapshot = (*(*scan).ps.state).es_snapshot;
            let none = core::ptr::null_mut();
            #[allow(ffi_unwind_calls, reason = "guarded")]
            let descriptor = pg_guard_ffi_boundary(|| {
                begin(
                    relation,
                    snapshot,
                    0,
                    none,
                    core::ptr::null_mut(),
                    SEQUENTIAL,
                )
            });
            Ok(Self {
                descriptor,
                get_next,
                slot: (*scan).ss_ScanTupleSlot,
                column,
                scanned: 0,
                removed: 0,
                executor,
            })
        }
    }

    /// Goes to the next row that passes the quals; false behind the last one. What was read from the row before is
    /// given up.
    #[inline]
    pub fn advance(&mut self) -> bool {
        let context = self.executor.context();
        let quals = self.executor.quals();
        // SAFETY: scan, slot and context belong to the running node. The closure calls the server only, unguarded, and
        // owns nothing that would have to be dropped, so an error may jump over it; one guard for all the rows that
        // the quals reject.
        #[allow(ffi_unwind_calls, reason = "guarded")]
        unsafe {
            pg_guard_ffi_boundary(|| {
                loop {
                    if !self.next_row(context) {
                        return false;
                    }
                    self.scanned += 1;
                    if quals.is_null() || passes(quals, context, self.slot) {
                        break;
                    }
                    self.removed += 1;
                }
                let column = core::ffi::c_int::from(self.column);
                if core::ffi::c_int::from((*self.slot).tts_nvalid) < column {
                    unguarded::slot_getsomeattrs_int(self.slot, column);
                }
                true
            })
        }
    }

    /// # Safety
    /// Inside a guard; `context` is the node's.
    #[inline]
    #[allow(ffi_unwind_calls, reason = "called inside a guard")]
    unsafe fn next_row(&self, context: *mut pg_sys::ExprContext) -> bool {
        // SAFETY: by the caller's promise.
        unsafe {
            if pg_sys::InterruptPending != 0 {
                unguarded::ProcessInterrupts();
            }
            unguarded::MemoryContextReset((*context).ecxt_per_tuple_memory);
            (self.get_next)(
                self.descriptor,
                pg_sys::ScanDirection::ForwardScanDirection,
                self.slot,
            )
        }
    }

    /// Where the current row lies.
    #[inline]
    pub fn row(&self) -> Tid {
        // SAFETY: the slot is live; before the first row its TID is unset, which is a value like any other.
        Tid::from_raw(unsafe { (*self.slot).tts_tid })
    }

    /// The column of the current row; `None` if it is NULL.
    #[inline]
    pub fn vector(&self) -> Result<Option<VectorArg<'_>>, Error> {
        let column = usize::try_from(self.column - 1).unwrap_or(0);
        let context = self.executor.context();
        // SAFETY: the column exists, is variable-length and aligned (`Executor::table_scan` checked), and was read from the
        // tuple by `advance`; what it is detoasted to lives until the per-row memory is reset, which `advance` does,
        // and that needs this borrow to have ended.
        unsafe {
            if usize::try_from((*self.slot).tts_nvalid).unwrap_or(0) <= column
                || *(*self.slot).tts_isnull.add(column)
            {
                return Ok(None);
            }
            let datum = *(*self.slot).tts_values.add(column);
            let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let vector = VectorArg::from_datum(datum, false);
            pg_sys::MemoryContextSwitchTo(before);
            Ok(vector)
        }
    }

    /// See [`Executor::vector`].
    pub fn value(&mut self, index: usize) -> Result<Option<Vec<f32>>, Error> {
        self.executor.vector(index)
    }

    /// Rows read so far.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }
}

impl Drop for TableScan<'_> {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's abort ends the scan.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: begun by `begin`, ended here only; the slot lets go of the page before the scan ends.
        unsafe {
            let instrument = (*self.executor.node).ss.ps.instrument;
            if !instrument.is_null() {
                (*instrument).nfiltered1 += self.removed as f64;
            }
            clear_slot(self.slot);
            if let Some(end) = (*(*(*self.descriptor).rs_rd).rd_tableam).scan_end {
                let descriptor = self.descriptor;
                #[allow(ffi_unwind_calls, reason = "guarded")]
                pg_guard_ffi_boundary(|| end(descriptor));
            }
        }
    }
}

/// Evaluates quals (which are never NULL) against the row in `slot`.
///
/// # Safety
/// Inside a guard; the quals and the context belong to one running node, the slot holds a row of its relation.
#[inline]
#[allow(ffi_unwind_calls, reason = "called inside a guard")]
unsafe fn passes(
    quals: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: by the caller's promise. PostgreSQL puts the current context right itself when an error is raised.
    unsafe {
        let Some(evaluate) = (*quals).evalfunc else {
            return false;
        };
        let mut is_null = false;
        (*context).ecxt_scantuple = slot;
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*context).ecxt_per_tuple_memory;
        let passed = evaluate(quals, context, &raw mut is_null);
        pg_sys::CurrentMemoryContext = before;
        !is_null && passed.value() as u8 != 0
    }
}
