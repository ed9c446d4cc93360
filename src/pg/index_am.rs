//! An index access method (access/amapi.h): the safe trait a method implements, and the trampolines PostgreSQL calls.
//!
//! Scans are not offered through it: `amgettuple` and `amgetbitmap` are NULL, so that the planner makes no index paths. The rows of an
//! index in order are the business of the extension's own plan node, which may widen its search and knows its LIMIT.

use super::column::StoredValue;
use super::heap::Tid;
use super::index_build::IndexBuild;
use super::index_vacuum::IndexVacuum;
use super::relation::{Oid, Relation};
use super::report::OrReport;
use crate::error::Error;
use core::ffi::{CStr, c_char, c_int, c_void};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, NodeTag};
use std::sync::OnceLock;

/// What an access method does.
pub trait IndexAm: 'static {
    /// Names of a build's phases after PostgreSQL's first two, for pg_stat_progress_create_index.
    const PHASES: &'static [&'static CStr];
    /// Fills a new index with the rows of its table.
    fn build(build: &mut IndexBuild) -> Result<Built, Error>;
    /// The one page of an empty index.
    fn empty_page(index: &Relation) -> Result<Vec<u8>, Error>;
    /// Adds the entry of a new row version.
    fn insert(index: &Relation, tid: Tid, row: IndexRow) -> Result<(), Error>;
    /// Removes the entries of which `is_dead` says so.
    fn remove(vacuum: &mut IndexVacuum, is_dead: &mut dyn FnMut(Tid) -> bool) -> Result<(), Error>;
    /// The end of a VACUUM: packs, frees, counts.
    fn clean_up(vacuum: &mut IndexVacuum) -> Result<(), Error>;
    /// Is the operator class of this family one of ours?
    fn is_valid_family(family: Oid) -> bool;
}

/// What a build came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Built {
    /// Rows read from the table.
    pub rows: f64,
    /// Entries written.
    pub entries: f64,
}

/// A row as an index takes it: its key, and its first included column.
#[derive(Clone, Copy)]
pub struct IndexRow {
    /// The key; None if it is NULL.
    pub key: Option<StoredValue>,
    /// The included column; None if it is NULL or there is none.
    pub included: Option<StoredValue>,
}

impl IndexRow {
    /// # Safety
    /// `values` and `nulls` are of the columns of an index of one variable-length key and `columns` columns in all, and
    /// outlive what is made of them.
    pub(super) unsafe fn new(
        values: *const pg_sys::Datum,
        nulls: *const bool,
        columns: usize,
    ) -> IndexRow {
        // SAFETY: by the caller's promise.
        let column = |at: usize| unsafe {
            (at < columns && !*nulls.add(at)).then(|| StoredValue::new(*values.add(at)))
        };
        IndexRow {
            key: column(0),
            included: column(1),
        }
    }
}

/// Columns of an index, key and included.
pub(super) fn column_count(index: &Relation) -> usize {
    usize::try_from(index.column_count()).unwrap_or(0)
}

/// The routines of an access method, as its handler function answers them.
pub fn routine<T: IndexAm>() -> pgrx::Internal {
    // SAFETY: a zeroed node is a valid one: all callbacks NULL, all flags false.
    let routine = unsafe {
        let node = pg_sys::palloc0(size_of::<pg_sys::IndexAmRoutine>());
        *node.cast::<NodeTag>() = NodeTag::T_IndexAmRoutine;
        &mut *node.cast::<pg_sys::IndexAmRoutine>()
    };
    routine.amstrategies = 1;
    routine.amcanorderbyop = true;
    routine.amoptionalkey = true;
    routine.amcaninclude = true;
    routine.amkeytype = pg_sys::InvalidOid;
    routine.ambuild = Some(build::<T>);
    routine.ambuildempty = Some(build_empty::<T>);
    routine.aminsert = Some(insert::<T>);
    routine.ambulkdelete = Some(bulk_delete::<T>);
    routine.amvacuumcleanup = Some(vacuum_cleanup::<T>);
    routine.amcostestimate = Some(cost_estimate);
    routine.amoptions = Some(options);
    routine.ambuildphasename = Some(phase_name::<T>);
    routine.amvalidate = Some(validate::<T>);
    pgrx::Internal::from(Some(pg_sys::Datum::from(
        std::ptr::from_mut(routine).cast::<c_void>(),
    )))
}

/// "Build a new index. The index relation has been physically created, but is empty."
#[pg_guard]
unsafe extern "C-unwind" fn build<T: IndexAm>(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: PostgreSQL keeps both relations open and locked over the call; the result is palloc'd as it asks.
    unsafe {
        let built = T::build(&mut IndexBuild::new(heap, index, info)).or_report();
        let result = pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>())
            .cast::<pg_sys::IndexBuildResult>();
        (*result).heap_tuples = built.rows;
        (*result).index_tuples = built.entries;
        result
    }
}

/// "Build an empty index, and write it to the initialization fork (INIT_FORKNUM) of the given relation."
#[pg_guard]
unsafe extern "C-unwind" fn build_empty<T: IndexAm>(index: pg_sys::Relation) {
    // SAFETY: open over the call.
    let index = unsafe { Relation::borrowed(index) };
    let page = T::empty_page(&index).or_report();
    super::index_pages::write_init_fork(&index, &page);
}

/// "Insert a new tuple into an existing index."
#[pg_guard]
#[expect(clippy::too_many_arguments, reason = "PostgreSQL's own")]
unsafe extern "C-unwind" fn insert<T: IndexAm>(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _unchanged: bool,
    _info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL's arguments are live over the call; the arrays have an element for each column.
    unsafe {
        let index = Relation::borrowed(index);
        let row = IndexRow::new(values, nulls, column_count(&index));
        T::insert(&index, Tid::from_raw(*tid), row).or_report();
    }
    false // nothing unique is checked
}

/// "Delete tuple(s) from the index."
#[pg_guard]
unsafe extern "C-unwind" fn bulk_delete<T: IndexAm>(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL's arguments are live over the call.
    let mut vacuum = unsafe { IndexVacuum::new(info, stats) };
    let mut is_dead = |tid: Tid| {
        let mut tid = tid.to_raw();
        // SAFETY: the callback takes any TID, and the state that came with it.
        #[allow(ffi_unwind_calls, reason = "guarded")]
        unsafe {
            callback.is_some_and(|callback| {
                pg_sys::ffi::pg_guard_ffi_boundary(|| callback(&raw mut tid, state))
            })
        }
    };
    T::remove(&mut vacuum, &mut is_dead).or_report();
    vacuum.into_stats()
}

/// "Clean up after a VACUUM operation (zero or more ambulkdelete calls)."
#[pg_guard]
unsafe extern "C-unwind" fn vacuum_cleanup<T: IndexAm>(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL's argument is live over the call.
    if unsafe { (*info).analyze_only } {
        return stats;
    }
    // SAFETY: as above.
    let mut vacuum = unsafe { IndexVacuum::new(info, stats) };
    T::clean_up(&mut vacuum).or_report();
    vacuum.into_stats()
}

/// "Estimate the costs of an index scan": of none, for there are none. PostgreSQL asks before it looks whether there may be.
#[pg_guard]
#[expect(clippy::too_many_arguments, reason = "PostgreSQL's own")]
unsafe extern "C-unwind" fn cost_estimate(
    _root: *mut pg_sys::PlannerInfo,
    _path: *mut pg_sys::IndexPath,
    _loop_count: f64,
    startup: *mut pg_sys::Cost,
    total: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: five places to write to.
    unsafe {
        *startup = 0.0;
        *total = 0.0;
        *selectivity = 1.0;
        *correlation = 0.0;
        *pages = 0.0;
    }
}

/// "Parse and validate the reloptions array": there are none to choose.
#[pg_guard]
unsafe extern "C-unwind" fn options(options: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    static KIND: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();
    // SAFETY: a kind is taken once a process; the table of options is empty. The struct behind the result is no longer than its
    // header, which the size says.
    unsafe {
        let kind = *KIND.get_or_init(|| pg_sys::add_reloption_kind());
        pg_sys::build_reloptions(
            options,
            validate,
            kind,
            size_of::<c_int>(),
            std::ptr::null(),
            0,
        )
        .cast()
    }
}

/// "Return the textual name of the given build phase number."
#[pg_guard]
unsafe extern "C-unwind" fn phase_name<T: IndexAm>(phase: i64) -> *mut c_char {
    let name = if phase == i64::from(pg_sys::PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE) {
        Some(c"initializing")
    } else {
        let phase = phase - FIRST_PHASE;
        usize::try_from(phase)
            .ok()
            .and_then(|at| T::PHASES.get(at).copied())
    };
    name.map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut())
}

/// The number of the first of [`IndexAm::PHASES`]; 1 is PostgreSQL's own.
pub(super) const FIRST_PHASE: i64 = pg_sys::PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE as i64 + 1;

/// "Validate the catalog entries for the specified operator class."
#[pg_guard]
unsafe extern "C-unwind" fn validate<T: IndexAm>(opclass: pg_sys::Oid) -> bool {
    // SAFETY: a syscache lookup.
    T::is_valid_family(unsafe { pg_sys::get_opclass_family(opclass) })
}
