//! Tables looked at past this backend's caches: what is asked of 100,000 of them must not be remembered of each.
//!
//! PostgreSQL keeps what it has read of a relation until the relation changes (utils/cache/relcache.c): some 15 KB for a leaf with its indexes. Here the
//! catalogs are scanned instead, sizes are those of the files, and rows are counted on pages read without a relcache entry; and what a
//! leaf that has gone cold left in the caches is let go.

use super::heap::{self, Snapshot};
use super::index_relation::{FileId, access_method};
use super::recovery;
use super::relation::{LockMode, Oid};
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// What a row of pg_class says of a relation.
struct Class {
    oid: Oid,
    file: FileId,
    toast: Oid,
    kind: u8,
    access_method: Oid,
    is_permanent: bool,
}

/// A table under a lock that readers take, given back on drop.
pub struct UncachedTable {
    class: Class,
}

impl UncachedTable {
    /// Locks a table; None if it is gone.
    pub fn lock(oid: Oid) -> Option<Self> {
        let lock = LockMode::AccessShare.raw();
        // SAFETY: locking takes any OID.
        unsafe { pg_sys::LockRelationOid(oid, lock) };
        let class = class(oid);
        if class.is_none() {
            // SAFETY: locked above.
            unsafe { pg_sys::UnlockRelationOid(oid, lock) };
        }
        class.map(|class| Self { class })
    }

    /// An error if its contents are not on this server: it is unlogged, and this a standby.
    pub fn check_reach(&self) -> Result<(), Error> {
        recovery::check_reach(self.class.is_permanent)
    }

    /// Bytes on disk with indexes and TOAST table, as pg_total_relation_size counts them.
    pub fn total_bytes(&self) -> u64 {
        let toast = class(self.class.toast);
        [Some(&self.class), toast.as_ref()]
            .into_iter()
            .flatten()
            .map(|table| {
                let indexes = indexes_of(table.oid).into_iter().filter_map(class);
                let of_indexes: u64 = indexes.map(|index| index.bytes()).sum();
                table.bytes() + of_indexes
            })
            .sum()
    }

    /// Bytes on disk of the table alone.
    pub fn bytes(&self) -> u64 {
        self.class.bytes()
    }

    /// Its indexes, each with whether it is one of this extension's.
    pub fn indexes(&self) -> Vec<(Oid, bool)> {
        let ours = access_method();
        let indexes = indexes_of(self.class.oid).into_iter().filter_map(class);
        indexes
            .map(|index| (index.oid, Some(index.access_method) == ours))
            .collect()
    }

    /// The rows that a snapshot sees; None if only the table's access method or this isolation level's bookkeeping can tell.
    pub fn count(&self, snapshot: Snapshot<'_>) -> Option<u64> {
        let class = &self.class;
        if class.access_method != Oid::from(pg_sys::HEAP_TABLE_AM_OID) || heap::is_serializable() {
            return None;
        }
        let blocks = (fork_bytes(&class.path(), "") / u64::from(pg_sys::BLCKSZ)) as u32;
        let file = heap::UncachedFile {
            file: class.file,
            is_permanent: class.is_permanent,
        };
        Some(heap::count_uncached(class.oid, &file, blocks, snapshot))
    }
}

impl Drop for UncachedTable {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // the transaction's abort unlocks
        }
        // SAFETY: locked by `lock`.
        unsafe { pg_sys::UnlockRelationOid(self.class.oid, LockMode::AccessShare.raw()) };
    }
}

impl Class {
    /// Its file below the data directory, without the suffixes of forks and segments.
    fn path(&self) -> String {
        let (tablespace, database, number) = self.file;
        // SAFETY: a palloc'd C string, freed here.
        let directory = unsafe {
            let path = pg_sys::GetDatabasePath(Oid::from(database), Oid::from(tablespace));
            let directory = CStr::from_ptr(path).to_string_lossy().into_owned();
            pg_sys::pfree(path.cast());
            directory
        };
        format!("{directory}/{number}")
    }

    fn bytes(&self) -> u64 {
        let path = self.path();
        let main = fork_bytes(&path, "");
        let init = if self.is_permanent {
            0
        } else {
            fork_bytes(&path, "_init")
        };
        if main == 0 {
            return init; // maps of no pages are empty
        }
        let is_table = self.kind != pg_sys::RELKIND_INDEX;
        let map = if is_table {
            fork_bytes(&path, "_vm")
        } else {
            0
        };
        main + fork_bytes(&path, "_fsm") + map + init
    }
}

/// The size of a fork: its segments', of which there is one more when one is full.
fn fork_bytes(path: &str, suffix: &str) -> u64 {
    let segment = |number: u64| {
        let name = match number {
            0 => format!("{path}{suffix}"),
            _ => format!("{path}{suffix}.{number}"),
        };
        std::fs::metadata(name).map(|file| file.len()).ok()
    };
    let full = u64::from(pg_sys::RELSEG_SIZE) * u64::from(pg_sys::BLCKSZ);
    let mut total = 0;
    for number in 0.. {
        pgrx::check_for_interrupts!();
        let bytes = segment(number).unwrap_or(0);
        total += bytes;
        if bytes < full {
            break;
        }
    }
    total
}

/// A relation's row of pg_class; None if it is gone.
fn class(oid: Oid) -> Option<Class> {
    if oid == pg_sys::InvalidOid {
        return None;
    }
    let mut found = None;
    // SAFETY: rows of pg_class have Form_pg_class's layout; two globals that are set when a backend has its database are read.
    unsafe {
        let index = Oid::from(pg_sys::ClassOidIndexId);
        let column = pg_sys::Anum_pg_class_oid as i16;
        scan(pg_sys::RelationRelationId, index, column, oid, |row| {
            let row = &*row.cast::<pg_sys::FormData_pg_class>();
            let tablespace = if row.reltablespace == pg_sys::InvalidOid {
                pg_sys::MyDatabaseTableSpace
            } else {
                row.reltablespace
            };
            found = Some(Class {
                oid,
                file: (
                    tablespace.to_u32(),
                    pg_sys::MyDatabaseId.to_u32(),
                    row.relfilenode.to_u32(),
                ),
                toast: row.reltoastrelid,
                kind: row.relkind as u8,
                access_method: row.relam,
                is_permanent: row.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT,
            });
        });
    }
    found
}

/// The indexes of a table.
fn indexes_of(table: Oid) -> Vec<Oid> {
    let mut indexes = Vec::new();
    // SAFETY: rows of pg_index have Form_pg_index's layout.
    unsafe {
        let index = Oid::from(pg_sys::IndexIndrelidIndexId);
        let column = pg_sys::Anum_pg_index_indrelid as i16;
        scan(pg_sys::IndexRelationId, index, column, table, |row| {
            indexes.push((*row.cast::<pg_sys::FormData_pg_index>()).indexrelid);
        });
    }
    indexes
}

/// Shows `each` the fixed parts of the rows of a system catalog whose column is this OID, by an index on it.
///
/// # Safety
/// The index must be one of the catalog's on that column; `each` must not read past the catalog's struct.
unsafe fn scan(
    catalog: Oid,
    index: Oid,
    column: i16,
    key: Oid,
    mut each: impl FnMut(*const std::ffi::c_void),
) {
    let lock = LockMode::AccessShare.raw();
    let mut scan_key = pg_sys::ScanKeyData::default();
    // SAFETY: the caller's contract; the catalog is open for the scan's life, a row valid until the next is fetched.
    unsafe {
        pg_sys::ScanKeyInit(
            &raw mut scan_key,
            column,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(key),
        );
        let relation = pg_sys::table_open(catalog, lock);
        let scan = pg_sys::systable_beginscan(
            relation,
            index,
            true,
            std::ptr::null_mut(),
            1,
            &raw mut scan_key,
        );
        loop {
            let row = pg_sys::systable_getnext(scan);
            if row.is_null() {
                break;
            }
            each(pg_sys::GETSTRUCT(row).cast_const().cast());
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
}

/// Lets go of what PostgreSQL's caches hold of a table that is not used now, its indexes and its TOAST table. Used again, it is read again.
pub fn let_go(table: Oid) {
    let Some(class) = class(table) else {
        return; // gone, and with it what the caches held
    };
    for relation in [class.oid, class.toast] {
        if relation != pg_sys::InvalidOid {
            indexes_of(relation).into_iter().for_each(let_go_of_one);
            let_go_of_one(relation);
        }
    }
}

fn let_go_of_one(relation: Oid) {
    use pg_sys::SysCacheIdentifier::{INDEXRELID, RELOID};
    heap::forget(relation);
    // SAFETY: what inval.c does when another backend has changed the relation, for which every user of a cache is prepared: an entry in use is kept.
    unsafe {
        for cache in [RELOID, INDEXRELID] {
            let (key, none) = (pg_sys::Datum::from(relation), pg_sys::Datum::null());
            let hash = pg_sys::GetSysCacheHashValue(cache as i32, key, none, none, none);
            pg_sys::SysCacheInvalidate(cache as i32, hash);
        }
        pg_sys::RelationCacheInvalidateEntry(relation);
    }
}
