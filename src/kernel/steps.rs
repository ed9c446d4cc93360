//! Whole numbers of a byte as multiples of a step, written as a plain loop that the compiler turns into the SIMD of each instruction set.
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
