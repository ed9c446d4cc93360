//! The fence: the only module that names `pg_sys`. Everything it hands out is safe to use from the rest of the crate.
#![allow(unsafe_code)]
#![deny(ffi_unwind_calls)]

pub mod array;
pub mod binary;
pub mod compat;
pub mod custom_scan;
pub mod executor;
pub mod explain;
pub mod guc;
pub mod hook;
pub mod memory;
pub mod node;
pub mod operator;
mod pg_list;
pub mod report;
pub mod typmod;
pub mod varlena;
pub mod vector_datum;
