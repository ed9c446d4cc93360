//! The SQL functions, one file per family.
#![forbid(unsafe_code)]

mod operators;
mod vector_type;
