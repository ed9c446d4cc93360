//! Rows of a custom scan's table that the query's snapshot sees and the quals let through: all of them in one pass, or those of
//! places that an index tells.

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
    current: CurrentRow<'a>,
    scanned: u64,
    removed: u64,
}

impl<'a> TableScan<'a> {
    /// Before the first row. `column` is a variable-length column of the executor's relation.
    pub(super) fn begin(executor: Executor<'a>, column: i16) -> Result<Self, Error> {
        // SAFETY: the node has its relation open and locked and runs under a registered snapshot; the scan begun here
        // is ended by the drop of what is returned, or by the transaction's end.
        unsafe {
            let scan = &raw mut (*executor.node).ss;
            let relation = (*scan).ss_currentRelation;
            let get_next = (*(*relation).rd_tableam)
                .scan_getnextslot
                .ok_or_else(not_a_table)?;
            let snapshot = (*(*scan).ps.state).es_snapshot;
            let descriptor = begin_sequential(relation, snapshot)?;
            Ok(Self {
                descriptor,
                get_next,
                current: CurrentRow::new(executor, column),
                scanned: 0,
                removed: 0,
            })
        }
    }

    /// Goes to the next row that passes the quals; false behind the last one. What was read from the row before is
    /// given up.
    #[inline]
    pub fn advance(&mut self) -> bool {
        let context = self.current.executor.context();
        let quals = self.current.executor.quals();
        let slot = self.current.slot;
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
                    if quals.is_null() || passes(quals, context, slot) {
                        break;
                    }
                    self.removed += 1;
                }
                self.current.deform();
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
                self.current.slot,
            )
        }
    }

    /// The row it has come to.
    #[inline]
    pub fn current(&mut self) -> &mut CurrentRow<'a> {
        &mut self.current
    }

    /// Rows read so far.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }
}

/// Rows of one table by the places an index tells (table_index_fetch_tuple in access/tableam.h).
pub struct IndexFetch<'a> {
    descriptor: *mut pg_sys::IndexFetchTableData,
    fetch: FetchTuple,
    current: CurrentRow<'a>,
    removed: u64,
}

type FetchTuple = unsafe extern "C-unwind" fn(
    *mut pg_sys::IndexFetchTableData,
    pg_sys::ItemPointer,
    pg_sys::Snapshot,
    *mut pg_sys::TupleTableSlot,
    *mut bool,
    *mut bool,
) -> bool;

impl<'a> IndexFetch<'a> {
    pub(super) fn begin(executor: Executor<'a>, column: i16) -> Result<Self, Error> {
        // SAFETY: the node has its relation open and locked; what is begun here is ended by the drop of what is returned, or by
        // the transaction's end.
        unsafe {
            let relation = (*executor.node).ss.ss_currentRelation;
            let routine = &*(*relation).rd_tableam;
            let (begin, fetch) = (
                routine.index_fetch_begin.ok_or_else(not_a_table)?,
                routine.index_fetch_tuple.ok_or_else(not_a_table)?,
            );
            super::heap::lock_table_for_serializable(relation, (*executor.estate()).es_snapshot);
            #[allow(ffi_unwind_calls, reason = "guarded")]
            let descriptor = pg_guard_ffi_boundary(|| begin(relation));
            Ok(Self {
                descriptor,
                fetch,
                current: CurrentRow::new(executor, column),
                removed: 0,
            })
        }
    }

    /// Has the kernel read pages that are wanted soon.
    pub fn prefetch(&self, places: &[Tid]) {
        // SAFETY: the node has its relation open.
        let relation = unsafe { (*self.current.executor.node).ss.ss_currentRelation };
        super::heap::prefetch(relation, places);
    }

    /// Goes to the row at a place; false if the snapshot sees none there or the quals reject it. What was read from the row before is
    /// given up.
    pub fn go_to(&mut self, place: Tid) -> bool {
        let executor = &self.current.executor;
        let (context, quals, slot) = (executor.context(), executor.quals(), self.current.slot);
        let mut tid = place.to_raw();
        let (mut call_again, mut removed) = (false, false);
        // SAFETY: as in `TableScan::advance`. With an MVCC snapshot there is one visible version of a row at most, so that the call
        // need not be made again.
        #[allow(ffi_unwind_calls, reason = "guarded")]
        let found = unsafe {
            let snapshot = (*executor.estate()).es_snapshot;
            pg_guard_ffi_boundary(|| {
                if pg_sys::InterruptPending != 0 {
                    unguarded::ProcessInterrupts();
                }
                unguarded::MemoryContextReset((*context).ecxt_per_tuple_memory);
                let found = (self.fetch)(
                    self.descriptor,
                    &raw mut tid,
                    snapshot,
                    slot,
                    &raw mut call_again,
                    core::ptr::null_mut(),
                );
                removed = found && !quals.is_null() && !passes(quals, context, slot);
                if found && !removed {
                    self.current.deform();
                }
                found && !removed
            })
        };
        self.removed += u64::from(removed);
        found
    }

    /// The row it has come to.
    pub fn current(&mut self) -> &mut CurrentRow<'a> {
        &mut self.current
    }
}

impl Drop for IndexFetch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // the transaction's abort ends it
        }
        // SAFETY: begun by `begin`, ended here only; the slot lets go of the page before.
        unsafe {
            self.current.executor.count_filtered(self.removed);
            clear_slot(self.current.slot);
            if let Some(end) = (*(*(*self.descriptor).rel).rd_tableam).index_fetch_end {
                let descriptor = self.descriptor;
                #[allow(ffi_unwind_calls, reason = "guarded")]
                pg_guard_ffi_boundary(|| end(descriptor));
            }
        }
    }
}

/// The row in a custom scan's slot.
pub struct CurrentRow<'a> {
    slot: *mut pg_sys::TupleTableSlot,
    column: i16,
    executor: Executor<'a>,
}

impl<'a> CurrentRow<'a> {
    /// `column` is a variable-length column of the executor's relation.
    fn new(executor: Executor<'a>, column: i16) -> Self {
        Self {
            // SAFETY: the node is live and has its slot.
            slot: unsafe { (*executor.node).ss.ss_ScanTupleSlot },
            column,
            executor,
        }
    }

    /// Takes the tuple apart up to the column.
    ///
    /// # Safety
    /// Inside a guard; the slot holds a row.
    #[inline]
    #[allow(ffi_unwind_calls, reason = "called inside a guard")]
    unsafe fn deform(&self) {
        // SAFETY: by the caller's promise; the column exists.
        unsafe {
            let column = core::ffi::c_int::from(self.column);
            if core::ffi::c_int::from((*self.slot).tts_nvalid) < column {
                unguarded::slot_getsomeattrs_int(self.slot, column);
            }
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
        // SAFETY: the column exists, is variable-length and aligned (`Executor::check` did), and was read from the tuple before
        // the row was shown; what it is detoasted to lives until the per-row memory is reset, which going to another row does,
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
}

/// table_beginscan (access/tableam.h).
///
/// # Safety
/// The relation is open and locked, the snapshot registered or active for the scan's life. Who begins a scan ends it.
pub(super) unsafe fn begin_sequential(
    relation: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
) -> Result<pg_sys::TableScanDesc, Error> {
    // SAFETY: by the caller's promise; the closure holds the call alone.
    unsafe {
        let begin = (*(*relation).rd_tableam)
            .scan_begin
            .ok_or_else(not_a_table)?;
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
        Ok(descriptor)
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
            self.current.executor.count_filtered(self.removed);
            clear_slot(self.current.slot);
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
