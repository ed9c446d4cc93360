//! `jsonb` values between Rust and PostgreSQL: their stored bytes and their text, never a value tree.

use pgrx::pg_sys;
use std::ffi::CString;

/// A jsonb datum from JSON text. Raises PostgreSQL's own error (22P02) if it is not JSON.
pub(super) fn jsonb_from_text(text: &str) -> pg_sys::Datum {
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: jsonb_in takes a C string.
    unsafe {
        pg_sys::OidFunctionCall1Coll(
            pg_sys::Oid::from(pg_sys::F_JSONB_IN),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(text.as_ptr()),
        )
    }
}

/// The JSON text of a jsonb datum.
pub(super) fn jsonb_to_text(datum: pg_sys::Datum) -> String {
    // SAFETY: jsonb_out takes a jsonb datum, detoasts it, and answers a palloc'd C string.
    unsafe {
        let text = pg_sys::OidFunctionCall1Coll(
            pg_sys::Oid::from(pg_sys::F_JSONB_OUT),
            pg_sys::InvalidOid,
            datum,
        );
        let text = text.cast_mut_ptr::<std::ffi::c_char>();
        let owned = std::ffi::CStr::from_ptr(text)
            .to_string_lossy()
            .into_owned();
        pg_sys::pfree(text.cast());
        owned
    }
}
