//! Values of type `text` whose bytes are of the server's encoding, which need not be Rust's.

use super::sql_type::stand_for;
use super::varlena::{HEADER, NewVarlena};
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{Datum, IntoDatum};
use pgrx::pg_sys;

/// A value of type `text` in PostgreSQL's memory, to be returned.
pub struct TextOut {
    datum: pg_sys::Datum,
}

impl TextOut {
    /// From bytes in the server's encoding.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut value = NewVarlena::zeroed(HEADER + bytes.len());
        value.bytes_mut()[HEADER..].copy_from_slice(bytes);
        Self {
            datum: value.into_datum(),
        }
    }
}

impl IntoDatum for TextOut {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.datum)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

// SAFETY: the datum points at a whole text value in the context the function was called in.
unsafe impl BoxRet for TextOut {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `text`.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

stand_for!("text": TextOut);
