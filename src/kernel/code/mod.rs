//! Scans of 1-bit codes: the algorithms once over [`Bytes`] and [`Floats`], the contract, and the checks of lengths.
//!
//! A *packed block* holds 32 entries, in native byte order and at any alignment:
//!
//! ```text
//! add      32 × f32
//! rescale  32 × f32
//! error    32 × f32
//! codes    for each group of four dimensions 16 bytes: byte j holds the group's four bits of entry j in its low half and
//!          those of entry j + 16 in its high half
//! …        what follows is not the kernel's business
//! ```
//!
//! To each group belongs a table of 16 numbers, one for each value of its four bits. A byte shuffle looks 16 of them up at
//! once; the sum of an entry's numbers over all groups, scaled, is its inner product with the query.
//!
//! Bounds: a number is at most 255, so a `u16` holds the sum of 257; sums are widened to `u32` after [`WIDEN`] = 256 steps
//! at the latest, each of which adds one number to an accumulator. A `u32` holds more groups than a slice has bytes to give
//! a code (2³² / 255 groups are 67 million dimensions). In `scan_row` a step adds two weights, at most 256 in magnitude, to
//! an `i16`: 127 of them fit, and [`WIDEN_SIGNED`] = 64 are taken.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
pub(super) mod aarch64;
pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;

#[cfg(test)]
mod tests;

use super::generic::Lanes;

/// Entries in a packed block.
pub const BLOCK_ENTRIES: usize = 32;

/// Bytes of a group in a block, and numbers in its table.
const GROUP: usize = 16;
/// Bytes of one array of factors.
const FACTOR: usize = BLOCK_ENTRIES * size_of::<f32>();
/// Where the codes begin.
const CODES: usize = 3 * FACTOR;
/// The widest register any instruction set has, in bytes: tables and codes are whole numbers of it.
const WIDEST: usize = 64;
const WIDEN: usize = 256;
const WIDEN_SIGNED: usize = 64;

/// One query as a block is compared with it.
///
/// With `sum` the sum of an entry's numbers from the tables, its estimate is `base + add + rescale · (scale · sum + offset)`,
/// and its lower bound `estimate − slack · error`.
#[derive(Clone, Copy, Debug)]
pub struct BlockQuery<'a> {
    /// A table of 16 numbers for each group of four dimensions, one after the other; as long as the codes of a block.
    pub tables: &'a [u8],
    /// What a sum is multiplied by.
    pub scale: f32,
    /// What is added then.
    pub offset: f32,
    /// What every estimate contains.
    pub base: f32,
    /// How much of the entry's error is taken off.
    pub slack: f32,
}

/// The tables are whole registers, and the block has all the codes and factors they are for.
#[inline(always)]
pub(super) fn check_block(block: &[u8], query: &BlockQuery<'_>) {
    let tables = query.tables.len();
    assert!(
        tables.is_multiple_of(WIDEST) && block.len() >= CODES && block.len() - CODES >= tables,
        "a block of {} bytes scanned with {tables} bytes of tables",
        block.len()
    );
}

/// Eight weights to each byte, and whole registers of weights.
#[inline(always)]
pub(super) fn check_row(code: &[u8], weights: &[i8]) {
    assert!(
        weights.len().is_multiple_of(WIDEST) && weights.len() / 8 == code.len(),
        "a code of {} bytes scanned with {} weights",
        code.len(),
        weights.len()
    );
}

/// One SIMD register of bytes. As with [`Lanes`] a value is the proof that the CPU has the instructions.
pub(super) trait Bytes: Copy {
    /// Bytes in a register: a multiple of 16, at most [`WIDEST`].
    const LANES: usize;
    /// `u16` accumulators of 16 entries, for each of the register's groups.
    type Sums: Copy;
    /// `i16` accumulators.
    type SignedSums: Copy;

    /// `LANES` bytes from `from`, at any alignment.
    ///
    /// # Safety
    /// The CPU has the instruction set of this type, and `LANES` bytes are readable at `from`.
    unsafe fn load(from: *const u8) -> Self;
    /// Sums of nothing.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn no_sums() -> Self::Sums;
    /// As `no_sums`.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn no_signed_sums() -> Self::SignedSums;
    /// The low half of each byte.
    fn low(self) -> Self;
    /// The high half of each byte.
    fn high(self) -> Self;
    /// For each byte, below 16, the number at its place in its group's table.
    fn look_up(self, tables: Self) -> Self;
    /// `sums` and these numbers.
    fn add(self, sums: Self::Sums) -> Self::Sums;
    /// Adds up the groups, and those to `totals`.
    fn total(sums: Self::Sums, totals: &mut [u32; GROUP]);
    /// The weights whose bit is set, 0 for the others.
    ///
    /// # Safety
    /// The CPU has the instruction set; `LANES` weights and `LANES / 8` bytes of code are readable.
    unsafe fn select(code: *const u8, weights: *const i8) -> Self;
    /// `sums` and these bytes, as signed numbers.
    fn add_signed(self, sums: Self::SignedSums) -> Self::SignedSums;
    /// The sum of all.
    fn total_signed(sums: Self::SignedSums) -> i32;
}

/// What the bound test needs of a register of `f32`.
pub(super) trait Floats: Lanes<Number = f32> {
    /// The same number in all lanes.
    ///
    /// # Safety
    /// The CPU has the instruction set of this type.
    unsafe fn splat(number: f32) -> Self;
    /// `LANES` integers below 2²⁴, converted.
    ///
    /// # Safety
    /// As for `splat`, and `LANES` integers are readable at `from`.
    unsafe fn convert(from: *const u32) -> Self;
    /// Writes the lanes.
    ///
    /// # Safety
    /// `LANES` floats are writable at `to`.
    unsafe fn store(self, to: *mut f32);
    /// Bit i is set unless lane i is above that of `limit`: also if either is NaN.
    fn not_above(self, limit: Self) -> u32;
}

/// [`Kernels::scan_block`](super::Kernels::scan_block).
///
/// # Safety
/// The CPU has the instruction set of `B` and `F`, and `check_block` has passed.
#[inline(always)]
pub(super) unsafe fn scan_block<B: Bytes, F: Floats>(
    block: &[u8],
    query: &BlockQuery<'_>,
    threshold: f32,
    estimates: &mut [f32; BLOCK_ENTRIES],
) -> u32 {
    // SAFETY: passed on; the slice from CODES on is at least as long as the tables.
    let sums = unsafe { sums::<B>(&block[CODES..], query.tables) };
    let (factors, sums) = (block.as_ptr(), sums.as_flattened());
    // SAFETY: the caller vouches for the instruction set.
    let splat = |number| unsafe { F::splat(number) };
    let (scale, offset, base) = (splat(query.scale), splat(query.offset), splat(query.base));
    let (minus_slack, threshold) = (splat(-query.slack), splat(threshold));
    let mut candidates = 0;
    for at in (0..BLOCK_ENTRIES).step_by(F::LANES) {
        // SAFETY: LANES divides 32, so at + LANES <= 32, the length of `sums`, of `estimates` and of each of the three
        // arrays of factors, which lie in the block as `check_block` has seen.
        unsafe {
            let factor = |array: usize| F::load(factors.add(array * FACTOR).cast::<f32>().add(at));
            let dot = F::convert(sums.as_ptr().add(at)).mul_add(scale, offset);
            let estimate = dot.mul_add(factor(1), base.add(factor(0)));
            estimate.store(estimates.as_mut_ptr().add(at));
            let bound = factor(2).mul_add(minus_slack, estimate);
            candidates |= bound.not_above(threshold) << at;
        }
    }
    candidates
}

/// The sums of the numbers of each entry: those of entries 0 … 15, and of 16 … 31.
///
/// # Safety
/// The CPU has the instruction set; `codes` is at least as long as `tables`, which is a multiple of [`WIDEST`].
#[inline(always)]
unsafe fn sums<B: Bytes>(codes: &[u8], tables: &[u8]) -> [[u32; GROUP]; 2] {
    debug_assert!(codes.len() >= tables.len() && tables.len().is_multiple_of(WIDEST));
    let mut totals = [[0; GROUP]; 2];
    let mut from = 0;
    while from < tables.len() {
        let to = tables.len().min(from + WIDEN * B::LANES);
        // SAFETY: the caller vouches for the instruction set.
        let (mut low, mut high) = unsafe { (B::no_sums(), B::no_sums()) };
        while from < to {
            // SAFETY: `to` and `from` are multiples of LANES, so from + LANES <= to <= tables.len() <= codes.len().
            let (codes, tables) = unsafe {
                (
                    B::load(codes.as_ptr().add(from)),
                    B::load(tables.as_ptr().add(from)),
                )
            };
            low = codes.low().look_up(tables).add(low);
            high = codes.high().look_up(tables).add(high);
            from += B::LANES;
        }
        B::total(low, &mut totals[0]);
        B::total(high, &mut totals[1]);
    }
    totals
}

/// [`Kernels::scan_row`](super::Kernels::scan_row).
///
/// # Safety
/// The CPU has the instruction set, and `check_row` has passed.
#[inline(always)]
pub(super) unsafe fn scan_row<B: Bytes>(code: &[u8], weights: &[i8]) -> i32 {
    let mut total = 0;
    let mut from = 0;
    while from < weights.len() {
        let to = weights.len().min(from + WIDEN_SIGNED * B::LANES);
        // SAFETY: the caller vouches for the instruction set.
        let mut sums = unsafe { B::no_signed_sums() };
        while from < to {
            // SAFETY: `to` and `from` are multiples of LANES, so from + LANES <= to <= weights.len() = 8 · code.len().
            let selected =
                unsafe { B::select(code.as_ptr().add(from / 8), weights.as_ptr().add(from)) };
            sums = selected.add_signed(sums);
            from += B::LANES;
        }
        total += B::total_signed(sums);
    }
    total
}
