//! The algorithm of every kernel, written once over [`Lanes`]; the instruction-set files only say what a lane is.
//!
//! A sum runs over the slices in rounds of [`WAYS`] registers. Each register has its own accumulator, because a fused
//! multiply-add takes about four cycles to finish and one may start every cycle (two loads feed one of them).
//! What is left after the last full round is taken register by register, and then with one partial load whose missing
//! lanes are zero: zero adds nothing to any of the sums here.
//!
//! `f64` accumulation is the same code: a lane type of `f64` converts while loading.
#![allow(unsafe_code)]

/// Accumulators for each sum.
pub(super) const WAYS: usize = 4;

/// One SIMD register of numbers.
///
/// A value exists only where the CPU has the instructions: `zero`, `load` and `load_part`, the only ways to make one from
/// nothing, are unsafe for that reason. The other methods take a value as their proof.
pub(super) trait Lanes: Copy {
    /// `f32` or `f64`.
    type Number: Copy;
    /// Numbers in a register.
    const LANES: usize;

    /// All lanes zero.
    ///
    /// # Safety
    /// The CPU has the instruction set of this type.
    unsafe fn zero() -> Self;

    /// `LANES` floats from `from`, at any alignment.
    ///
    /// # Safety
    /// As for `zero`, and `LANES` floats are readable at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// `count < LANES` floats from `from`, the other lanes zero.
    ///
    /// # Safety
    /// As for `zero`, and `count` floats are readable at `from`.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;

    /// `self + other`
    fn add(self, other: Self) -> Self;
    /// `self − other`
    fn sub(self, other: Self) -> Self;
    /// `self · factor + addend`, rounded once where the instruction set has it
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `|self|`
    fn abs(self) -> Self;
    /// The sum of all lanes.
    fn sum(self) -> Self::Number;
}

/// What a pair of elements adds to each of `SUMS` sums.
pub(super) trait Terms<const SUMS: usize> {
    /// The sums after one register of pairs.
    fn add<V: Lanes>(sums: [V; SUMS], a: V, b: V) -> [V; SUMS];
}

/// Σ a·b
pub(super) struct Dot;
impl Terms<1> for Dot {
    #[inline(always)]
    fn add<V: Lanes>([dot]: [V; 1], a: V, b: V) -> [V; 1] {
        [a.mul_add(b, dot)]
    }
}

/// Σ (a−b)²
pub(super) struct L2Squared;
impl Terms<1> for L2Squared {
    #[inline(always)]
    fn add<V: Lanes>([sum]: [V; 1], a: V, b: V) -> [V; 1] {
        let difference = a.sub(b);
        [difference.mul_add(difference, sum)]
    }
}

/// Σ |a−b|
pub(super) struct L1;
impl Terms<1> for L1 {
    #[inline(always)]
    fn add<V: Lanes>([sum]: [V; 1], a: V, b: V) -> [V; 1] {
        [sum.add(a.sub(b).abs())]
    }
}

/// Σ a·b, Σ b²
pub(super) struct DotAndNorm;
impl Terms<2> for DotAndNorm {
    #[inline(always)]
    fn add<V: Lanes>([dot, norm]: [V; 2], a: V, b: V) -> [V; 2] {
        [a.mul_add(b, dot), b.mul_add(b, norm)]
    }
}

/// Σ a·b, Σ a², Σ b²
pub(super) struct DotAndNorms;
impl Terms<3> for DotAndNorms {
    #[inline(always)]
    fn add<V: Lanes>([dot, norm_a, norm_b]: [V; 3], a: V, b: V) -> [V; 3] {
        [
            a.mul_add(b, dot),
            a.mul_add(a, norm_a),
            b.mul_add(b, norm_b),
        ]
    }
}

/// Runs `T` over all pairs of elements.
///
/// # Safety
/// The CPU has the instruction set of `V`, and the slices have the same length.
#[inline(always)]
pub(super) unsafe fn reduce<V: Lanes, T: Terms<SUMS>, const SUMS: usize>(
    a: &[f32],
    b: &[f32],
) -> [V::Number; SUMS] {
    debug_assert_eq!(a.len(), b.len());
    let length = a.len();
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: the caller vouches for the instruction set.
    let zero = unsafe { V::zero() };
    let mut ways = [[zero; SUMS]; WAYS];
    let mut at = 0;

    while at + WAYS * V::LANES <= length {
        for (way, sums) in ways.iter_mut().enumerate() {
            let from = at + way * V::LANES;
            // SAFETY: from + LANES <= at + WAYS * LANES <= length, the length of both slices.
            let (x, y) = unsafe { (V::load(a.add(from)), V::load(b.add(from))) };
            *sums = T::add(*sums, x, y);
        }
        at += WAYS * V::LANES;
    }
    for sums in &mut ways {
        if at + V::LANES > length {
            break;
        }
        // SAFETY: at + LANES <= length, the length of both slices.
        let (x, y) = unsafe { (V::load(a.add(at)), V::load(b.add(at))) };
        *sums = T::add(*sums, x, y);
        at += V::LANES;
    }
    if at < length {
        let left = length - at;
        // SAFETY: at + left = length, the length of both slices, and left < LANES after the loops above.
        let (x, y) = unsafe { (V::load_part(a.add(at), left), V::load_part(b.add(at), left)) };
        ways[0] = T::add(ways[0], x, y);
    }

    std::array::from_fn(|sum| {
        let upper = ways[0][sum].add(ways[1][sum]);
        upper.add(ways[2][sum].add(ways[3][sum])).sum()
    })
}

/// Both slices have the same length.
#[inline(always)]
pub(super) fn check_lengths(a: &[f32], b: &[f32]) {
    assert!(
        a.len() == b.len(),
        "kernel called with {} and {} elements",
        a.len(),
        b.len()
    );
}

/// The table of one instruction set: its name, its lanes of `f32`, of `f64` and of bytes, and the attribute that enables
/// it.
///
/// The functions behind the table are visible to nobody else, so they run only for those who hold the table:
/// whoever expands this macro must hand the table out only after detecting the instruction set.
macro_rules! kernel_table {
    ($name:literal, $f32:ty, $f64:ty, $bytes:ty $(, #[$enable:meta])?) => {
        $crate::kernel::Kernels {
            name: $name,
            dot: kernel_table!(@face f32, Dot, 1, $f32, [sum] => sum $(, #[$enable])?),
            l2_squared: kernel_table!(@face f32, L2Squared, 1, $f32, [sum] => sum $(, #[$enable])?),
            l1: kernel_table!(@face f32, L1, 1, $f32, [sum] => sum $(, #[$enable])?),
            dot_and_norms: kernel_table!(@face (f32, f32, f32), DotAndNorms, 3, $f32, [dot, a, b] => (dot, a, b) $(, #[$enable])?),
            dot_and_norm: kernel_table!(@face (f32, f32), DotAndNorm, 2, $f32, [dot, b] => (dot, b) $(, #[$enable])?),
            dot_f64: kernel_table!(@face f64, Dot, 1, $f64, [sum] => sum $(, #[$enable])?),
            l2_squared_f64: kernel_table!(@face f64, L2Squared, 1, $f64, [sum] => sum $(, #[$enable])?),
            dot_and_norm_f64: kernel_table!(@face (f64, f64), DotAndNorm, 2, $f64, [dot, b] => (dot, b) $(, #[$enable])?),
            scan_block: {
                /// # Safety
                /// As for `scan_block`.
                $(#[$enable])?
                unsafe fn kernel(block: &[u8], query: &$crate::kernel::BlockQuery<'_>, threshold: f32, estimates: &mut [f32; 32]) -> u32 {
                    // SAFETY: passed on from this function's caller; the lanes are those of the enabled instruction set.
                    unsafe { $crate::kernel::code::scan_block::<$bytes, $f32>(block, query, threshold, estimates) }
                }
                |block, query, threshold, estimates| {
                    $crate::kernel::code::check_block(block, query);
                    // SAFETY: lengths as just checked; the table is handed out only where the CPU has the instruction
                    // set, and nothing else reaches this function.
                    unsafe { kernel(block, query, threshold, estimates) }
                }
            },
            scan_row: {
                /// # Safety
                /// As for `scan_row`.
                $(#[$enable])?
                unsafe fn kernel(code: &[u8], weights: &[i8]) -> i32 {
                    // SAFETY: passed on from this function's caller; the lanes are those of the enabled instruction set.
                    unsafe { $crate::kernel::code::scan_row::<$bytes>(code, weights) }
                }
                |code, weights| {
                    $crate::kernel::code::check_row(code, weights);
                    // SAFETY: as for `scan_block` above.
                    unsafe { kernel(code, weights) }
                }
            },
            hadamard: {
                /// # Safety
                /// The CPU has the instruction set.
                $(#[$enable])?
                unsafe fn kernel(data: &mut [f32]) {
                    $crate::kernel::hadamard::transform(data);
                }
                |data| {
                    $crate::kernel::hadamard::check(data);
                    // SAFETY: as for `scan_block` above.
                    unsafe { kernel(data) }
                }
            },
            multiples: {
                /// # Safety
                /// The CPU has the instruction set.
                $(#[$enable])?
                unsafe fn kernel(numbers: &[i8], step: f32, products: &mut [f32]) {
                    $crate::kernel::steps::multiply(numbers, step, products);
                }
                |numbers, step, products| {
                    $crate::kernel::steps::check(numbers, products);
                    // SAFETY: as for `scan_block` above.
                    unsafe { kernel(numbers, step, products) }
                }
            },
        }
    };
    (@face $result:ty, $terms:ident, $sums:literal, $lanes:ty, $pattern:pat => $value:expr $(, #[$enable:meta])?) => {{
        /// # Safety
        /// As for `reduce`.
        $(#[$enable])?
        unsafe fn kernel(a: &[f32], b: &[f32]) -> $result {
            use $crate::kernel::generic::{$terms, reduce};
            // SAFETY: passed on from this function's caller; the lanes are those of the enabled instruction set.
            let $pattern = unsafe { reduce::<$lanes, $terms, $sums>(a, b) };
            $value
        }
        fn face(a: &[f32], b: &[f32]) -> $result {
            $crate::kernel::generic::check_lengths(a, b);
            // SAFETY: lengths are equal as just checked; the table is handed out only where the CPU has the
            // instruction set, and nothing else reaches this function.
            unsafe { kernel(a, b) }
        }
        face
    }};
}
pub(super) use kernel_table;
