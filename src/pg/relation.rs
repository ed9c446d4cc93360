//! Relations opened under a lock, closed on drop. The lock stays until the transaction ends unless asked otherwise.

use super::{pg_list, recovery};
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Object identifier of a relation, a role or another catalog row.
pub type Oid = pg_sys::Oid;

/// Lock modes, PostgreSQL's names (storage/lockdefs.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    AccessShare,
    RowExclusive,
    ShareUpdateExclusive,
    AccessExclusive,
}

impl LockMode {
    pub(super) fn raw(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            LockMode::AccessShare => pg_sys::AccessShareLock,
            LockMode::RowExclusive => pg_sys::RowExclusiveLock,
            LockMode::ShareUpdateExclusive => pg_sys::ShareUpdateExclusiveLock,
            LockMode::AccessExclusive => pg_sys::AccessExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }
}

/// An open relation: its relcache entry stays valid while this lives.
pub struct Relation {
    raw: pg_sys::Relation,
    /// How it is closed; None if somebody else will.
    close: Option<pg_sys::LOCKMODE>,
}

impl Relation {
    /// Opens a relation that may have been dropped meanwhile: waits for the lock, then looks again.
    pub fn try_open(oid: Oid, lock: LockMode) -> Option<Relation> {
        // SAFETY: try_table_open takes any OID and answers NULL for one that names nothing.
        let raw = unsafe { pg_sys::try_table_open(oid, lock.raw()) };
        if raw.is_null() {
            return None;
        }
        Some(Relation::opened(raw))
    }

    /// The same of an index, or of any relation.
    pub fn try_open_any(oid: Oid, lock: LockMode) -> Option<Relation> {
        // SAFETY: try_relation_open takes any OID and answers NULL for one that names nothing.
        let raw = unsafe { pg_sys::try_relation_open(oid, lock.raw()) };
        (!raw.is_null()).then(|| Relation::opened(raw))
    }

    fn opened(raw: pg_sys::Relation) -> Relation {
        Relation {
            raw,
            close: Some(pg_sys::NoLock as pg_sys::LOCKMODE),
        }
    }

    /// A relation that PostgreSQL has open for the length of a callback.
    ///
    /// # Safety
    /// It stays open while this lives.
    pub(super) unsafe fn borrowed(raw: pg_sys::Relation) -> Relation {
        Relation { raw, close: None }
    }

    /// Another handle on a relation that PostgreSQL keeps open for the length of a callback.
    pub(crate) fn again(&self) -> Relation {
        debug_assert!(self.close.is_none(), "only of a borrowed one");
        Relation {
            raw: self.raw,
            close: None,
        }
    }

    /// Opens a relation that must exist (a catalog table of the extension).
    pub fn open(oid: Oid, lock: LockMode) -> Relation {
        // SAFETY: table_open raises an error for an OID that names no table.
        let raw = unsafe { pg_sys::table_open(oid, lock.raw()) };
        Relation::opened(raw)
    }

    /// Gives the lock back on drop instead of at the end of the transaction: for reads of many leaves in one go.
    #[must_use]
    pub fn unlock_on_drop(mut self, lock: LockMode) -> Relation {
        self.close = Some(lock.raw());
        self
    }

    /// Keeps the lock after all, until the transaction ends.
    #[must_use]
    pub fn keep_lock(mut self) -> Relation {
        self.close = Some(pg_sys::NoLock as pg_sys::LOCKMODE);
        self
    }

    pub(super) fn raw(&self) -> pg_sys::Relation {
        self.raw
    }

    /// Its OID.
    pub fn oid(&self) -> Oid {
        // SAFETY: `raw` is open while self lives.
        unsafe { (*self.raw).rd_id }
    }

    pub(super) fn tuple_desc(&self) -> pg_sys::TupleDesc {
        // SAFETY: `raw` is open while self lives.
        unsafe { (*self.raw).rd_att }
    }

    /// Attribute number of a live column.
    pub fn column(&self, name: &CStr) -> Option<i16> {
        (1..=self.column_count()).find(|&number| {
            let attribute = self.attribute(number);
            // SAFETY: attname is a NUL-terminated NameData inside the relcache entry.
            !attribute.attisdropped
                && unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) } == name
        })
    }

    /// Columns, dropped ones included.
    pub fn column_count(&self) -> i16 {
        // SAFETY: the descriptor belongs to the open relation.
        unsafe { (*self.tuple_desc()).natts as i16 }
    }

    /// The names of the columns that an INSERT gives values of: not of those that are generated.
    pub fn columns_given(&self) -> Vec<String> {
        let given = |number: &i16| {
            let attribute = self.attribute(*number);
            let always = pg_sys::ATTRIBUTE_IDENTITY_ALWAYS as core::ffi::c_char;
            !attribute.attisdropped
                && attribute.attgenerated == 0
                && attribute.attidentity != always
        };
        (1..=self.column_count())
            .filter(given)
            .map(|number| {
                // SAFETY: attname is a NUL-terminated NameData.
                unsafe { CStr::from_ptr(self.attribute(number).attname.data.as_ptr()) }
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    pub(super) fn attribute(&self, number: i16) -> &pg_sys::FormData_pg_attribute {
        assert!(number >= 1 && number <= self.column_count());
        // SAFETY: attribute numbers run from 1 to natts, checked above.
        unsafe { &*super::compat::tuple_desc_attr(self.tuple_desc(), (number - 1) as usize) }
    }

    /// True if a row can be written without the executor: no triggers, no constraints, no column but `columns`.
    pub fn is_plain(&self, columns: i16) -> bool {
        // SAFETY: `raw` is open while self lives; trigdesc and constr are NULL where there are none.
        unsafe {
            (*self.raw).trigdesc.is_null()
                && (*self.tuple_desc()).constr.is_null()
                && self.column_count() == columns
        }
    }

    /// Pages of the main fork.
    pub fn blocks(&self) -> u32 {
        // SAFETY: `raw` is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.raw, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }

    /// Rows, as VACUUM or ANALYZE last counted them; less than none if neither did.
    pub fn rows_counted(&self) -> f64 {
        // SAFETY: open while self lives.
        unsafe { f64::from((*(*self.raw).rd_rel).reltuples) }
    }

    /// Bytes on disk with indexes and TOAST table (pg_total_relation_size).
    pub fn total_bytes(&self) -> u64 {
        // SAFETY: the function takes a regclass and answers a bigint for an existing relation.
        let datum = unsafe {
            pg_sys::OidFunctionCall1Coll(
                Oid::from(pg_sys::F_PG_TOTAL_RELATION_SIZE),
                pg_sys::InvalidOid,
                pg_sys::Datum::from(self.oid()),
            )
        };
        datum.value() as u64
    }

    /// Raises an error if a publication forbids updates (or else deletes) for want of a replica identity.
    pub fn check_replica_identity(&self, updates: bool) {
        let command = if updates {
            pg_sys::CmdType::CMD_UPDATE
        } else {
            pg_sys::CmdType::CMD_DELETE
        };
        // SAFETY: `raw` is open.
        unsafe { pg_sys::CheckCmdReplicaIdentity(self.raw, command) };
    }

    /// An error if its contents are not on this server: it is unlogged, and this a standby.
    pub fn check_reach(&self) -> Result<(), Error> {
        // SAFETY: `raw` is open.
        let persistence = unsafe { (*(*self.raw).rd_rel).relpersistence };
        recovery::check_reach(persistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT)
    }

    /// Is it a partition of another table?
    pub fn is_partition(&self) -> bool {
        // SAFETY: `raw` is open.
        unsafe { (*(*self.raw).rd_rel).relispartition }
    }

    /// Is it kept by PostgreSQL's own table access method?
    pub(super) fn is_heap(&self) -> bool {
        // SAFETY: `raw` is open.
        unsafe { (*(*self.raw).rd_rel).relam == Oid::from(pg_sys::HEAP_TABLE_AM_OID) }
    }
}

impl Drop for Relation {
    fn drop(&mut self) {
        let Some(unlock) = self.close.filter(|_| !std::thread::panicking()) else {
            return; // not ours to close, or the transaction's abort does
        };
        // SAFETY: opened in a constructor and closed once, here.
        unsafe { pg_sys::relation_close(self.raw, unlock) };
    }
}

/// The relation of that name, e.g. a catalog table of the extension.
pub fn lookup(schema: &CStr, name: &CStr) -> Result<Oid, Error> {
    find(schema, name).ok_or_else(|| Error::Corrupted {
        what: format!(
            "table {}.{} of the extension is missing",
            schema.to_string_lossy(),
            name.to_string_lossy()
        ),
    })
}

/// The relation of that name, if there is one.
pub fn find(schema: &CStr, name: &CStr) -> Option<Oid> {
    // SAFETY: both functions take NUL-terminated names and answer InvalidOid for unknown ones.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if schema == pg_sys::InvalidOid {
            return None;
        }
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

unsafe extern "C-unwind" {
    /// catalog/partition.c; not in the bindings.
    pub(super) fn get_partition_parent(partition: Oid, even_if_detached: bool) -> Oid;
    fn get_partition_ancestors(partition: Oid) -> *mut pg_sys::List;
}

/// The table that it is a partition of, if it is one and is not being detached. Needs no lock: where get_partition_parent raises an error
/// of a partition that another transaction has dropped meanwhile, its ancestors are none.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub fn parent(partition: Oid) -> Option<Oid> {
    class_row(partition, |row| row.relispartition).filter(|is_partition| *is_partition)?;
    // SAFETY: takes any OID; answers a list of OIDs in the current context, which is read and freed here.
    unsafe {
        let ancestors = pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_ancestors(partition));
        let first = pg_list::first_oid(ancestors);
        pg_sys::list_free(ancestors);
        first
    }
}

/// Locks a table until the transaction ends, without keeping it open: DDL refuses while it is. False if it is gone.
pub fn lock(relation: Oid, mode: LockMode) -> bool {
    Relation::try_open(relation, mode).is_some()
}

/// Has every backend look at a relation's description anew once this transaction has committed; nobody has one of what is gone.
pub fn announce_change(relation: Oid) {
    // SAFETY: a syscache tuple is valid until released; the other function takes a row of pg_class.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(relation),
        );
        if !tuple.is_null() {
            pg_sys::CacheInvalidateRelcacheByTuple(tuple);
            pg_sys::ReleaseSysCache(tuple);
        }
    }
}

/// Makes a table another role's, whoever the caller is: for tables that are the extension's to arrange. It is locked in ACCESS EXCLUSIVE mode.
pub fn change_owner(table: Oid, owner: Oid) {
    // SAFETY: the table is there, as it is locked, and the role, as it owns another; "recursing" leaves out the check of rights that a
    // statement on a parent would have made.
    unsafe {
        pg_sys::ATExecChangeOwner(table, owner, true, LockMode::AccessExclusive.raw());
        pg_sys::CommandCounterIncrement();
    }
}

/// Is it in the schema of that name?
pub fn is_in_schema(relation: Oid, schema: &CStr) -> bool {
    // SAFETY: syscache lookups, which answer InvalidOid for what is not there.
    unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        schema != pg_sys::InvalidOid && pg_sys::get_rel_namespace(relation) == schema
    }
}

/// Owner of a relation, None if it is gone.
pub fn owner(relation: Oid) -> Option<Oid> {
    class_row(relation, |row| row.relowner)
}

/// Does it have REPLICA IDENTITY FULL?
pub fn is_identified_by_whole_rows(relation: Oid) -> bool {
    class_row(relation, |row| row.relreplident)
        .is_some_and(|identity| identity as u8 == pg_sys::REPLICA_IDENTITY_FULL)
}

/// Something of a relation's row in pg_class, None if it is gone.
pub(super) fn class_row<T>(
    relation: Oid,
    read: impl FnOnce(&pg_sys::FormData_pg_class) -> T,
) -> Option<T> {
    // SAFETY: a syscache tuple is valid until released; pg_class rows have Form_pg_class's layout.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(relation),
        );
        if tuple.is_null() {
            return None;
        }
        let found = read(&*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>());
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}

/// Has the relation triggers or rules of its own, statement-level triggers included? True also for some time after the
/// last was dropped (until VACUUM looks).
pub fn has_triggers_or_rules(relation: Oid) -> bool {
    class_row(relation, |row| row.relhastriggers || row.relhasrules).unwrap_or(false)
}

/// The name of a relation, bare. None if it is gone.
pub fn name(relation: Oid) -> Option<String> {
    // SAFETY: get_rel_name answers NULL for unknown OIDs and a palloc'd C string otherwise.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// `schema.name` of a relation, quoted for SQL. None if it is gone.
pub fn qualified_name(relation: Oid) -> Option<String> {
    // SAFETY: get_rel_name and friends answer NULL for unknown OIDs and palloc'd C strings otherwise.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        if name.is_null() {
            return None;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        if schema.is_null() {
            return None;
        }
        let quoted = pg_sys::quote_qualified_identifier(schema, name);
        Some(CStr::from_ptr(quoted).to_string_lossy().into_owned())
    }
}
