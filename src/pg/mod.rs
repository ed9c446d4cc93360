//! The fence: the only module that names `pg_sys`. Everything it hands out is safe to use from the rest of the crate.
#![allow(unsafe_code)]
#![deny(ffi_unwind_calls)]

pub mod array;
pub mod binary;
pub mod number_array;
pub mod report;
pub mod typmod;
pub mod varlena;
pub mod vector_datum;

pub use pgrx::pg_sys::Oid;
