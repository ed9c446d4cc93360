//! Entries in row form and in packed blocks, and the way from one to the other.
//!
//! ```text
//! row    add f32 | rescale f32 | error f32 | TID 6 bytes | signature 8 bytes | code n/8 bytes
//! block  32 × add | 32 × rescale | 32 × error | codes, 4n bytes | 32 × TID | 32 × signature
//! ```
//!
//! Without padding, in native byte order; how a block interleaves its codes is told in `kernel/code/`.
#![forbid(unsafe_code)]

use super::Factors;
use crate::kernel::BLOCK_ENTRIES;

/// Bytes of a factor, of a TID, and of a signature.
const FACTOR: usize = 4;
const TID: usize = 6;
const SIGNATURE: usize = 8;
/// What comes before the code of a row.
const HEAD: usize = 3 * FACTOR + TID + SIGNATURE;
/// Entries share a byte of the codes with the one this many further on.
const HALF: usize = BLOCK_ENTRIES / 2;

/// Bytes of an entry in row form.
#[must_use]
pub fn row_bytes(code_bits: usize) -> usize {
    HEAD + code_bits / 8
}

/// Bytes of a packed block.
#[must_use]
pub fn block_bytes(code_bits: usize) -> usize {
    BLOCK_ENTRIES * row_bytes(code_bits)
}

/// An entry in row form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Its factors.
    pub factors: Factors,
    /// Where the row is in the table.
    pub tid: [u8; TID],
    /// Its filter signature.
    pub signature: u64,
    /// Its code.
    pub code: &'a [u8],
}

impl<'a> Row<'a> {
    /// The entry in these bytes; none if they are too few to be one.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, code) = bytes.split_first_chunk::<HEAD>()?;
        let factor = |at: usize| f32::from_ne_bytes(part(head, at * FACTOR));
        Some(Self {
            factors: Factors {
                add: factor(0),
                rescale: factor(1),
                error: factor(2),
            },
            tid: part(head, 3 * FACTOR),
            signature: u64::from_ne_bytes(part(head, 3 * FACTOR + TID)),
            code,
        })
    }

    /// Writes the entry. Panics unless `bytes` has [`row_bytes`] of its code.
    pub fn write(&self, bytes: &mut [u8]) {
        let (head, code) = bytes.split_at_mut(HEAD);
        let Factors {
            add,
            rescale,
            error,
        } = self.factors;
        for (place, factor) in head.as_chunks_mut().0.iter_mut().zip([add, rescale, error]) {
            *place = factor.to_ne_bytes();
        }
        head[3 * FACTOR..][..TID].copy_from_slice(&self.tid);
        head[3 * FACTOR + TID..].copy_from_slice(&self.signature.to_ne_bytes());
        code.copy_from_slice(self.code);
    }
}

/// `LENGTH` bytes of a row's head.
fn part<const LENGTH: usize>(head: &[u8; HEAD], at: usize) -> [u8; LENGTH] {
    std::array::from_fn(|byte| head[at + byte])
}

/// Where the arrays of a block begin: one for each field of a row's head, and the codes.
struct Arrays {
    /// Place in a row, place in a block, bytes of one.
    fields: [(usize, usize, usize); 5],
    codes: usize,
}

fn arrays(code_bits: usize) -> Arrays {
    let codes = 3 * FACTOR * BLOCK_ENTRIES;
    let tids = codes + code_bits / 8 * BLOCK_ENTRIES;
    let factor = |number: usize| (number * FACTOR, number * FACTOR * BLOCK_ENTRIES, FACTOR);
    Arrays {
        fields: [
            factor(0),
            factor(1),
            factor(2),
            (3 * FACTOR, tids, TID),
            (3 * FACTOR + TID, tids + TID * BLOCK_ENTRIES, SIGNATURE),
        ],
        codes,
    }
}

/// Packs up to 32 entries in row form into a block. Places beyond the last have the TID zero, which is none, and the factors
/// of what sorts last. Panics unless `block` has [`block_bytes`] and each row [`row_bytes`].
pub fn pack(rows: &[&[u8]], code_bits: usize, block: &mut [u8]) {
    assert!(
        rows.len() <= BLOCK_ENTRIES,
        "{} rows for a block",
        rows.len()
    );
    assert_eq!(block.len(), block_bytes(code_bits), "a block to be packed");
    block.fill(0);
    for add in block[..BLOCK_ENTRIES * FACTOR].as_chunks_mut().0 {
        *add = Factors::LAST.add.to_ne_bytes();
    }
    let arrays = arrays(code_bits);
    for (entry, row) in rows.iter().enumerate() {
        assert_eq!(row.len(), row_bytes(code_bits), "a row to be packed");
        for (from, to, length) in arrays.fields {
            block[to + entry * length..][..length].copy_from_slice(&row[from..][..length]);
        }
        let (column, shift) = place(entry);
        let pairs = block[arrays.codes..].as_chunks_mut::<BLOCK_ENTRIES>().0;
        // A byte of a code is two groups of four bits, and two groups of a block are 32 bytes.
        for (byte, pair) in row[HEAD..].iter().zip(pairs) {
            pair[column] |= (byte & 15) << shift;
            pair[column + HALF] |= (byte >> 4) << shift;
        }
    }
}

/// Writes one entry of a block in row form. Panics unless `block` has [`block_bytes`], `row` [`row_bytes`], and the entry is
/// one of 32.
pub fn unpack(block: &[u8], code_bits: usize, entry: usize, row: &mut [u8]) {
    assert!(entry < BLOCK_ENTRIES, "entry {entry} of a block");
    assert_eq!(
        block.len(),
        block_bytes(code_bits),
        "a block to be unpacked"
    );
    assert_eq!(row.len(), row_bytes(code_bits), "a row to be unpacked");
    let arrays = arrays(code_bits);
    for (to, from, length) in arrays.fields {
        row[to..][..length].copy_from_slice(&block[from + entry * length..][..length]);
    }
    let (column, shift) = place(entry);
    let pairs = block[arrays.codes..].as_chunks::<BLOCK_ENTRIES>().0;
    for (byte, pair) in row[HEAD..].iter_mut().zip(pairs) {
        *byte = (pair[column] >> shift & 15) | (pair[column + HALF] >> shift & 15) << 4;
    }
}

/// The byte of a group that an entry's bits are in, and how far they are shifted.
fn place(entry: usize) -> (usize, u32) {
    (entry % HALF, if entry < HALF { 0 } else { 4 })
}
