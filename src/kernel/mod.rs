//! Distances between vectors of float4, scans of codes, the Hadamard transform: one algorithm each, one table of
//! functions for each instruction set.
//!
//! The contract of every distance function in [`Kernels`] (that of the code scans is in `code/`):
//!
//! * Both slices have the same length; this is checked once per call (a panic names the two lengths). Callers
//!   compare dimensions first and report the mismatch to the user.
//! * Any finite element is welcome, denormals included. NaN and infinity are refused at input ([`crate::vector`]);
//!   a kernel given them returns what IEEE arithmetic gives and never fails.
//! * The order of summation is free, so two instruction sets may differ in the last bits. The result of a function
//!   that accumulates in `f32` lies within `steps · ε · Σ|terms|` of the true sum, ε = 2⁻²⁴ and `steps` =
//!   [`rounding_steps`], plus [`UNDERFLOW`] for each term. Where the true sum, or a partial sum, exceeds `f32::MAX`
//!   the result is infinite or NaN, as plain `f32` arithmetic (and pgvector) would have it.
//! * The `_f64` functions convert each element to `f64` before any arithmetic: products are exact there, nothing
//!   overflows or underflows, and the result lies within `2 · steps · 2⁻⁵³ · Σ|terms|` of the true sum.
//!
//! A loop over many vectors takes `let kernels = kernels();` once and calls through that table.
//!
//! `generic.rs`, `code/` and the instruction-set files are where this folder's `unsafe` is: intrinsics behind run-time detection.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod code;
mod dispatch;
mod generic;
mod hadamard;
mod scalar;
mod steps;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod tests;

pub use code::{BLOCK_ENTRIES, BlockQuery};
#[cfg(test)]
pub(crate) use dispatch::choose;
pub use dispatch::kernels;
pub use steps::round;

/// Two or three sums of one pass over a pair of vectors.
type Sums2<T> = fn(&[f32], &[f32]) -> (T, T);
type Sums3<T> = fn(&[f32], &[f32]) -> (T, T, T);
/// [`Kernels::scan_block`]
type ScanBlock = fn(&[u8], &BlockQuery<'_>, f32, &mut [f32; BLOCK_ENTRIES]) -> u32;

/// The functions of one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// `avx512`, `avx2`, `neon` or `scalar`.
    pub name: &'static str,
    /// Σ aᵢ·bᵢ
    pub dot: fn(&[f32], &[f32]) -> f32,
    /// Σ (aᵢ−bᵢ)²
    pub l2_squared: fn(&[f32], &[f32]) -> f32,
    /// Σ |aᵢ−bᵢ|
    pub l1: fn(&[f32], &[f32]) -> f32,
    /// Σ aᵢ·bᵢ, Σ aᵢ², Σ bᵢ²
    pub dot_and_norms: Sums3<f32>,
    /// Σ aᵢ·bᵢ, Σ bᵢ²: for one `a` against many `b`
    pub dot_and_norm: Sums2<f32>,
    /// Σ aᵢ·bᵢ in `f64`
    pub dot_f64: fn(&[f32], &[f32]) -> f64,
    /// Σ (aᵢ−bᵢ)² in `f64`
    pub l2_squared_f64: fn(&[f32], &[f32]) -> f64,
    /// Σ aᵢ·bᵢ, Σ bᵢ² in `f64`
    pub dot_and_norm_f64: Sums2<f64>,
    /// Estimates the keys of the 32 entries of a packed block; bit j of the result is set if the lower bound of entry j is
    /// not above the threshold. Block and tables are as [`BlockQuery`] tells; a block too short for the tables panics.
    pub scan_block: ScanBlock,
    /// Σ weightᵢ over the bits set in a code: dimension i is bit i % 8 of byte i / 8. Panics unless there are eight weights
    /// to each byte and the code is a multiple of eight bytes.
    pub scan_row: fn(&[u8], &[i8]) -> i32,
    /// The Hadamard transform in place, unscaled, its output in a fixed order of its own (`hadamard.rs`). The same bits on
    /// every CPU. Panics unless the length is a power of two and at least 64.
    pub hadamard: fn(&mut [f32]),
    /// Whole numbers times a step. The same bits on every CPU. Panics unless there are as many products as numbers.
    pub multiples: fn(&[i8], f32, &mut [f32]),
}

/// The most that one product can lose to underflow: the smallest denormal (half of it, doubled for safety).
pub const UNDERFLOW: f64 = 1.0 / (1u128 << 126) as f64 / (1u64 << 23) as f64;

/// Upper bound on the roundings that any one term of a sum over `dimensions` elements goes through.
///
/// Every table sums in at least 16 independent chains (4 accumulators of 4 or more lanes): a term meets at most
/// `dimensions / 16` additions in its chain, 4 more for what does not fill a round, up to 2 for joining accumulators,
/// up to 7 across lanes, and up to 3 roundings of its own (difference, counted twice by the square, and product).
#[must_use]
pub fn rounding_steps(dimensions: usize) -> f64 {
    (dimensions / 16 + 16) as f64
}
