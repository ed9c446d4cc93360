//! The index algorithm's pages as PostgreSQL's: an index relation's main fork, and what this backend remembers of indexes.
#![forbid(unsafe_code)]

mod cache;
mod pages;

pub use cache::{forget, state};
pub use pages::PgPages;
