//! Entries on a page: how large they are in their two forms, how many fit, where their parts lie.
//!
//! Entries are appended in row form. When 32 stand behind the packed blocks they are packed into one block, in place: a
//! block takes the bytes of its 32 rows. Where no block fits a page (beyond 1,792 dimensions) all entries stay rows.
#![forbid(unsafe_code)]

use super::page::{Kind, Special, area, check_used, set_special, set_used, special};
use super::{NO_BLOCK, corrupted};
use crate::error::Error;
use crate::kernel::BLOCK_ENTRIES;
use crate::quantizer::{self, Row};
use std::ops::Range;

/// Where a row version lies, as an entry tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryTid {
    /// Block of the heap.
    pub block: u32,
    /// Line pointer, from 1; 0 in an entry that was removed.
    pub offset: u16,
}

impl EntryTid {
    /// What stands in the place of a removed entry's TID.
    pub const REMOVED: Self = Self {
        block: NO_BLOCK,
        offset: 0,
    };

    /// Whether the entry is there.
    #[must_use]
    #[inline]
    pub fn is_live(self) -> bool {
        self.offset != 0
    }

    /// Of the bytes in an entry.
    #[must_use]
    #[inline]
    pub fn from_bytes(bytes: &[u8; TID_BYTES]) -> Self {
        let [a, b, c, d, e, f] = *bytes;
        Self {
            block: u32::from_ne_bytes([a, b, c, d]),
            offset: u16::from_ne_bytes([e, f]),
        }
    }

    /// The bytes in an entry.
    #[must_use]
    pub fn to_bytes(self) -> [u8; TID_BYTES] {
        let [a, b, c, d] = self.block.to_ne_bytes();
        let [e, f] = self.offset.to_ne_bytes();
        [a, b, c, d, e, f]
    }
}

const TID_BYTES: usize = 6;
/// In row form the TID follows three factors of four bytes; in a block, their arrays and the codes.
const FACTORS: usize = 12;

/// How many entries a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Packed blocks.
    pub blocks: usize,
    /// Rows behind the last block.
    pub rows: usize,
}

impl Capacity {
    /// Entries in all.
    #[must_use]
    pub fn entries(self) -> usize {
        self.blocks * BLOCK_ENTRIES + self.rows
    }
}

/// Sizes of the entries of one index; all follow from the bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    code_bits: usize,
}

impl Geometry {
    /// Of entries with codes of so many bits, a multiple of 64.
    #[must_use]
    pub fn new(code_bits: usize) -> Self {
        Self { code_bits }
    }

    /// Bytes of an entry in row form.
    #[must_use]
    #[inline]
    pub fn row_bytes(self) -> usize {
        quantizer::row_bytes(self.code_bits)
    }

    /// Bytes of a packed block.
    #[must_use]
    #[inline]
    pub fn block_bytes(self) -> usize {
        quantizer::block_bytes(self.code_bits)
    }

    /// What fits on a page of that kind. Space behind the last block is given to rows where it is more than a quarter of
    /// the page: a row is several times dearer to scan than its share of a block, but reading a page half empty is too.
    #[must_use]
    pub fn capacity(self, kind: Kind) -> Capacity {
        let bytes = area(kind).len();
        let blocks = bytes / self.block_bytes();
        let left = bytes - blocks * self.block_bytes();
        let rows = if blocks == 0 || left > bytes / 4 {
            (left / self.row_bytes()).min(if blocks == 0 {
                usize::MAX
            } else {
                BLOCK_ENTRIES - 1
            })
        } else {
            0
        };
        Capacity { blocks, rows }
    }

    /// Appends an entry in row form; false if the page is full.
    pub fn append(self, page: &mut [u8], row: &[u8]) -> Result<bool, Error> {
        debug_assert_eq!(row.len(), self.row_bytes());
        let mut entries = Entries::of(self, page)?.special;
        let kind = entries.kind()?;
        let capacity = self.capacity(kind);
        let (blocks, rows) = (usize::from(entries.blocks), usize::from(entries.rows));
        if blocks == capacity.blocks && rows >= capacity.rows {
            return Ok(false);
        }
        let start = area(kind).start + blocks * self.block_bytes();
        let at = start + rows * self.row_bytes();
        page[at..at + row.len()].copy_from_slice(row);
        entries.rows += 1;
        if blocks < capacity.blocks && rows + 1 == BLOCK_ENTRIES {
            let region = &mut page[start..start + self.block_bytes()];
            let unpacked = region.to_vec();
            let rows: Vec<&[u8]> = unpacked.chunks_exact(self.row_bytes()).collect();
            quantizer::pack(&rows, self.code_bits, region);
            entries.rows = 0;
            entries.blocks += 1;
        }
        set_special(page, &entries);
        set_used(page, at + row.len());
        Ok(true)
    }

    /// The TID of lane `lane` of a packed block.
    #[must_use]
    #[inline]
    pub fn block_tid(self, block: &[u8], lane: usize) -> EntryTid {
        tid_at(block, self.block_tid_at(lane))
    }

    /// The error factor of lane `lane` of a packed block.
    #[must_use]
    #[inline]
    pub fn block_error(self, block: &[u8], lane: usize) -> f32 {
        block_error(block, lane)
    }

    /// The filter signatures of a packed block.
    #[must_use]
    #[inline]
    pub fn block_signatures(self, block: &[u8]) -> [u64; BLOCK_ENTRIES] {
        let start = self.block_tid_at(BLOCK_ENTRIES);
        let (signatures, _) = block[start..].as_chunks();
        let mut read = [0; BLOCK_ENTRIES];
        for (signature, bytes) in read.iter_mut().zip(signatures) {
            *signature = u64::from_ne_bytes(*bytes);
        }
        read
    }

    #[inline]
    fn block_tid_at(self, lane: usize) -> usize {
        (FACTORS + self.code_bits / 8) * BLOCK_ENTRIES + lane * TID_BYTES
    }
}

/// The error factor of lane `lane` of a packed block, whose codes are of any number of bits.
#[must_use]
#[inline]
pub fn block_error(block: &[u8], lane: usize) -> f32 {
    f32_at(block, (2 * BLOCK_ENTRIES + lane) * 4)
}

#[inline]
fn f32_at(bytes: &[u8], at: usize) -> f32 {
    let chunk = bytes[at..].first_chunk().copied().unwrap_or_default();
    f32::from_ne_bytes(chunk)
}

#[inline]
fn tid_at(bytes: &[u8], at: usize) -> EntryTid {
    bytes[at..]
        .first_chunk()
        .map_or(EntryTid::REMOVED, EntryTid::from_bytes)
}

/// The entries of one page, found to be within it.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    geometry: Geometry,
    page: &'a [u8],
    start: usize,
    /// What the page says of itself.
    pub special: Special,
}

impl<'a> Entries<'a> {
    /// Of a list page or block 0. Counts that do not fit the page are an error.
    pub fn of(geometry: Geometry, page: &'a [u8]) -> Result<Self, Error> {
        let special = special(page)?;
        let kind = special.kind()?;
        if !matches!(kind, Kind::Meta | Kind::List) {
            return Err(corrupted(format!("page of kind {kind:?} in a list")));
        }
        let entries = Self {
            geometry,
            page,
            start: area(kind).start,
            special,
        };
        let capacity = geometry.capacity(kind);
        let (blocks, rows) = (usize::from(special.blocks), usize::from(special.rows));
        let room = if blocks == capacity.blocks {
            capacity.rows
        } else {
            BLOCK_ENTRIES - 1
        };
        let dead = usize::from(special.dead);
        if blocks > capacity.blocks || rows > room || dead > entries.len() {
            return Err(corrupted(format!(
                "page with {} blocks, {} rows, {} of them removed",
                special.blocks, special.rows, special.dead
            )));
        }
        let bytes = blocks * geometry.block_bytes() + rows * geometry.row_bytes();
        check_used(page, entries.start + bytes)?;
        Ok(entries)
    }

    /// Entries, removed ones included.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count of slots, not a collection"
    )]
    pub fn len(&self) -> usize {
        usize::from(self.special.blocks) * BLOCK_ENTRIES + usize::from(self.special.rows)
    }

    /// The packed blocks.
    #[inline]
    pub fn blocks(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.geometry.block_bytes();
        self.page[self.start..self.start + usize::from(self.special.blocks) * bytes]
            .chunks_exact(bytes)
    }

    /// The entries in row form.
    #[inline]
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let start = self.start + usize::from(self.special.blocks) * self.geometry.block_bytes();
        let bytes = self.geometry.row_bytes();
        self.page[start..start + usize::from(self.special.rows) * bytes].chunks_exact(bytes)
    }

    /// Where the TID of entry `number` lies on the page.
    fn tid_bytes(&self, number: usize) -> Range<usize> {
        let (block, lane) = (number / BLOCK_ENTRIES, number % BLOCK_ENTRIES);
        let blocks = usize::from(self.special.blocks);
        let at = if block < blocks {
            self.start + block * self.geometry.block_bytes() + self.geometry.block_tid_at(lane)
        } else {
            let rows = self.start + blocks * self.geometry.block_bytes();
            rows + (number - blocks * BLOCK_ENTRIES) * self.geometry.row_bytes() + FACTORS
        };
        at..at + TID_BYTES
    }

    /// The TID of entry `number`.
    #[must_use]
    pub fn tid(&self, number: usize) -> EntryTid {
        tid_at(self.page, self.tid_bytes(number).start)
    }

    /// The entries from number `from` on, in row form one behind the other.
    #[must_use]
    pub fn copy_rows(&self, from: usize) -> Vec<u8> {
        let bytes = self.geometry.row_bytes();
        let mut rows = vec![0; self.len().saturating_sub(from) * bytes];
        for (number, row) in rows.chunks_exact_mut(bytes).enumerate() {
            self.copy_row(from + number, row);
        }
        rows
    }

    /// Writes entry `number` in row form; `row` is as long as one.
    pub fn copy_row(&self, number: usize, row: &mut [u8]) {
        let (block, row_bytes) = (number / BLOCK_ENTRIES, self.geometry.row_bytes());
        let blocks = usize::from(self.special.blocks);
        if block < blocks {
            let bytes = self.geometry.block_bytes();
            let at = self.start + block * bytes;
            let packed = &self.page[at..at + bytes];
            quantizer::unpack(packed, self.geometry.code_bits, number % BLOCK_ENTRIES, row);
        } else {
            let rows = self.start + blocks * self.geometry.block_bytes();
            let at = rows + (number - blocks * BLOCK_ENTRIES) * row_bytes;
            row.copy_from_slice(&self.page[at..at + row_bytes]);
        }
    }
}

/// The entry that these bytes are in row form.
pub fn read_row(row: &[u8]) -> Result<Row<'_>, Error> {
    Row::read(row).ok_or_else(|| corrupted("entry that is too short"))
}

/// Marks entries of a page, given by number, as removed.
pub fn remove(geometry: Geometry, page: &mut [u8], numbers: &[usize]) -> Result<(), Error> {
    let entries = Entries::of(geometry, page)?;
    let mut special = entries.special;
    let places: Vec<Range<usize>> = numbers.iter().map(|&n| entries.tid_bytes(n)).collect();
    for place in places {
        page[place].copy_from_slice(&EntryTid::REMOVED.to_bytes());
        special.dead += 1;
    }
    set_special(page, &special);
    Ok(())
}
