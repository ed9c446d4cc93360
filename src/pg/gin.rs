//! Which rows a GIN index on a column of `jsonb` finds for the predicate of a jsonpath.

use super::compat::bitmap;
use super::heap::{Snapshot, Tid};
use super::memory;
use super::relation::{LockMode, Oid, Relation};
use pgrx::pg_sys;
use std::ffi::CString;

/// The operator families of `jsonb_ops` and `jsonb_path_ops` under GIN; built-in ones keep their OIDs for ever (pg_opfamily.dat).
const FAMILIES: [u32; 2] = [4036, 4037];

/// Which index was asked, and the places of the rows.
pub type Matching = (String, Vec<Tid>);

/// The rows for which a predicate on the column of an index may be true, if it can tell them, queries may go by it, and they are no more than `most`.
pub fn matching(index: Oid, predicate: &str, most: usize) -> Option<Matching> {
    let lock = LockMode::AccessShare;
    let index = Relation::try_open_any(index, lock)?.unlock_on_drop(lock);
    if !index.is_usable() {
        return None;
    }
    let rows = rows_matching(&index, predicate, most)?;
    Some((index.name(), rows))
}

/// Is it a GIN index on that column of its table, on all rows, valid or not?
pub fn is_gin_on(index: &Relation, column: i16) -> bool {
    index.is_of_all_rows(pg_sys::GIN_AM_OID)
        && index.key_column() == column
        && FAMILIES.map(Oid::from).contains(&index.key_family())
}

/// The places of the rows for which the predicate may be true: they are to be looked at again. None if they are more than `most`.
fn rows_matching(index: &Relation, predicate: &str, most: usize) -> Option<Vec<Tid>> {
    let text = CString::new(predicate).ok()?;
    let mut found = Vec::new();
    // SAFETY: the index is open and locked, its first column is of jsonb_ops or jsonb_path_ops, which have the operator @@ under this
    // number (jsonb.h), whose right side is a jsonpath; the active snapshot outlives the scan.
    let exact = unsafe {
        let path = pg_sys::OidFunctionCall1Coll(
            pg_sys::Oid::from(pg_sys::F_JSONPATH_IN),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(text.as_ptr()),
        );
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            1,
            pg_sys::JsonbJsonpathPredicateStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_JSONB_PATH_MATCH_OPR),
            path,
        );
        let scan = bitmap::begin_scan(index.raw(), Snapshot::active().raw());
        pg_sys::index_rescan(scan, &raw mut key, 1, std::ptr::null_mut(), 0);
        let tuples = pg_sys::tbm_create(memory::work_mem() as _, std::ptr::null_mut());
        let count = pg_sys::index_getbitmap(scan, tuples);
        pg_sys::index_endscan(scan);
        let few = usize::try_from(count).is_ok_and(|count| count <= most);
        let exact = few
            && bitmap::each_tuple(tuples, &mut |block, offset| {
                found.push(Tid { block, offset });
            });
        pg_sys::tbm_free(tuples);
        exact
    };
    exact.then_some(found)
}
