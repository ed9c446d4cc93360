//! The fence: the only module that names `pg_sys`. Everything it hands out is safe to use from the rest of the crate.
#![allow(unsafe_code)]
#![deny(ffi_unwind_calls)]

pub mod access;
pub mod array;
pub mod binary;
pub mod btree;
pub mod call_site;
pub mod catalog;
pub mod column;
pub mod compat;
pub mod custom_scan;
pub mod drop_locks;
pub mod executor;
pub mod explain;
pub mod extension;
pub mod generic_plan;
pub mod gin;
pub mod guc;
pub mod heap;
pub mod hook;
pub mod id_sort;
pub mod index_am;
pub mod index_build;
pub mod index_pages;
pub mod index_relation;
pub mod index_vacuum;
pub mod json;
pub mod json_merge;
pub mod leaf;
pub mod lock_table;
pub mod memory;
pub mod node;
pub mod number_array;
pub mod operator;
pub mod parallel;
mod pg_list;
mod planner_tree;
pub mod probe;
pub mod recovery;
pub mod regclass;
pub mod relation;
pub mod relation_shape;
pub mod report;
pub mod rows;
pub mod selectivity;
pub mod spi_row;
mod sql_type;
pub mod statistics;
pub mod stop_point;
pub mod table_scan;
pub mod team;
#[cfg(feature = "pg_test")]
mod tests;
pub mod text;
pub mod transaction;
pub mod tuple;
pub mod typmod;
pub mod uncached;
pub mod utility;
pub mod vacuum_cost;
pub mod varlena;
pub mod vector_datum;
pub mod writer;

pub use pgrx::pg_sys::Oid;
