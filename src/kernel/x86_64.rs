//! Kernels for AVX-512 (its parts `F` and `BW`, which every server CPU with AVX-512 has) and for AVX2 with FMA.
#![allow(unsafe_code)]

use super::Kernels;
use super::code::x86_64::{B32, B64};
use super::generic::{Lanes, kernel_table};
use std::arch::x86_64::*;

/// An intrinsic that touches no memory, on lanes that prove it may run.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: the operands are lanes, and lanes are made only by `zero`, `load` and `load_part`, whose callers
        // vouch that the CPU has the instruction set.
        unsafe { $intrinsic }
    };
}

static AVX512: Kernels =
    kernel_table!("avx512", F32x16, F64x8, B64, #[target_feature(enable = "avx512f,avx512bw")]);
static AVX2: Kernels =
    kernel_table!("avx2", F32x8, F64x4, B32, #[target_feature(enable = "avx2,fma")]);

/// The AVX-512 table, if this CPU (and its operating system) can run it.
pub(super) fn avx512() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(&AVX512)
}

/// The AVX2 table, if this CPU can run it.
pub(super) fn avx2() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&AVX2)
}

#[derive(Clone, Copy)]
pub(super) struct F32x16(pub(super) __m512);

impl Lanes for F32x16 {
    type Number = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX-512.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512 and 16 floats; the load is unaligned.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mask = (1 << count) - 1;
        // SAFETY: the caller vouches for AVX-512 and `count` floats; masked lanes are not read.
        Self(unsafe { _mm512_maskz_loadu_ps(mask, from) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(_mm512_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(_mm512_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(_mm512_abs_ps(self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        proven!(_mm512_reduce_add_ps(self.0))
    }
}

#[derive(Clone, Copy)]
struct F64x8(__m512d);

impl Lanes for F64x8 {
    type Number = f64;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX-512.
        Self(unsafe { _mm512_setzero_pd() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512 and 8 floats; the load is unaligned.
        Self(unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from)) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let mask = (1 << count) - 1;
        // A masked load of a whole register, because the 256-bit one needs the VL part of AVX-512 as well.
        // SAFETY: the caller vouches for AVX-512 and `count` floats; masked lanes are not read.
        let floats = unsafe { _mm512_castps512_ps256(_mm512_maskz_loadu_ps(mask, from)) };
        // SAFETY: the caller vouches for AVX-512.
        Self(unsafe { _mm512_cvtps_pd(floats) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(_mm512_add_pd(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(_mm512_sub_pd(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(_mm512_fmadd_pd(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(_mm512_abs_pd(self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f64 {
        proven!(_mm512_reduce_add_pd(self.0))
    }
}

/// The AVX2 mask of the first `count < 8` lanes.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let mask = &WINDOW[8 - count..][..8];
    // SAFETY: the caller vouches for AVX2; the slice has the eight numbers an unaligned load takes.
    unsafe { _mm256_loadu_si256(mask.as_ptr().cast()) }
}

#[derive(Clone, Copy)]
pub(super) struct F32x8(pub(super) __m256);

impl Lanes for F32x8 {
    type Number = f32;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX2.
        Self(unsafe { _mm256_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX2 and 8 floats; the load is unaligned.
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for AVX2 and `count` floats; masked lanes are not read.
        Self(unsafe { _mm256_maskload_ps(from, first_lanes(count)) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(_mm256_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(_mm256_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(_mm256_fmadd_ps(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        proven!({
            let four = _mm_add_ps(
                _mm256_castps256_ps128(self.0),
                _mm256_extractf128_ps::<1>(self.0),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }
}

#[derive(Clone, Copy)]
struct F64x4(__m256d);

impl Lanes for F64x4 {
    type Number = f64;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX2.
        Self(unsafe { _mm256_setzero_pd() })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX2 and 4 floats; the load is unaligned.
        Self(unsafe { _mm256_cvtps_pd(_mm_loadu_ps(from)) })
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for AVX2.
        let mask = unsafe { _mm256_castsi256_si128(first_lanes(count)) };
        // SAFETY: the caller vouches for AVX2 and `count` floats; masked lanes are not read.
        Self(unsafe { _mm256_cvtps_pd(_mm_maskload_ps(from, mask)) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(proven!(_mm256_add_pd(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(proven!(_mm256_sub_pd(self.0, other.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(proven!(_mm256_fmadd_pd(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(proven!(_mm256_andnot_pd(_mm256_set1_pd(-0.0), self.0)))
    }
    #[inline(always)]
    fn sum(self) -> f64 {
        proven!({
            let two = _mm_add_pd(
                _mm256_castpd256_pd128(self.0),
                _mm256_extractf128_pd::<1>(self.0),
            );
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        })
    }
}
