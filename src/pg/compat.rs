//! What differs between PostgreSQL 15 … 18: every function here presents the newest version's face.

pub mod bitmap;
pub mod file;
pub mod heap_slot;
pub mod tree_walker;

use pgrx::pg_sys;

/// Attribute `index` (from 0) of a descriptor: 18 keeps compact copies in front of the full ones.
///
/// # Safety
/// `index` must be less than the descriptor's `natts`.
pub unsafe fn tuple_desc_attr(
    desc: pg_sys::TupleDesc,
    index: usize,
) -> *mut pg_sys::FormData_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: attrs has natts elements; the caller keeps index below.
    unsafe {
        (*desc).attrs.as_mut_ptr().add(index)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the full attributes follow natts compact ones (TupleDescAttr in access/tupdesc.h).
    unsafe {
        let natts = (*desc).natts as usize;
        (*desc)
            .compact_attrs
            .as_mut_ptr()
            .add(natts)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(index)
    }
}

/// Raises PostgreSQL's error where its current user, or the owner of a view it reads, has no right to a query's relations (executor/execMain.c). Partitions, which
/// planning adds to them, are under their root's rights.
///
/// # Safety
/// `query` must be one that the planner is at.
pub unsafe fn check_rights(query: *mut pg_sys::Query) {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ExecCheckRTPerms((*query).rtable, true);
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ExecCheckPermissions((*query).rtable, (*query).rteperminfos, true);
    }
}

/// Begins an index scan for `keys` equality or range keys, no order-by.
///
/// # Safety
/// Both relations must be open and locked, the snapshot registered or active for the scan's life.
pub unsafe fn index_beginscan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::index_beginscan(heap, index, snapshot, keys, 0)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's contract; no instrumentation is asked for.
    unsafe {
        pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, 0)
    }
}

/// Does any unique index already hold this slot's key? Returns true if not; else `conflict` names the row.
///
/// # Safety
/// As ExecCheckIndexConstraints (executor/execIndexing.c): indexes opened with speculative = true.
pub unsafe fn check_index_constraints(
    result_relation: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    conflict: *mut pg_sys::ItemPointerData,
    arbiters: *mut pg_sys::List,
) -> bool {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ExecCheckIndexConstraints(result_relation, slot, estate, conflict, arbiters)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's contract; an invalid tupleid means the tuple is not yet in the table.
    unsafe {
        let mut none = pg_sys::ItemPointerData::default();
        pg_sys::ExecCheckIndexConstraints(
            result_relation,
            slot,
            estate,
            conflict,
            &raw mut none,
            arbiters,
        )
    }
}

/// Inserts index entries for a tuple. `update_indexes` is what table_tuple_update answered, 0 for an insert.
///
/// # Safety
/// As ExecInsertIndexTuples (executor/execIndexing.c).
pub unsafe fn insert_index_tuples(
    result_relation: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    update_indexes: u32,
    speculative_conflict: Option<&mut bool>,
    arbiters: *mut pg_sys::List,
) {
    let speculative = speculative_conflict.is_some();
    let conflict = speculative_conflict.map_or(std::ptr::null_mut(), |flag| flag as *mut bool);
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ExecInsertIndexTuples(
            result_relation,
            slot,
            estate,
            update_indexes != 0,
            speculative,
            conflict,
            arbiters,
        );
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ExecInsertIndexTuples(
            result_relation,
            slot,
            estate,
            update_indexes != 0,
            speculative,
            conflict,
            arbiters,
            update_indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing,
        );
    }
}

/// Updates a locked tuple; `update_indexes` answers 0 where no index entry is needed (a HOT update).
///
/// # Safety
/// As table_tuple_update (access/tableam.h).
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub unsafe fn table_tuple_update(
    relation: pg_sys::Relation,
    tid: *mut pg_sys::ItemPointerData,
    slot: *mut pg_sys::TupleTableSlot,
    command: pg_sys::CommandId,
    snapshot: pg_sys::Snapshot,
    failure: *mut pg_sys::TM_FailureData,
    update_indexes: &mut u32,
) -> pg_sys::TM_Result::Type {
    let mut lock_mode = pg_sys::LockTupleMode::LockTupleExclusive;
    #[cfg(feature = "pg15")]
    let mut indexes = false;
    #[cfg(not(feature = "pg15"))]
    let mut indexes = pg_sys::TU_UpdateIndexes::TU_None;
    // SAFETY: the caller's contract; every table has a table access method with all callbacks set.
    let result = unsafe {
        let update = (*(*relation).rd_tableam)
            .tuple_update
            .expect("a table access method has tuple_update");
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            update(
                relation,
                tid,
                slot,
                command,
                snapshot,
                std::ptr::null_mut(),
                true,
                failure,
                &raw mut lock_mode,
                &raw mut indexes,
            )
        })
    };
    #[cfg(feature = "pg15")]
    let indexes = u32::from(indexes);
    *update_indexes = indexes;
    result
}

/// The schema an extension was created in.
///
/// # Safety
/// Catalog access must be possible: inside a transaction.
#[cfg(not(feature = "pg15"))]
pub unsafe fn extension_schema(extension: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: answers InvalidOid for an unknown extension.
    unsafe { pg_sys::get_extension_schema(extension) }
}

/// The schema an extension was created in (pg_extension.extnamespace).
///
/// # Safety
/// Catalog access must be possible: inside a transaction.
#[cfg(feature = "pg15")]
pub unsafe fn extension_schema(extension: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: pg_extension is a catalog with an index on oid; the row is read before the scan ends.
    unsafe {
        let relation = pg_sys::table_open(
            pg_sys::ExtensionRelationId,
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
        );
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            pg_sys::Anum_pg_extension_oid as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(extension),
        );
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::Oid::from(pg_sys::ExtensionOidIndexId),
            true,
            std::ptr::null_mut(),
            1,
            &raw mut key,
        );
        let tuple = pg_sys::systable_getnext(scan);
        let schema = if tuple.is_null() {
            pg_sys::InvalidOid
        } else {
            (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_extension>()).extnamespace
        };
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        schema
    }
}

/// Scans in a relation's pending statistics.
pub fn scans(statistics: &mut pg_sys::PgStat_TableStatus) -> &mut pg_sys::PgStat_Counter {
    #[cfg(feature = "pg15")]
    {
        &mut statistics.t_counts.t_numscans
    }
    #[cfg(not(feature = "pg15"))]
    {
        &mut statistics.counts.numscans
    }
}

/// Rows fetched by their places, likewise.
pub fn fetched(statistics: &mut pg_sys::PgStat_TableStatus) -> &mut pg_sys::PgStat_Counter {
    #[cfg(feature = "pg15")]
    {
        &mut statistics.t_counts.t_tuples_fetched
    }
    #[cfg(not(feature = "pg15"))]
    {
        &mut statistics.counts.tuples_fetched
    }
}

/// When a relation was last scanned; never is None.
pub fn last_scan(entry: &pg_sys::PgStat_StatTabEntry) -> Option<i64> {
    #[cfg(feature = "pg15")]
    {
        let _ = entry;
        None
    }
    #[cfg(not(feature = "pg15"))]
    {
        Some(entry.lastscan).filter(|&at| at != 0)
    }
}

/// Counts parallel workers in the database's statistics, as parallel plans do since 18.
#[cfg_attr(
    not(feature = "pg18"),
    expect(unused_variables, reason = "not counted before")
)]
pub fn count_workers(planned: i32, launched: i32) {
    #[cfg(feature = "pg18")]
    // SAFETY: adds to this backend's pending counts.
    unsafe {
        pg_sys::pgstat_update_parallel_workers_stats(planned.into(), launched.into());
    }
}

/// debug_parallel_query, which was force_parallel_mode until 15: is it on, or regress?
pub fn is_parallel_forced() -> bool {
    // SAFETY: reads a setting.
    unsafe {
        #[cfg(feature = "pg15")]
        let (setting, off) = (
            pg_sys::force_parallel_mode,
            pg_sys::ForceParallelMode::FORCE_PARALLEL_OFF,
        );
        #[cfg(not(feature = "pg15"))]
        let (setting, off) = (
            pg_sys::debug_parallel_query,
            pg_sys::DebugParallelMode::DEBUG_PARALLEL_OFF,
        );
        setting != off as i32
    }
}

/// May `role` do this with a schema?
///
/// # Safety
/// `schema` must name one.
pub unsafe fn schema_aclcheck(
    schema: pg_sys::Oid,
    role: pg_sys::Oid,
    mode: pg_sys::AclMode,
) -> bool {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's contract.
    let result = unsafe { pg_sys::pg_namespace_aclcheck(schema, role, mode) };
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's contract.
    let result =
        unsafe { pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, mode) };
    result == pg_sys::AclResult::ACLCHECK_OK
}

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

/// Is old_snapshot_threshold set? 17 has it no more.
pub fn snapshots_expire() -> bool {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: reads a setting.
    unsafe {
        pg_sys::old_snapshot_threshold >= 0
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    false
}

/// The next datum of a sort, freshly allocated; None behind the last.
///
/// # Safety
/// `state` must be a finished sort of datums of a type passed by reference, none of them NULL.
pub unsafe fn next_sorted_datum(state: *mut pg_sys::Tuplesortstate) -> Option<pg_sys::Datum> {
    let (mut datum, mut is_null) = (pg_sys::Datum::null(), false);
    // SAFETY: the caller's contract; until 15 there was no choice but a copy.
    let is_there = unsafe {
        let (datum, is_null, abbreviated) =
            (&raw mut datum, &raw mut is_null, std::ptr::null_mut());
        #[cfg(feature = "pg15")]
        {
            pg_sys::tuplesort_getdatum(state, true, datum, is_null, abbreviated)
        }
        #[cfg(not(feature = "pg15"))]
        {
            pg_sys::tuplesort_getdatum(state, true, true, datum, is_null, abbreviated)
        }
    };
    is_there.then_some(datum)
}

/// Sleeps as VACUUM's cost settings ask, after a check for interrupts.
///
/// # Safety
/// Inside a transaction; no lock on a buffer is held.
pub unsafe fn vacuum_delay_point() {
    // SAFETY: the caller's contract.
    unsafe {
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
    }
}
