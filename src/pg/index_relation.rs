//! What an index relation says of itself: its columns, its operator class, its file.

use super::relation::{Oid, Relation};
use super::{compat, extension};
use pgrx::pg_sys;

/// An index's file, which REINDEX and TRUNCATE change: tablespace, database, number.
pub type FileId = (u32, u32, u32);

impl Relation {
    /// The name of a relation.
    pub fn name(&self) -> String {
        // SAFETY: relname is a NUL-terminated NameData inside the relcache entry.
        unsafe {
            std::ffi::CStr::from_ptr((*(*self.raw()).rd_rel).relname.data.as_ptr())
                .to_string_lossy()
                .into_owned()
        }
    }

    /// Is it an index of this extension's access method?
    pub fn is_conifer_index(&self) -> bool {
        // SAFETY: open while self lives.
        let class = unsafe { &*(*self.raw()).rd_rel };
        class.relkind as u8 == pg_sys::RELKIND_INDEX && Some(class.relam) == access_method()
    }

    /// The table an index is on.
    pub fn table_of_index(&self) -> Oid {
        self.index_row().indrelid
    }

    /// Number of the table's column that is the key; 0 for an expression.
    pub fn key_column(&self) -> i16 {
        self.index_column(0).unwrap_or(0)
    }

    /// Numbers of the table's columns that are included; 0 for an expression.
    pub fn included_columns(&self) -> Vec<i16> {
        (1..usize::from(self.index_row().indnatts.cast_unsigned()))
            .filter_map(|place| self.index_column(place))
            .collect()
    }

    fn index_column(&self, place: usize) -> Option<i16> {
        let row = self.index_row();
        let count = usize::try_from(row.indnatts).unwrap_or(0);
        // SAFETY: indkey has indnatts elements.
        (place < count).then(|| unsafe { row.indkey.values.as_slice(count)[place] })
    }

    /// May queries use the index: built, and not being dropped?
    pub fn is_valid_index(&self) -> bool {
        let row = self.index_row();
        row.indisvalid && row.indisready && row.indislive
    }

    /// Is it of that access method, and on all rows?
    pub fn is_of_all_rows(&self, access_method: Oid) -> bool {
        // SAFETY: open while self lives.
        let class = unsafe { &*(*self.raw()).rd_rel };
        class.relam == access_method && !self.is_partial_index()
    }

    /// May this transaction's queries go by it? Snapshots older than an index that knows only the newest of some HOT chains must not
    /// (get_relation_info in plancat.c).
    pub fn is_usable(&self) -> bool {
        // SAFETY: open while self lives; rd_indextuple is set for an index. TransactionXmin is the backend's own.
        let is_known_to_all = || unsafe {
            let made = pg_sys::htup::HeapTupleHeaderGetXmin((*(*self.raw()).rd_indextuple).t_data);
            pg_sys::TransactionIdPrecedes(made, pg_sys::TransactionXmin)
        };
        self.is_valid_index() && (!self.index_row().indcheckxmin || is_known_to_all())
    }

    /// Is it on some of the rows only?
    pub fn is_partial_index(&self) -> bool {
        // SAFETY: open while self lives; rd_indextuple is set for an index.
        unsafe {
            !pg_sys::heap_attisnull(
                (*self.raw()).rd_indextuple,
                pg_sys::Anum_pg_index_indpred as i32,
                std::ptr::null_mut(),
            )
        }
    }

    fn index_row(&self) -> &pg_sys::FormData_pg_index {
        // SAFETY: callers have an index open; rd_index is set for every one.
        unsafe { &*(*self.raw()).rd_index }
    }

    /// The operator family of an index's key.
    pub fn key_family(&self) -> Oid {
        self.family_of(0)
    }

    /// Is the key column at this place, from 0, there and an expression?
    pub(super) fn is_expression(&self, place: usize) -> bool {
        let keys = usize::try_from(self.index_row().indnkeyatts).unwrap_or(0);
        place < keys && self.index_column(place) == Some(0)
    }

    /// The operator family of the key column at this place, which is there.
    pub(super) fn family_of(&self, place: usize) -> Oid {
        // SAFETY: an index has a family for each key column.
        unsafe { *(*self.raw()).rd_opfamily.add(place) }
    }

    /// The collation of the key column at this place, which is there.
    pub(super) fn collation_of(&self, place: usize) -> Oid {
        // SAFETY: an index has a collation for each key column.
        unsafe { *(*self.raw()).rd_indcollation.add(place) }
    }

    /// The expressions of an index, in its own entry of the relation cache: good until the next call into PostgreSQL.
    pub(super) fn expressions(&self) -> *const pg_sys::List {
        // SAFETY: open while self lives; the function's answer is a copy of what it leaves in the entry.
        unsafe {
            if (*self.raw()).rd_indexprs.is_null() {
                pg_sys::list_free_deep(pg_sys::RelationGetIndexExpressions(self.raw()));
            }
            (*self.raw()).rd_indexprs
        }
    }

    /// The type modifier of a column: of a vector its dimensions, −1 if it has none.
    pub fn column_modifier(&self, column: i16) -> i32 {
        self.attribute(column).atttypmod
    }

    /// Is a column of type jsonb, or of a domain over it?
    pub fn is_jsonb(&self, column: i16) -> bool {
        // SAFETY: a syscache lookup.
        unsafe { pg_sys::getBaseType(self.attribute(column).atttypid) == pg_sys::JSONBOID }
    }

    /// The file its pages are in.
    pub fn file_id(&self) -> FileId {
        // SAFETY: open while self lives.
        unsafe { compat::file::id(self.raw()) }
    }

    /// The indexes on a table: all that are live, valid or not.
    pub fn index_list(&self) -> Vec<Oid> {
        // SAFETY: the list is a copy of ours; its members are OIDs.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.raw());
            if list.is_null() {
                return Vec::new();
            }
            let count = usize::try_from((*list).length).unwrap_or(0);
            let oids = (0..count).map(|at| (*(*list).elements.add(at)).oid_value);
            let oids = oids.collect();
            pg_sys::list_free(list);
            oids
        }
    }
}

/// The extension's access method, if this database has it.
pub fn access_method() -> Option<Oid> {
    extension::oid()?;
    // SAFETY: a syscache lookup; answers InvalidOid where there is none.
    let oid = unsafe { pg_sys::get_index_am_oid(c"conifer".as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The function behind the operator an operator family orders by.
pub fn ordering_function(family: Oid) -> Option<super::operator::FunctionId> {
    let vector = super::vector_datum::type_oid();
    // SAFETY: syscache lookups; answer InvalidOid where there is nothing.
    unsafe {
        let operator = pg_sys::get_opfamily_member(family, vector, vector, 1);
        (operator != pg_sys::InvalidOid)
            .then(|| super::operator::FunctionId::of(pg_sys::get_opcode(operator)))
    }
}
