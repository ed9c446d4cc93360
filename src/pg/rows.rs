//! What set-returning functions answer: all rows at once, in a tuplestore.
//!
//! PostgreSQL collects the rows of a function in FROM there anyway (ExecMakeTableFunctionResult in execSRF.c). Handing them over one a call, as pgrx does, took
//! a tenth of the time of a query for ten rows.

use pgrx::callconv::RetAbi;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys::{self, Datum};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

/// The rows of a function that is declared as pgrx's `TableIterator` is: under its name, for pgrx makes the columns of the SQL from it.
pub struct TableIterator<'a, Row>(Box<dyn Iterator<Item = Row> + 'a>);

impl<'a, Row> TableIterator<'a, Row> {
    /// Of these.
    pub fn new(rows: impl IntoIterator<Item = Row, IntoIter: 'a>) -> Self {
        Self(Box::new(rows.into_iter()))
    }
}

/// A row as values of its columns' types.
pub trait IntoDatums {
    /// How many columns it has.
    const COLUMNS: usize;

    /// Puts each value, or that it is null, in its place; what it takes is allocated in the current memory context.
    fn put(self, values: &mut [Datum], nulls: &mut [bool]);
}

macro_rules! into_datums {
    ($count:literal: $($column:ident $place:tt),*) => {
        impl<$($column: IntoDatum),*> IntoDatums for ($($column,)*) {
            const COLUMNS: usize = $count;

            fn put(self, values: &mut [Datum], nulls: &mut [bool]) {
                $(
                    let value = self.$place.into_datum();
                    nulls[$place] = value.is_none();
                    values[$place] = value.unwrap_or(Datum::null());
                )*
            }
        }
    };
}

into_datums!(2: A 0, B 1);
into_datums!(3: A 0, B 1, C 2);
into_datums!(4: A 0, B 1, C 2, D 3);
into_datums!(5: A 0, B 1, C 2, D 3, E 4);
into_datums!(6: A 0, B 1, C 2, D 3, E 4, F 5);
into_datums!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
into_datums!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
into_datums!(13: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);

/// More columns than any function has.
const MOST_COLUMNS: usize = 13;

/// Rows whose values are allocated before their memory is given back.
const BATCH: usize = 64;

// SAFETY: as InitMaterializedSRF in funcapi.c has it: the tuplestore and its descriptor live in the per-query memory of the caller, which is told of them.
unsafe impl<Row: IntoDatums> RetAbi for TableIterator<'_, Row> {
    type Item = Self;
    type Ret = Self;

    fn to_ret(self) -> Self {
        self
    }

    unsafe fn box_ret_in_fcinfo(fcinfo: pg_sys::FunctionCallInfo, rows: Self) -> Datum {
        // SAFETY: a set-returning function is called with a ReturnSetInfo, or else the error of InitMaterializedSRF is raised; its fields are set by
        // the caller. Values are copied into the tuplestore before their memory is reset.
        unsafe {
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let modes = pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32;
            if info.is_null()
                || (*info).allowedModes & modes == 0
                || (*info).expectedDesc.is_null()
                || (*(*info).expectedDesc).natts as usize != Row::COLUMNS
            {
                pgrx::ereport!(
                    ERROR,
                    pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "set-valued function called in context that cannot accept a set"
                );
            }
            let random = pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32;
            let random = (*info).allowedModes & random != 0;
            let caller = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            let columns = pg_sys::CreateTupleDescCopy((*info).expectedDesc);
            pg_sys::MemoryContextSwitchTo(caller);
            (*info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*info).setResult = store;
            (*info).setDesc = columns;
            put_all(rows, store, columns);
        }
        Datum::null()
    }

    unsafe fn move_into_fcinfo_fcx(self, _fcinfo: pg_sys::FunctionCallInfo) {}

    unsafe fn fill_fcinfo_fcx(&self, _fcinfo: pg_sys::FunctionCallInfo) {}
}

/// # Safety
/// The tuplestore takes rows of that description, which has as many columns as a row.
unsafe fn put_all<Row: IntoDatums>(
    rows: TableIterator<'_, Row>,
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
) {
    let (mut values, mut nulls) = ([Datum::null(); MOST_COLUMNS], [false; MOST_COLUMNS]);
    // SAFETY: by the caller's promise. The context is ours; an error leaves it to the one it is in.
    unsafe {
        let memory = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"rows of a conifer function".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let caller = pg_sys::MemoryContextSwitchTo(memory);
        for (number, row) in rows.0.enumerate() {
            row.put(&mut values, &mut nulls);
            pg_sys::tuplestore_putvalues(store, columns, values.as_mut_ptr(), nulls.as_mut_ptr());
            if number % BATCH == BATCH - 1 {
                pgrx::check_for_interrupts!();
                pg_sys::MemoryContextReset(memory);
            }
        }
        pg_sys::MemoryContextSwitchTo(caller);
        pg_sys::MemoryContextDelete(memory);
    }
}

// SAFETY: stands for the same SQL as pgrx's type of the name.
unsafe impl<'a, Row> SqlTranslatable for TableIterator<'a, Row>
where
    pgrx::iter::TableIterator<'a, Row>: SqlTranslatable,
{
    const TYPE_IDENT: &'static str =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::TYPE_ORIGIN;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::ARGUMENT_SQL;
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        <pgrx::iter::TableIterator<'a, Row> as SqlTranslatable>::RETURN_SQL;
}
