//! The pages of the leaf index: what lies on them and where.
//!
#![doc = include_str!("FORMAT.md")]
#![forbid(unsafe_code)]

pub mod centre;
pub mod centroid;
pub mod directory;
pub mod entry;
pub mod meta;
pub mod page;

/// Bytes of a page: PostgreSQL's BLCKSZ, which `pg::buffer` asserts.
pub const PAGE: usize = 8192;

/// InvalidBlockNumber: no page.
pub const NO_BLOCK: u32 = u32::MAX;

/// Block 0 of every index.
pub const META_BLOCK: u32 = 0;

/// The format this version writes and reads.
pub const FORMAT: u8 = 2;

use crate::error::Error;

pub(crate) fn corrupted(what: impl Into<String>) -> Error {
    Error::Corrupted { what: what.into() }
}
