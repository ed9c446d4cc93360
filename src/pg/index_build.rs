//! Reading a table for a new index: all rows that belong in it, and a sample of them before.

use super::heap::Tid;
use super::index_am::{FIRST_PHASE, IndexRow, column_count};
use super::relation::Relation;
use super::report::OrReport;
use crate::error::Error;
use core::ffi::c_void;
use pgrx::pg_guard;
use pgrx::pg_sys;

/// An index being built or looked over, its table, and PostgreSQL's description of what belongs in it.
pub struct IndexBuild {
    pub heap: Relation,
    pub index: Relation,
    info: *mut pg_sys::IndexInfo,
    /// Rows on a page, by the last sample.
    rows_per_page: f64,
}

/// What is done with a row: `each(place, row)`.
type EachRow<'a> = dyn FnMut(Tid, IndexRow) -> Result<(), Error> + 'a;

/// What the callback gets: what to do with a row, and how many columns it has.
struct Visitor<'v, 'a> {
    each: &'v mut EachRow<'a>,
    columns: usize,
}

/// Pages of a run of the sample: enough that a run is cheap beside its beginning, few enough that runs lie everywhere.
const RUN_PAGES: u32 = 4;

impl IndexBuild {
    /// # Safety
    /// The arguments are those of `ambuild`, during its call.
    pub(super) unsafe fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
    ) -> IndexBuild {
        // SAFETY: open over the call.
        unsafe {
            IndexBuild {
                heap: Relation::borrowed(heap),
                index: Relation::borrowed(index),
                info,
                rows_per_page: 0.0,
            }
        }
    }

    /// Of an index that is there, to see what belongs in it. Both relations are locked by the caller.
    pub fn of_existing(heap: Relation, index: Relation) -> IndexBuild {
        // SAFETY: the index is open; the description is palloc'd. Taken for a concurrent build the rows are those of a snapshot
        // (as amcheck's bt_check_every_level has it).
        let info = unsafe {
            let info = pg_sys::BuildIndexInfo(index.raw());
            (*info).ii_Concurrent = true;
            info
        };
        IndexBuild {
            heap,
            index,
            info,
            rows_per_page: 0.0,
        }
    }

    /// Rows that belong in the index, estimated from the last sample.
    pub fn expected_rows(&self) -> u64 {
        (self.rows_per_page * f64::from(self.heap.blocks())) as u64
    }

    /// Tells pg_stat_progress_create_index which of the method's phases begins, from 0.
    pub fn begin_phase(&self, phase: usize) {
        // SAFETY: writes to this backend's slot of shared memory.
        unsafe {
            pg_sys::pgstat_progress_update_param(
                pg_sys::PROGRESS_CREATEIDX_SUBPHASE as i32,
                FIRST_PHASE + phase as i64,
            );
        }
    }

    /// Calls `each` with every row that belongs in the index, and answers how many rows the table has. Can be interrupted.
    pub fn scan(
        &mut self,
        each: &mut dyn FnMut(Tid, IndexRow) -> Result<(), Error>,
    ) -> Result<f64, Error> {
        Ok(self.scan_range(
            true,
            0,
            pg_sys::InvalidBlockNumber,
            std::ptr::null_mut(),
            each,
        ))
    }

    /// The same by one snapshot, taken before `first` is called: what is in the index by then has a row or had one.
    pub fn scan_after(
        &mut self,
        first: &mut dyn FnMut() -> Result<(), Error>,
        each: &mut dyn FnMut(Tid, IndexRow) -> Result<(), Error>,
    ) -> Result<f64, Error> {
        // SAFETY: the table is open; index_build_range_scan ends a scan it is given, and the snapshot is ours to unregister.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
            let scan = super::table_scan::begin_sequential(self.heap.raw(), snapshot)?;
            first()?;
            let rows = self.scan_range(false, 0, pg_sys::InvalidBlockNumber, scan, each);
            pg_sys::UnregisterSnapshot(snapshot);
            Ok(rows)
        }
    }

    /// About `wanted` rows from all over the table, or all of them if there are few.
    pub fn sample(
        &mut self,
        wanted: usize,
        each: &mut dyn FnMut(Tid, IndexRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let blocks = self.heap.blocks();
        let mut taken = 0;
        let mut count = |tid: Tid, row: IndexRow| {
            taken += 1;
            each(tid, row)
        };
        // The first run tells how many rows a page has.
        let none = std::ptr::null_mut();
        self.scan_range(false, 0, RUN_PAGES.min(blocks), none, &mut count);
        let per_run = taken.max(1);
        self.rows_per_page = taken as f64 / f64::from(RUN_PAGES.min(blocks).max(1));
        let runs = u32::try_from(wanted.div_ceil(per_run)).unwrap_or(u32::MAX);
        let rest = blocks.saturating_sub(RUN_PAGES);
        let stride = f64::from(rest) / f64::from(runs.max(1));
        let (step, length) = if stride <= f64::from(RUN_PAGES) {
            (rest, rest)
        } else {
            (stride as u32, RUN_PAGES)
        };
        let mut at = RUN_PAGES;
        while step > 0 && at < blocks {
            self.scan_range(false, at, length.min(blocks - at), none, &mut |tid, row| {
                each(tid, row)
            });
            at = at.saturating_add(step);
        }
        Ok(())
    }

    /// table_index_build_range_scan (access/tableam.h). The errors of `each` are raised.
    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn scan_range(
        &mut self,
        progress: bool,
        first: u32,
        blocks: u32,
        scan: pg_sys::TableScanDesc,
        each: &mut dyn FnMut(Tid, IndexRow) -> Result<(), Error>,
    ) -> f64 {
        if blocks == 0 {
            return 0.0;
        }
        let mut visitor = Visitor {
            each,
            columns: column_count(&self.index),
        };
        let state = (&raw mut visitor).cast::<c_void>();
        // Rows in the order of their places, so that the entries of neighbours are neighbours. A scan that is brought along has
        // its limits already, which the function takes for a synchronised one's.
        let (allow_sync, any_visible) = (!scan.is_null(), false);
        // SAFETY: the relations are open and locked by PostgreSQL; every table access method that can be indexed has the
        // callback; the visitor outlives the call, and an error in it unwinds to the guard of `visit`.
        unsafe {
            let (heap, index, info) = (self.heap.raw(), self.index.raw(), self.info);
            let scan_rows = (*(*heap).rd_tableam)
                .index_build_range_scan
                .expect("a table access method has index_build_range_scan");
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                scan_rows(
                    heap,
                    index,
                    info,
                    allow_sync,
                    any_visible,
                    progress,
                    first,
                    blocks,
                    Some(visit),
                    state,
                    scan,
                )
            })
        }
    }
}

/// Tells pg_stat_progress_create_index how many rows were taken in.
pub fn report_rows(rows: u64) {
    // SAFETY: writes to this backend's slot of shared memory.
    unsafe {
        pg_sys::pgstat_progress_update_param(
            pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE as i32,
            rows as i64,
        );
    }
}

/// IndexBuildCallback: one row.
#[pg_guard]
unsafe extern "C-unwind" fn visit(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    _alive: bool,
    state: *mut c_void,
) {
    // SAFETY: the state is the visitor of `scan_range`, whom nobody else uses meanwhile; the arrays have an element for each
    // column of the index and live over the call.
    unsafe {
        let visitor = &mut *state.cast::<Visitor<'_, '_>>();
        let row = IndexRow::new(values, nulls, visitor.columns);
        (visitor.each)(Tid::from_raw(*tid), row).or_report();
    }
}
