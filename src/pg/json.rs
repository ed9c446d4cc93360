//! `jsonb` values between Rust and PostgreSQL: their stored bytes and their text, never a value tree.

use super::report::OrReport;
use super::sql_type::stand_for;
use super::varlena::{self, HEADER, NewVarlena};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, IntoDatum};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlArrayMappingRef, SqlMappingRef, SqlTranslatable,
    TypeOrigin,
};
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

/// A jsonb datum from the bytes behind its header, copied to the current memory context.
pub(super) fn jsonb_from_payload(payload: &[u8]) -> pg_sys::Datum {
    let mut value = NewVarlena::zeroed(HEADER + payload.len());
    value.bytes_mut()[HEADER..].copy_from_slice(payload);
    value.into_datum()
}

/// The bytes behind the header of a jsonb datum, copied.
pub(super) fn payload_of_datum(datum: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: callers pass a non-null jsonb datum.
    let bytes = unsafe { varlena::plain_bytes(datum) };
    bytes[HEADER..].to_vec()
}

/// An argument of type `jsonb`: its stored bytes.
#[derive(Clone, Copy, Debug)]
pub struct JsonbArg<'a> {
    whole: &'a [u8],
}

impl<'a> JsonbArg<'a> {
    /// The bytes behind the header.
    pub fn payload(self) -> &'a [u8] {
        &self.whole[HEADER..]
    }

    /// As JSON text.
    pub fn to_text(self) -> String {
        jsonb_to_text(self.datum())
    }

    /// An element of the array that it is, as JSON text. There must be so many.
    pub fn element_text(self, number: usize) -> String {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        // SAFETY: jsonb_array_element takes a jsonb and an integer; what it answers is palloc'd, and not used after its text was made.
        unsafe {
            let element = pg_sys::OidFunctionCall2Coll(
                pg_sys::Oid::from(pg_sys::F_JSONB_ARRAY_ELEMENT),
                pg_sys::InvalidOid,
                self.datum(),
                pg_sys::Datum::from(number),
            );
            let text = jsonb_to_text(element);
            pg_sys::pfree(element.cast_mut_ptr());
            text
        }
    }

    /// The value itself, which lives as long as the argument.
    pub(super) fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.whole.as_ptr())
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonbArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type; jsonb is aligned to int4.
        let whole = unsafe { varlena::plain_bytes_of_arg(arg) };
        Self { whole }
    }
}

/// A value of type `jsonb` in PostgreSQL's memory, to be returned.
pub struct JsonbOut {
    datum: pg_sys::Datum,
}

impl JsonbOut {
    /// From JSON text; raises 22P02 if it is none.
    pub fn from_text(text: &str) -> Self {
        Self {
            datum: jsonb_from_text(text),
        }
    }

    /// From the bytes behind a stored value's header.
    pub fn from_payload(payload: &[u8]) -> Self {
        Self {
            datum: jsonb_from_payload(payload),
        }
    }

    /// The bytes behind the header.
    pub fn payload(&self) -> &[u8] {
        // SAFETY: the datum was made here, is aligned, and lives in a context that outlives the call.
        unsafe { &varlena::plain_bytes(self.datum)[HEADER..] }
    }

    /// As JSON text.
    pub fn to_text(&self) -> String {
        jsonb_to_text(self.datum)
    }
}

impl IntoDatum for JsonbOut {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.datum)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: the datum points at a whole jsonb value in the context the function was called in.
unsafe impl BoxRet for JsonbOut {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `jsonb`.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

stand_for!("jsonb": JsonbArg<'_>, JsonbOut);

/// An argument of type `jsonb[]`: the stored bytes of each element, or none for a null.
pub struct JsonbArrayArg<'a>(Vec<Option<&'a [u8]>>);

impl<'a> JsonbArrayArg<'a> {
    /// Number of elements, nulls included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Payload of the `i`th element from 0; None for a null.
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.0.get(i).copied().flatten()
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonbArrayArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type; arrays are aligned to int4 or more.
        let bytes = unsafe { varlena::plain_bytes_of_arg(arg) };
        Self(super::array::varlena_elements(bytes).or_report())
    }
}

// SAFETY: stands for the built-in jsonb[].
unsafe impl SqlTranslatable for JsonbArrayArg<'_> {
    const TYPE_IDENT: &'static str = concat!(module_path!(), "::jsonb_array");
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::Array(SqlArrayMappingRef::As("jsonb")));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Array(
        SqlArrayMappingRef::As("jsonb"),
    )));
}
