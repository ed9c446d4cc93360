//! The SQL functions, one file per family.
#![forbid(unsafe_code)]

mod aggregates;
mod casts;
mod operators;
mod pgvector_casts;
mod vector_type;
