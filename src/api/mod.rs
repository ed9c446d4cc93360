//! The SQL functions, one file per family.
#![forbid(unsafe_code)]

mod vector_type;
