//! The extension as an object of the database: its schemas.

use super::relation::Oid;
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Schema of the catalog tables.
pub const CATALOG_SCHEMA: &CStr = c"conifer";

/// OID of the extension, if this database has it.
pub fn oid() -> Option<Oid> {
    // SAFETY: answers InvalidOid where there is none.
    let oid = unsafe { pg_sys::get_extension_oid(c"conifer".as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// OID of the schema the types and functions live in.
pub fn schema_oid() -> Option<Oid> {
    // SAFETY: called inside a transaction, with the extension's OID.
    oid().map(|extension| unsafe { super::compat::extension_schema(extension) })
}

/// OID of one of the extension's types.
pub fn type_oid(name: &CStr) -> Option<Oid> {
    let schema = schema_oid()?;
    // SAFETY: a syscache lookup by name and schema; answers InvalidOid for none.
    let oid = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(schema),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Quoted name of the schema the types and functions live in.
pub fn schema() -> Result<String, Error> {
    let name = schema_oid().and_then(|schema| {
        // SAFETY: called inside a transaction; unknown OIDs answer NULL.
        unsafe {
            let name = pg_sys::get_namespace_name(schema);
            if name.is_null() {
                return None;
            }
            Some(
                CStr::from_ptr(pg_sys::quote_identifier(name))
                    .to_string_lossy()
                    .into_owned(),
            )
        }
    });
    name.ok_or_else(|| Error::Corrupted {
        what: "the extension conifer is not in this database".into(),
    })
}
