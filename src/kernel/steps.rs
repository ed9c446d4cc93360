//! Whole numbers as multiples of a step, and back, written as plain loops that the compiler turns into the SIMD of each instruction set.
#![forbid(unsafe_code)]

/// There is room for one product each.
#[inline(always)]
pub(super) fn check(numbers: &[i8], products: &[f32]) {
    assert!(
        numbers.len() == products.len(),
        "{} numbers to be multiplied into {}",
        numbers.len(),
        products.len()
    );
}

/// Each number times the step: one rounding, the same on every CPU.
#[inline(always)]
pub(super) fn multiply(numbers: &[i8], step: f32, products: &mut [f32]) {
    for (product, number) in products.iter_mut().zip(numbers) {
        *product = f32::from(*number) * step;
    }
}

/// To the nearest integer, for magnitudes below 2²²; without the call that `f32::round_ties_even` is on CPUs before SSE4.
#[inline]
#[must_use]
pub fn round(number: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (number + SHIFT).to_bits().cast_signed() - SHIFT.to_bits().cast_signed()
}
