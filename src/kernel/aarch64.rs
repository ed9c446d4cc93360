//! Kernels for NEON, which every 64-bit ARM server CPU has.
#![allow(unsafe_code)]

use super::Kernels;
use super::code::aarch64::B16;
use super::generic::{Lanes, kernel_table};
use std::arch::aarch64::*;

/// An intrinsic that touches no memory, on lanes that prove it may run.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: the operands are lanes, and lanes are made only by `zero`, `load` and `load_part`, whose callers
        // vouch that the CPU has the instruction set.
        unsafe { $intrinsic }
    };
}

static NEON: Kernels = kernel_table!("neon", F32x4, F64x2, B16, #[target_feature(enable = "neon")]);

/// The NEON table, if this CPU can run it.
pub(super) fn neon() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&NEON)
}

#[derive(Clone, Copy)]
pub(super) struct F32x4(pub(super) float32x4_t);

impl Lanes for F32x4 {
    type Number = f32;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vdupq_n_f32(0.0) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for NEON and 4 floats.
        Self(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut floats = [0.0; Self::LANES];
        // SAFETY: the caller vouches for `count` < LANES floats.
        unsafe { copy_part(from, count, &mut floats) };
        // SAFETY: `floats` has LANES of them; the caller vouches for NEON.
        unsafe { Self::load(floats.as_ptr()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(vaddq_f32(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(vsubq_f32(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(vfmaq_f32(addend.0, self.0, factor.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(vabsq_f32(self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        proven!(vaddvq_f32(self.0))
    }
}

#[derive(Clone, Copy)]
struct F64x2(float64x2_t);

impl Lanes for F64x2 {
    type Number = f64;
    const LANES: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vdupq_n_f64(0.0) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for NEON and 2 floats.
        Self(unsafe { vcvt_f64_f32(vld1_f32(from)) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mut floats = [0.0; Self::LANES];
        // SAFETY: the caller vouches for `count` < LANES floats.
        unsafe { copy_part(from, count, &mut floats) };
        // SAFETY: `floats` has LANES of them; the caller vouches for NEON.
        unsafe { Self::load(floats.as_ptr()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(vaddq_f64(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(vsubq_f64(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(vfmaq_f64(addend.0, self.0, factor.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(vabsq_f64(self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f64 {
        proven!(vaddvq_f64(self.0))
    }
}

/// Copies the last floats of a slice into the first places of `floats`: NEON has no masked loads.
///
/// # Safety
/// `count` floats are readable at `from`.
#[inline(always)]
unsafe fn copy_part<const LANES: usize>(from: *const f32, count: usize, floats: &mut [f32; LANES]) {
    // SAFETY: the caller vouches for `count` floats.
    let part = unsafe { std::slice::from_raw_parts(from, count) };
    for (to, &float) in floats.iter_mut().zip(part) {
        *to = float;
    }
}
