//! The extension's own catalog tables, read and written as PostgreSQL does its own (access/index/genam.c,
//! catalog/indexing.c): by index, with a fresh snapshot at every look, whatever the isolation level.
//!
//! A fresh snapshot matters: who has waited for a concurrent first upsert must see the namespace it made.

use super::relation::{LockMode, Oid, Relation};
use pgrx::pg_sys;
use pgrx::{FromDatum, IntoDatum};
use std::ffi::{CStr, CString};

/// A column's value, to search by or to write.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Oid(Oid),
    Int(i32),
    Text(&'a str),
    /// None is NULL.
    Bigint(Option<i64>),
    /// JSON text for a jsonb column.
    Json(&'a str),
    /// The transaction's start, for a timestamptz column.
    Now,
}

impl Value<'_> {
    fn datum(self) -> (pg_sys::Datum, bool) {
        let datum = match self {
            Value::Oid(oid) => Some(pg_sys::Datum::from(oid)),
            Value::Int(int) => int.into_datum(),
            Value::Text(text) => text.into_datum(),
            Value::Bigint(number) => number.into_datum(),
            Value::Json(text) => Some(super::json::jsonb_from_text(text)),
            // SAFETY: reads the transaction's start time.
            Value::Now => unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }.into_datum(),
        };
        (datum.unwrap_or(pg_sys::Datum::null()), datum.is_none())
    }
}

/// A condition on a column (attribute number) of a catalog table.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    Equal(i16, Value<'a>),
    /// Text after this, in C order.
    After(i16, &'a str),
    /// Text at or after this, in C order.
    From(i16, &'a str),
}

/// A row read from a catalog table.
pub struct Row {
    tid: pg_sys::ItemPointerData,
    values: Vec<Option<pg_sys::Datum>>,
}

impl Row {
    /// Column `number` (from 1) of an oid or regclass type.
    pub fn oid(&self, number: usize) -> Oid {
        self.get::<Oid>(number).unwrap_or(pg_sys::InvalidOid)
    }

    pub fn int(&self, number: usize) -> i32 {
        self.get::<i32>(number).unwrap_or_default()
    }

    pub fn bigint(&self, number: usize) -> Option<i64> {
        self.get::<i64>(number)
    }

    pub fn text(&self, number: usize) -> String {
        self.get::<String>(number).unwrap_or_default()
    }

    /// A jsonb column as JSON text.
    pub fn json(&self, number: usize) -> Option<String> {
        self.values[number - 1].map(super::json::jsonb_to_text)
    }

    /// A timestamptz column, microseconds since 2000-01-01 UTC.
    pub fn timestamp(&self, number: usize) -> i64 {
        self.get::<i64>(number).unwrap_or_default()
    }

    fn get<T: FromDatum>(&self, number: usize) -> Option<T> {
        let datum = self.values[number - 1]?;
        // SAFETY: the caller names a column by the type it was declared with in sql/catalog.sql.
        unsafe { T::from_datum(datum, false) }
    }
}

/// An open catalog table of schema `conifer`.
pub struct Table {
    relation: Relation,
    schema: &'static CStr,
}

impl Table {
    /// Opens it for reading, or for writing with `LockMode::RowExclusive`.
    pub fn open(name: &CStr, lock: LockMode) -> Result<Table, crate::error::Error> {
        let oid = super::relation::lookup(super::extension::CATALOG_SCHEMA, name)?;
        Ok(Table {
            relation: Relation::open(oid, lock).unlock_on_drop(lock),
            schema: super::extension::CATALOG_SCHEMA,
        })
    }

    /// The first row that meets `keys`, by the index of that name.
    pub fn find(&self, index: &CStr, keys: &[Key<'_>]) -> Option<Row> {
        let mut found = None;
        self.each(index, keys, |row| {
            found = Some(row);
            false
        });
        found
    }

    /// Every row that meets `keys`, in the order of `index`, until `each` answers false.
    pub fn each(&self, index: &CStr, keys: &[Key<'_>], mut each: impl FnMut(Row) -> bool) {
        let Some(index) = super::relation::find(self.schema, index) else {
            return;
        };
        let mut scan_keys: Vec<pg_sys::ScanKeyData> = keys.iter().map(scan_key).collect();
        // SAFETY: both relations are open for the scan's life; the ordered scan maps heap attribute numbers to index
        // columns itself; each tuple is deformed and copied before the next is fetched.
        unsafe {
            let index = pg_sys::index_open(index, LockMode::AccessShare.raw());
            let scan = pg_sys::systable_beginscan_ordered(
                self.relation.raw(),
                index,
                std::ptr::null_mut(),
                scan_keys.len() as i32,
                scan_keys.as_mut_ptr(),
            );
            loop {
                pgrx::check_for_interrupts!();
                let tuple = pg_sys::systable_getnext_ordered(
                    scan,
                    pg_sys::ScanDirection::ForwardScanDirection,
                );
                if tuple.is_null() || !each(self.row(tuple)) {
                    break;
                }
            }
            pg_sys::systable_endscan_ordered(scan);
            pg_sys::index_close(index, LockMode::AccessShare.raw());
        }
    }

    /// Adds a row.
    pub fn insert(&self, values: &[Value<'_>]) {
        let (mut datums, mut nulls): (Vec<_>, Vec<_>) = values.iter().map(|v| v.datum()).unzip();
        // SAFETY: as many values as the table has columns, of its types.
        unsafe {
            assert_eq!(values.len(), self.relation.column_count() as usize);
            let tuple = pg_sys::heap_form_tuple(
                self.relation.tuple_desc(),
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::CatalogTupleInsert(self.relation.raw(), tuple);
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Replaces some columns (attribute number, value) of a row found before, under a lock that keeps others off; nothing if the row has gone with its table.
    pub fn update(&self, row: &Row, changes: &[(i16, Value<'_>)]) {
        if !self.lock_row(row) {
            return;
        }
        let mut datums: Vec<_> = row
            .values
            .iter()
            .map(|v| v.unwrap_or(pg_sys::Datum::null()))
            .collect();
        let mut nulls: Vec<_> = row.values.iter().map(Option::is_none).collect();
        for &(number, value) in changes {
            (datums[number as usize - 1], nulls[number as usize - 1]) = value.datum();
        }
        let mut tid = row.tid;
        // SAFETY: as many values as the table has columns, of its types; the row's TID was read from it.
        unsafe {
            let tuple = pg_sys::heap_form_tuple(
                self.relation.tuple_desc(),
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::CatalogTupleUpdate(self.relation.raw(), &raw mut tid, tuple);
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Removes a row found before, under a lock that keeps others off; nothing if it has gone with its table.
    pub fn delete(&self, row: &Row) {
        if !self.lock_row(row) {
            return;
        }
        let mut tid = row.tid;
        // SAFETY: the row's TID was read from this table.
        unsafe {
            pg_sys::CatalogTupleDelete(self.relation.raw(), &raw mut tid);
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Locks a row that may have been removed since it was found: DROP TABLE takes the rows of the table along and knows no locks on names. Waits for
    /// whoever is at it.
    fn lock_row(&self, row: &Row) -> bool {
        let mut tuple = pg_sys::HeapTupleData {
            t_self: row.tid,
            ..Default::default()
        };
        let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
        let mut failure = pg_sys::TM_FailureData::default();
        // SAFETY: the table is open; the place was one of its rows', and vacuum has not reused it: the catalog snapshot that found it is no older
        // than this transaction's xmin. The buffer comes back pinned.
        unsafe {
            let result = pg_sys::heap_lock_tuple(
                self.relation.raw(),
                &raw mut tuple,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::LockTupleMode::LockTupleExclusive,
                pg_sys::LockWaitPolicy::LockWaitBlock,
                false,
                &raw mut buffer,
                &raw mut failure,
            );
            pg_sys::ReleaseBuffer(buffer);
            // Of anything else that is amiss the change itself complains.
            result != pg_sys::TM_Result::TM_Deleted
        }
    }

    /// # Safety
    /// `tuple` must be of this table.
    unsafe fn row(&self, tuple: pg_sys::HeapTuple) -> Row {
        let columns = self.relation.column_count() as usize;
        let mut datums = vec![pg_sys::Datum::null(); columns];
        let mut nulls = vec![true; columns];
        // SAFETY: the caller's contract; the copy keeps by-reference values valid after the scan moves on.
        unsafe {
            let copy = pg_sys::heap_copytuple(tuple);
            pg_sys::heap_deform_tuple(
                copy,
                self.relation.tuple_desc(),
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            Row {
                tid: (*copy).t_self,
                values: datums
                    .into_iter()
                    .zip(nulls)
                    .map(|(datum, is_null)| (!is_null).then_some(datum))
                    .collect(),
            }
        }
    }
}

fn scan_key(condition: &Key<'_>) -> pg_sys::ScanKeyData {
    let (number, strategy, function, value) = match *condition {
        Key::Equal(number, value) => {
            let function = match value {
                Value::Oid(_) => pg_sys::F_OIDEQ,
                Value::Int(_) => pg_sys::F_INT4EQ,
                _ => pg_sys::F_TEXTEQ,
            };
            (number, pg_sys::BTEqualStrategyNumber, function, value)
        }
        Key::After(number, text) => (
            number,
            pg_sys::BTGreaterStrategyNumber,
            pg_sys::F_TEXT_GT,
            Value::Text(text),
        ),
        Key::From(number, text) => (
            number,
            pg_sys::BTGreaterEqualStrategyNumber,
            pg_sys::F_TEXT_GE,
            Value::Text(text),
        ),
    };
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: the key is ours; ScanKeyInit looks the function up and sets the C collation.
    unsafe {
        pg_sys::ScanKeyInit(
            &raw mut key,
            number,
            strategy as pg_sys::StrategyNumber,
            Oid::from(function),
            value.datum().0,
        );
    }
    key
}

/// The next value of a sequence of schema `conifer`, whatever the caller's own rights on it.
pub fn next_value(sequence: &CStr) -> Result<i64, crate::error::Error> {
    let oid = super::relation::lookup(super::extension::CATALOG_SCHEMA, sequence)?;
    let owner = super::relation::owner(oid).unwrap_or(pg_sys::InvalidOid);
    // SAFETY: nextval takes the OID of a sequence and answers a bigint.
    let datum = super::access::as_role(owner, || unsafe {
        pg_sys::OidFunctionCall1Coll(
            Oid::from(pg_sys::F_NEXTVAL),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(oid),
        )
    });
    Ok(datum.value() as i64)
}

/// A C string for a name; names with NUL bytes cannot come from SQL.
pub fn c_name(name: &str) -> CString {
    CString::new(name.replace('\0', "")).unwrap_or_default()
}
