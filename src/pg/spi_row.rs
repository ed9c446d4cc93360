//! Records out of the rows of an SPI query.

use super::json;
use super::vector_datum::{self, VectorArg};
use pgrx::FromDatum;
use pgrx::pg_sys;
use pgrx::spi::{SpiError, SpiHeapTupleData};

/// Columns (id text, vector, jsonb) of a row, copied.
pub type Columns = (String, Option<Vec<f32>>, Option<Vec<u8>>);

/// Reads the three columns; an error if they are of other types.
pub fn columns(row: &SpiHeapTupleData<'_>) -> Result<Columns, SpiError> {
    let id = row.get::<String>(1)?.unwrap_or_default();
    let vector = datum(row, 2, vector_datum::type_oid())?
        // SAFETY: the column is of type vector, checked by OID; it is copied before the row goes.
        .and_then(|datum| unsafe { VectorArg::from_datum(datum, false) })
        .map(|vector| vector.to_vec());
    Ok((id, vector, jsonb(row, 3)?))
}

/// The bytes of a jsonb column behind their header, copied.
pub fn jsonb(row: &SpiHeapTupleData<'_>, column: usize) -> Result<Option<Vec<u8>>, SpiError> {
    Ok(datum(row, column, pg_sys::JSONBOID)?.map(json::payload_of_datum))
}

fn datum(
    row: &SpiHeapTupleData<'_>,
    column: usize,
    expected: pg_sys::Oid,
) -> Result<Option<pg_sys::Datum>, SpiError> {
    let entry = row.get_datum_by_ordinal(column)?;
    if entry.oid() != expected {
        return Err(SpiError::DatumError(
            pgrx::datum::TryFromDatumError::IncompatibleTypes {
                rust_type: "record",
                rust_oid: expected,
                datum_type: format!("column {column}"),
                datum_oid: entry.oid(),
            },
        ));
    }
    entry.value::<RawDatum>().map(|raw| raw.map(|raw| raw.0))
}

/// A datum as it is, for an entry whose type was checked.
struct RawDatum(pg_sys::Datum);

impl FromDatum for RawDatum {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then_some(RawDatum(datum))
    }
}

impl pgrx::IntoDatum for RawDatum {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::InvalidOid
    }

    fn is_compatible_with(_: pg_sys::Oid) -> bool {
        true // `datum` has compared the OIDs
    }
}
