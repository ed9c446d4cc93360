//! A copy of an index's pages in plain memory, for threads that may not touch the index itself.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use crate::error::Error;
use crate::layout::{PAGE, corrupted};

/// All pages, as they were.
pub struct Snapshot {
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Of an index that nobody changes meanwhile. None if it has more bytes than `most`, or memory has no room for them.
    pub fn of(pages: &impl ReadPages, most: usize) -> Result<Option<Self>, Error> {
        let blocks = pages.blocks();
        let size = (blocks as usize).saturating_mul(PAGE);
        let mut bytes = Vec::new();
        if size > most || bytes.try_reserve_exact(size).is_err() {
            return Ok(None);
        }
        for block in 0..blocks {
            pages.pause();
            bytes.extend_from_slice(&pages.read(block)?);
        }
        Ok(Some(Self { bytes }))
    }
}

impl ReadPages for Snapshot {
    type Page<'a> = &'a [u8];

    fn blocks(&self) -> u32 {
        (self.bytes.len() / PAGE) as u32
    }

    fn read(&self, block: u32) -> Result<&[u8], Error> {
        self.bytes
            .chunks_exact(PAGE)
            .nth(block as usize)
            .ok_or_else(|| corrupted(format!("block {block} is past the end")))
    }

    /// Nothing: whoever asks for the searches pauses between them.
    fn pause(&self) {}
}
