//! What a custom scan may do while it runs: evaluate its values, scan its table, fetch a row again.

use super::heap::Tid;
use super::pg_list;
use super::relation::Relation;
use super::table_scan::{IndexFetch, TableScan};
use super::vector_datum::VectorArg;
use crate::error::Error;
use core::marker::PhantomData;
use pgrx::PgMemoryContexts;
use pgrx::datum::FromDatum;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::{self, Datum};

/// The compiled expressions of a custom scan.
#[derive(Default)]
pub(super) struct Values {
    quals: Option<*mut pg_sys::ExprState>,
    values: Vec<Value>,
}

struct Value {
    state: *mut pg_sys::ExprState,
    type_oid: pg_sys::Oid,
}

impl Values {
    /// Takes the quals over from the node (the scan evaluates them itself, once per row and pass, and ExecScan must
    /// not do it again), and compiles the plan's values: all its expressions but the first, the sort key.
    ///
    /// # Safety
    /// Called from `BeginCustomScan` with its node.
    pub(super) unsafe fn compile(node: *mut pg_sys::CustomScanState) -> Self {
        // SAFETY: the node is initialised; its plan is the CustomScan it was made for.
        unsafe {
            let planstate = &raw mut (*node).ss.ps;
            let plan = (*planstate).plan.cast::<pg_sys::CustomScan>();
            let quals = core::mem::replace(&mut (*planstate).qual, core::ptr::null_mut());
            let values = pg_list::members::<pg_sys::Expr>((*plan).custom_exprs)
                .skip(1)
                .map(|expression| Value {
                    state: pg_sys::ExecInitExpr(expression, planstate),
                    type_oid: pg_sys::exprType(expression.cast_const().cast()),
                })
                .collect();
            Self {
                quals: (!quals.is_null()).then_some(quals),
                values,
            }
        }
    }
}

/// A running custom scan.
pub struct Executor<'a> {
    pub(super) node: *mut pg_sys::CustomScanState,
    values: &'a Values,
    run: PhantomData<&'a mut ()>,
}

impl<'a> Executor<'a> {
    /// # Safety
    /// `node` is a running `CustomScanState` over one heap relation, `values` were compiled for it, and no other
    /// `Executor` of it is in use.
    pub(super) unsafe fn new(node: *mut pg_sys::CustomScanState, values: &'a Values) -> Self {
        Self {
            node,
            values,
            run: PhantomData,
        }
    }

    /// A copy of a value of a `vector` type; `None` if it is NULL.
    pub fn vector(&mut self, index: usize) -> Result<Option<Vec<f32>>, Error> {
        self.evaluate(index, |datum, is_null, type_oid| {
            // SAFETY: variable-length and aligned, as checked; the datum lives in the per-row memory, which is
            // current and not reset before the copy is made.
            unsafe {
                check_variable_length(pg_sys::get_typlen(type_oid), type_alignment(type_oid))?;
                Ok(VectorArg::from_datum(datum, is_null).map(|vector| vector.to_vec()))
            }
        })
    }

    /// A value of type `bigint`; `None` if it is NULL or not of that type.
    pub fn bigint(&mut self, index: usize) -> Result<Option<i64>, Error> {
        self.evaluate(index, |datum, is_null, type_oid| {
            let known = !is_null && type_oid == pg_sys::INT8OID;
            Ok(known.then(|| datum.value() as i64))
        })
    }

    /// What `read` makes of the bytes behind the header of a value of type `jsonb`; `None` if it is NULL or not of that type.
    pub fn jsonb<T>(
        &mut self,
        index: usize,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        self.evaluate(index, |datum, is_null, type_oid| {
            let known = !is_null && type_oid == pg_sys::JSONBOID;
            Ok(known.then(|| read(&super::json::payload_of_datum(datum))))
        })
    }

    fn evaluate<T>(
        &mut self,
        index: usize,
        read: impl FnOnce(Datum, bool, pg_sys::Oid) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.values.values.get(index) else {
            return Ok(None);
        };
        let context = self.context();
        let mut is_null = false;
        // SAFETY: the expression was compiled for this node; the per-row memory context lives as long as the node.
        unsafe {
            PgMemoryContexts::For((*context).ecxt_per_tuple_memory).switch_to(|_| {
                let datum = evaluate_guarded(value.state, context, &mut is_null);
                read(datum, is_null, value.type_oid)
            })
        }
    }

    /// Does the row in `slot` pass the quals?
    ///
    /// # Safety
    /// `slot` holds a row of the scanned relation.
    pub(super) unsafe fn row_passes(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(quals) = self.values.quals else {
            return true;
        };
        let context = self.context();
        let mut is_null = false;
        // SAFETY: compiled for this node; the slot is the caller's; quals read their row there.
        unsafe {
            (*context).ecxt_scantuple = slot;
            PgMemoryContexts::For((*context).ecxt_per_tuple_memory)
                .switch_to(|_| evaluate_guarded(quals, context, &mut is_null))
                .value()
                != 0
        }
    }

    /// The quals, null if there are none.
    pub(super) fn quals(&self) -> *mut pg_sys::ExprState {
        self.values.quals.unwrap_or(core::ptr::null_mut())
    }

    pub(super) fn context(&self) -> *mut pg_sys::ExprContext {
        // SAFETY: the node is live and initialised (see `new`).
        unsafe { (*self.node).ss.ps.ps_ExprContext }
    }

    /// All rows of the table that the query's snapshot sees and that pass the quals; `column` is read from each.
    pub fn table_scan(&mut self, column: i16) -> Result<TableScan<'_>, Error> {
        self.check(column)?;
        TableScan::begin(self.reborrow(), column)
    }

    /// The same of rows by their places.
    pub fn index_fetch(&mut self, column: i16) -> Result<IndexFetch<'_>, Error> {
        self.check(column)?;
        IndexFetch::begin(self.reborrow(), column)
    }

    fn check(&self, column: i16) -> Result<(), Error> {
        // SAFETY: the node has its relation open.
        unsafe { check_column((*(*self.node).ss.ss_currentRelation).rd_att, column) }
    }

    /// The table that is scanned.
    pub fn table(&self) -> Relation {
        // SAFETY: open as long as the node runs, which `self` does not outlive.
        unsafe { Relation::borrowed((*self.node).ss.ss_currentRelation) }
    }

    pub(super) fn estate(&self) -> *mut pg_sys::EState {
        // SAFETY: the node is live.
        unsafe { (*self.node).ss.ps.state }
    }

    /// Adds to the rows that EXPLAIN ANALYZE shows as removed by the filter.
    pub(super) fn count_filtered(&self, rows: u64) {
        // SAFETY: the node is live; it has no counters unless they are asked for.
        unsafe {
            let instrument = (*self.node).ss.ps.instrument;
            if !instrument.is_null() {
                (*instrument).nfiltered1 += rows as f64;
            }
        }
    }

    fn reborrow(&mut self) -> Executor<'_> {
        Executor {
            node: self.node,
            values: self.values,
            run: PhantomData,
        }
    }

    /// Puts a row that was seen by a scan of this run into the scan slot.
    pub fn fetch(&mut self, row: Tid) -> Result<(), Error> {
        let mut tid = row.to_raw();
        // SAFETY: as in `table_scan`; the slot is of the relation's kind. The row was visible to the same snapshot,
        // which holds it in place.
        let found = unsafe {
            let scan = &raw mut (*self.node).ss;
            let relation = (*scan).ss_currentRelation;
            let fetch = (*(*relation).rd_tableam)
                .tuple_fetch_row_version
                .ok_or_else(not_a_table)?;
            let snapshot = (*(*scan).ps.state).es_snapshot;
            let slot = (*scan).ss_ScanTupleSlot;
            #[allow(ffi_unwind_calls, reason = "guarded")]
            pg_guard_ffi_boundary(|| fetch(relation, &raw mut tid, snapshot, slot))
        };
        if found {
            Ok(())
        } else {
            Err(Error::Corrupted {
                what: "a row seen by this query's snapshot cannot be found again".into(),
            })
        }
    }
}

/// # Safety
/// The expression and the context belong to one running node; the current memory context takes the result.
unsafe fn evaluate_guarded(
    expression: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
    is_null: &mut bool,
) -> Datum {
    // SAFETY: by the caller's promise; the closure holds the call alone.
    unsafe {
        let Some(evaluate) = (*expression).evalfunc else {
            *is_null = true;
            return Datum::null();
        };
        #[allow(ffi_unwind_calls, reason = "guarded")]
        pg_guard_ffi_boundary(|| evaluate(expression, context, is_null))
    }
}

/// Empties a slot, letting go of its page.
///
/// # Safety
/// `slot` is a live slot.
pub(super) unsafe fn clear_slot(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: by the caller's promise; the closure holds the call alone.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            #[allow(ffi_unwind_calls, reason = "guarded")]
            pg_guard_ffi_boundary(|| clear(slot));
        }
    }
}

/// # Safety
/// `descriptor` is a live tuple descriptor.
unsafe fn check_column(descriptor: pg_sys::TupleDesc, column: i16) -> Result<(), Error> {
    // SAFETY: by the caller's promise; the number is checked before the attribute is looked at.
    unsafe {
        let position = usize::try_from(column - 1).ok();
        let count = usize::try_from((*descriptor).natts).unwrap_or(0);
        match position {
            Some(position) if position < count => {
                let attribute = super::compat::tuple_desc_attr(descriptor, position);
                check_variable_length((*attribute).attlen, (*attribute).attalign)
            }
            _ => Err(not_a_vector()),
        }
    }
}

fn check_variable_length(length: i16, alignment: core::ffi::c_char) -> Result<(), Error> {
    let aligned = matches!(
        alignment as u8,
        pg_sys::TYPALIGN_INT | pg_sys::TYPALIGN_DOUBLE
    );
    if length == -1 && aligned {
        Ok(())
    } else {
        Err(not_a_vector())
    }
}

/// # Safety
/// Inside a transaction.
unsafe fn type_alignment(type_oid: pg_sys::Oid) -> core::ffi::c_char {
    let (mut length, mut by_value, mut alignment) = (0, false, 0);
    // SAFETY: three places to write to; a catalog lookup inside a transaction.
    unsafe {
        pg_sys::get_typlenbyvalalign(
            type_oid,
            &raw mut length,
            &raw mut by_value,
            &raw mut alignment,
        );
    }
    alignment
}

#[cold]
fn not_a_vector() -> Error {
    Error::Corrupted {
        what: "a plan that reads vectors from a column or value of another type".into(),
    }
}

#[cold]
pub(super) fn not_a_table() -> Error {
    Error::Corrupted {
        what: "a plan that scans what is not a table".into(),
    }
}
