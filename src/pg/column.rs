//! Single columns of rows of any table, and values as PostgreSQL hands them to an index: detoasted where they must be, read in
//! place where they can be.

use super::relation::Relation;
use super::tuple::{Attribute, TupleLayout, payload};
use super::varlena;
use super::vector_datum::{self, Stored};
use crate::error::Error;
use pgrx::pg_sys;

/// Reads the vector column of a table's rows.
pub struct ColumnReader {
    layout: TupleLayout,
    column: i16,
}

impl ColumnReader {
    /// Of a column of type `vector`, by number.
    pub fn new(relation: &Relation, column: i16) -> ColumnReader {
        ColumnReader {
            layout: TupleLayout::new(relation, column),
            column,
        }
    }

    /// The vector of a row; None for a null, and for a row that was written before the column was added.
    pub fn with_values<T>(
        &self,
        tuple: &[u8],
        scratch: &mut Vec<f32>,
        use_elements: impl FnOnce(&[f32]) -> T,
    ) -> Result<Option<T>, Error> {
        let [values] = self.layout.read(tuple, [self.column])?;
        with_elements(values, scratch, use_elements)
    }

    /// Whether the vector lies in the row itself.
    pub(in crate::pg) fn is_inline(&self, tuple: &[u8]) -> Result<bool, Error> {
        let [values] = self.layout.read(tuple, [self.column])?;
        Ok(!matches!(values, Attribute::Toasted(_)))
    }
}

/// A variable-length value that PostgreSQL passes as a datum.
#[derive(Clone, Copy)]
pub struct StoredValue {
    datum: pg_sys::Datum,
}

impl StoredValue {
    /// # Safety
    /// The datum is not null, of a variable-length type, and outlives this value.
    pub(super) unsafe fn new(datum: pg_sys::Datum) -> StoredValue {
        StoredValue { datum }
    }

    /// The elements of a value of type `vector`.
    pub fn with_elements<T>(
        self,
        scratch: &mut Vec<f32>,
        use_elements: impl FnOnce(&[f32]) -> T,
    ) -> Result<T, Error> {
        let found = with_elements(self.attribute(), scratch, use_elements)?;
        found.ok_or_else(|| corrupted("a vector that is null and not null"))
    }

    /// The bytes of any other value behind its header.
    pub fn with_payload<T>(self, use_payload: impl FnOnce(&[u8]) -> T) -> T {
        match self.attribute() {
            Attribute::Toasted(bytes) => use_payload(Detoasted::new(bytes).payload()),
            Attribute::Inline(bytes) => use_payload(payload(bytes)),
            Attribute::Null => use_payload(&[]),
        }
    }

    fn attribute(&self) -> Attribute<'_> {
        // SAFETY: a variable-length value by the constructor's contract, as long as its header says.
        unsafe { varlena::attribute(self.datum) }
    }
}

/// The elements of a stored vector; None for a null.
pub(in crate::pg) fn with_elements<T>(
    values: Attribute<'_>,
    scratch: &mut Vec<f32>,
    use_elements: impl FnOnce(&[f32]) -> T,
) -> Result<Option<T>, Error> {
    let detoasted;
    let bytes = match values {
        Attribute::Null => return Ok(None),
        Attribute::Inline(bytes) => bytes,
        Attribute::Toasted(bytes) => {
            detoasted = Detoasted::new(bytes);
            detoasted.bytes()
        }
    };
    match vector_datum::elements_of_raw(bytes, scratch)? {
        Stored::Inline(elements) => Ok(Some(use_elements(elements))),
        Stored::Toasted => Err(corrupted("a vector that is still compressed")),
    }
}

/// A value fetched from the TOAST table or decompressed; its memory goes on drop.
pub(in crate::pg) struct Detoasted {
    value: *mut pg_sys::varlena,
}

impl Detoasted {
    pub(in crate::pg) fn new(stored: &[u8]) -> Detoasted {
        // SAFETY: `stored` begins with a compressed value or a TOAST pointer; a copy is made of it.
        let value = unsafe { pg_sys::pg_detoast_datum_copy(stored.as_ptr().cast_mut().cast()) };
        Detoasted { value }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a detoasted value has a plain header and lives until drop.
        unsafe { super::varlena::plain_bytes(pg_sys::Datum::from(self.value)) }
    }

    pub(in crate::pg) fn payload(&self) -> &[u8] {
        payload(self.bytes())
    }
}

impl Drop for Detoasted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort frees the memory context
        }
        // SAFETY: palloc'd by pg_detoast_datum_copy for this struct alone.
        unsafe { pg_sys::pfree(self.value.cast()) };
    }
}

#[cold]
fn corrupted(what: &str) -> Error {
    Error::Corrupted { what: what.into() }
}
