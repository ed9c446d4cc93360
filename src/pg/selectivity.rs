//! A planner support function's request and answer: what share of the rows a call of a function lets through (nodes/supportnodes.h).

use super::json;
use super::pg_list;
use super::sql_type::stand_for;
use core::ffi::c_int;
use core::marker::PhantomData;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys::{self, NodeTag};

/// What the planner asks of a support function.
pub struct SupportRequest<'fcx> {
    node: *mut pg_sys::Node,
    call: PhantomData<&'fcx ()>,
}

/// What ANALYZE keeps of a column of `jsonb`: bytes behind the header of some values.
#[derive(Default)]
pub struct ColumnSample {
    /// The share of rows that have none.
    pub nulls: f64,
    /// The most common values and their shares of all rows.
    pub common: Vec<(Vec<u8>, f64)>,
    /// Some of the other values, each standing for as many rows.
    pub others: Vec<Vec<u8>>,
}

/// The request, answered, or null: not understood.
pub struct SupportAnswer(pg_sys::Datum);

impl SupportRequest<'_> {
    /// Answers for a condition on a column of `jsonb` (the first argument) and a constant `jsonb` (the second): `estimate` is asked with what
    /// is known of the column and the bytes of the constant. Whatever else is asked is not understood, nor what has no estimate, and
    /// PostgreSQL guesses.
    pub fn selectivity(
        self,
        estimate: impl FnOnce(ColumnSample, &[u8]) -> Option<f64>,
    ) -> SupportAnswer {
        let not_understood = SupportAnswer(pg_sys::Datum::null());
        // SAFETY: the planner passes a live node of the kind its tag tells, whose fields are as PostgreSQL's manual says.
        unsafe {
            if self.node.is_null() || (*self.node).type_ != NodeTag::T_SupportRequestSelectivity {
                return not_understood;
            }
            let request = &mut *self.node.cast::<pg_sys::SupportRequestSelectivity>();
            let arguments = (
                pg_list::member::<pg_sys::Node>(request.args, 0),
                pg_list::member::<pg_sys::Node>(request.args, 1),
            );
            let (Some(column), Some(value), false) = (arguments.0, arguments.1, request.is_join)
            else {
                return not_understood;
            };
            let value = pg_sys::estimate_expression_value(request.root, value);
            let constant = value.cast::<pg_sys::Const>();
            if (*value).type_ != NodeTag::T_Const
                || (*constant).constisnull
                || (*constant).consttype != pg_sys::JSONBOID
            {
                return not_understood;
            }
            let sample = sample_of(request, column);
            let bytes = json::payload_of_datum((*constant).constvalue);
            let Some(share) = estimate(sample, &bytes) else {
                return not_understood;
            };
            request.selectivity = share;
            SupportAnswer(pg_sys::Datum::from(self.node))
        }
    }
}

/// What ANALYZE found of a column, as far as the user may know it; nothing if it is no column or was not analysed.
///
/// # Safety
/// The request is the planner's, and `column` an argument of it.
unsafe fn sample_of(
    request: &pg_sys::SupportRequestSelectivity,
    column: *mut pg_sys::Node,
) -> ColumnSample {
    let mut sample = ColumnSample::default();
    // SAFETY: examine_variable fills the struct; a statistics row that it found is let go of by the function it names, as
    // ReleaseVariableStats (utils/selfuncs.h) does.
    unsafe {
        let mut found = pg_sys::VariableStatData::default();
        pg_sys::examine_variable(request.root, column, request.varRelid, &raw mut found);
        let row = found.statsTuple;
        if row.is_null() {
            return sample;
        }
        if found.vartype == pg_sys::JSONBOID
            && pg_sys::statistic_proc_security_check(&raw mut found, request.funcid)
        {
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_statistic>();
            sample.nulls = f64::from(form.stanullfrac);
            slot(row, pg_sys::STATISTIC_KIND_MCV, |document, share| {
                sample.common.push((document, f64::from(share)));
            });
            slot(row, pg_sys::STATISTIC_KIND_HISTOGRAM, |document, _| {
                sample.others.push(document);
            });
        }
        if let Some(release) = found.freefunc {
            #[allow(ffi_unwind_calls, reason = "guarded")]
            pg_sys::ffi::pg_guard_ffi_boundary(|| release(row));
        }
    }
    sample
}

/// Each value of one kind of statistics, with its number if they have any.
///
/// # Safety
/// `row` is a row of pg_statistic about a column of `jsonb`.
unsafe fn slot(row: pg_sys::HeapTuple, kind: u32, mut each: impl FnMut(Vec<u8>, f32)) {
    let mut slot = pg_sys::AttStatsSlot::default();
    let mut flags = pg_sys::ATTSTATSSLOT_VALUES;
    if kind == pg_sys::STATISTIC_KIND_MCV {
        flags |= pg_sys::ATTSTATSSLOT_NUMBERS;
    }
    // SAFETY: by the caller's promise; what is found has so many values and numbers, until it is freed.
    unsafe {
        let (kind, flags) = (kind as c_int, flags as c_int);
        if !pg_sys::get_attstatsslot(&raw mut slot, row, kind, pg_sys::InvalidOid, flags) {
            return;
        }
        let count = |number: c_int| usize::try_from(number).unwrap_or(0);
        for at in 0..count(slot.nvalues) {
            let number = if at < count(slot.nnumbers) {
                *slot.numbers.add(at)
            } else {
                0.0
            };
            each(json::payload_of_datum(*slot.values.add(at)), number);
        }
        pg_sys::free_attstatsslot(&raw mut slot);
    }
}

// SAFETY: what is handed out lives as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for SupportRequest<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: by the caller's promise an `internal`, which of a support function is a pointer to a node.
        let datum = unsafe { arg.unbox_arg_using_from_datum::<pg_sys::Datum>() };
        Self {
            node: datum.unwrap_or(pg_sys::Datum::null()).cast_mut_ptr(),
            call: PhantomData,
        }
    }
}

// SAFETY: a support function answers with its request or a null pointer.
unsafe impl BoxRet for SupportAnswer {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `internal`.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

stand_for!("internal": SupportRequest<'_>, SupportAnswer);
