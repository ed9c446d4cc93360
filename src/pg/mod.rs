//! The fence: the only module that names `pg_sys`. Everything it hands out is safe to use from the rest of the crate.
#![allow(unsafe_code)]
#![deny(ffi_unwind_calls)]

pub mod access;
pub mod array;
pub mod binary;
pub mod catalog;
pub mod compat;
pub mod extension;
pub mod heap;
pub mod json;
pub mod leaf;
pub mod number_array;
pub mod probe;
pub mod relation;
pub mod report;
pub mod spi_row;
pub mod transaction;
pub mod tuple;
pub mod typmod;
pub mod varlena;
pub mod vector_datum;
pub mod writer;

pub use pgrx::pg_sys::Oid;
