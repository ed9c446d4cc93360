//! The SQL functions, one file per family.
#![forbid(unsafe_code)]

mod access_method;
mod aggregates;
mod argument;
mod casts;
mod catalog;
mod filter;
mod index;
mod inspect;
mod limits;
mod machine;
mod namespace;
mod operators;
mod pgvector_casts;
mod query;
mod rights;
mod usage;
mod vector_type;
mod write;
