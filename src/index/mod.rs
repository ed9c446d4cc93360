//! The index algorithm over [`pages::Pages`]: build, insert, search, vacuum, check. It knows nothing of PostgreSQL; a file
//! of pages in memory runs all of it in tests.
#![forbid(unsafe_code)]

pub mod assign;
pub mod build;
pub mod centroids;
mod chain;
pub mod check;
pub mod insert;
mod kept;
pub mod learn;
#[cfg(any(test, feature = "fuzz"))]
pub mod mem_pages;
pub mod members;
pub mod neighbours;
pub mod pages;
mod pass;
pub mod plan;
mod rank;
pub mod sample;
pub mod search;
mod snapshot;
pub mod state;
#[cfg(test)]
mod tests;
pub mod topk;
pub mod tree;
pub mod vacuum;
