//! The slots that a writer puts rows into, and the memory of one row.

use super::{NewRecord, Writer};
use crate::pg::{json, vector_datum::VectorOut};
use pgrx::{IntoDatum, pg_sys};

impl Writer<'_> {
    /// Puts the record's datums into new_slot; they live until [`Writer::reset_row`].
    pub(super) fn fill_slot(&mut self, record: NewRecord<'_>) {
        // SAFETY: new_slot was made for this relation.
        unsafe { self.fill(self.new_slot, record) };
    }

    /// # Safety
    /// `slot` must be one of this relation. What it is filled with lives until [`Writer::reset_row`].
    pub(super) unsafe fn fill(&self, slot: *mut pg_sys::TupleTableSlot, record: NewRecord<'_>) {
        // SAFETY: the slot has the leaf's four columns; the per-tuple context lives as long as the executor state.
        unsafe {
            let context = (*per_tuple_context(self.estate)).ecxt_per_tuple_memory;
            let previous = pg_sys::MemoryContextSwitchTo(context);
            clear_slot(slot);
            let values = (*slot).tts_values;
            let nulls = (*slot).tts_isnull;
            let columns = [
                Some(self.namespace),
                record.id.into_datum(),
                record
                    .values
                    .and_then(|v| VectorOut::from_slice(v).into_datum()),
                record.metadata.map(json::jsonb_from_payload),
            ];
            for (index, datum) in columns.into_iter().enumerate() {
                *nulls.add(index) = datum.is_none();
                *values.add(index) = datum.unwrap_or(pg_sys::Datum::null());
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            pg_sys::MemoryContextSwitchTo(previous);
        }
    }

    /// Frees what the last row took.
    pub(super) fn reset_row(&mut self) {
        // SAFETY: the slot is emptied before the memory it points into goes.
        unsafe {
            clear_slot(self.new_slot);
            pg_sys::MemoryContextReset((*per_tuple_context(self.estate)).ecxt_per_tuple_memory);
        }
    }
}

/// # Safety
/// `estate` must be a live executor state.
pub(super) unsafe fn per_tuple_context(estate: *mut pg_sys::EState) -> *mut pg_sys::ExprContext {
    // SAFETY: the caller's contract; GetPerTupleExprContext in executor/executor.h.
    unsafe {
        if (*estate).es_per_tuple_exprcontext.is_null() {
            pg_sys::MakePerTupleExprContext(estate)
        } else {
            (*estate).es_per_tuple_exprcontext
        }
    }
}

/// Empties a slot (ExecClearTuple in executor/tuptable.h).
///
/// # Safety
/// `slot` must be a live slot.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub(super) unsafe fn clear_slot(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the caller's contract; every slot type has a clear callback.
    unsafe {
        let clear = (*(*slot).tts_ops).clear.expect("a slot type has clear");
        pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
    }
}
