//! Code scans for AVX-512 (`F` and `BW`) and for AVX2.
//!
//! Sums of `u8` in `u16`: adding the register of bytes as it stands to 16-bit lanes adds even + 256 · odd, modulo 2¹⁶;
//! adding it shifted right by 8 sums the odd ones alone. At the end 256 · odd is taken off the first. That is three
//! instructions a register, where unpacking to 16 bits takes four.
#![allow(unsafe_code)]

use super::{Bytes, Floats, GROUP};
use crate::kernel::x86_64::{F32x8, F32x16};
use std::arch::x86_64::*;

/// An intrinsic that touches no memory, on values that prove it may run.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: the operands are registers that only functions made whose callers vouch that the CPU has the
        // instruction set.
        unsafe { $intrinsic }
    };
}

/// 64 bytes: four groups.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct B64(__m512i);

/// Even bytes' sums with 256 times the odd ones', and the odd ones'.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Mixed<V> {
    both: V,
    odd: V,
}

impl Bytes for B64 {
    const LANES: usize = 64;
    type Sums = Mixed<__m512i>;
    type SignedSums = __m512i;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX-512 and 64 bytes; the load is unaligned.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    unsafe fn no_sums() -> Self::Sums {
        // SAFETY: the caller vouches for AVX-512.
        let zero = unsafe { _mm512_setzero_si512() };
        Mixed {
            both: zero,
            odd: zero,
        }
    }
    #[inline(always)]
    unsafe fn no_signed_sums() -> Self::SignedSums {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn low(self) -> Self {
        Self(proven!(_mm512_and_si512(self.0, _mm512_set1_epi8(15))))
    }
    #[inline(always)]
    fn high(self) -> Self {
        Self(proven!(_mm512_srli_epi16::<4>(self.0))).low()
    }
    #[inline(always)]
    fn look_up(self, tables: Self) -> Self {
        Self(proven!(_mm512_shuffle_epi8(tables.0, self.0)))
    }
    #[inline(always)]
    fn add(self, sums: Self::Sums) -> Self::Sums {
        proven!(Mixed {
            both: _mm512_add_epi16(sums.both, self.0),
            odd: _mm512_add_epi16(sums.odd, _mm512_srli_epi16::<8>(self.0)),
        })
    }
    #[inline(always)]
    fn total(sums: Self::Sums, totals: &mut [u32; GROUP]) {
        proven!({
            let even = _mm512_sub_epi16(sums.both, _mm512_slli_epi16::<8>(sums.odd));
            // In order of entries, and as u32: the even ones are the low halves of the 32-bit lanes after interleaving.
            let (low, high) = (
                _mm512_unpacklo_epi16(even, sums.odd),
                _mm512_unpackhi_epi16(even, sums.odd),
            );
            add_lanes(low, &mut totals[..8]);
            add_lanes(high, &mut totals[8..]);
        });
    }
    #[inline(always)]
    unsafe fn select(code: *const u8, weights: *const i8) -> Self {
        // SAFETY: the caller vouches for AVX-512, eight bytes of code and 64 weights; both reads are unaligned.
        unsafe {
            let mask = code.cast::<u64>().read_unaligned();
            Self(_mm512_maskz_loadu_epi8(mask, weights))
        }
    }
    #[inline(always)]
    fn add_signed(self, sums: Self::SignedSums) -> Self::SignedSums {
        proven!(_mm512_add_epi16(
            sums,
            _mm512_maddubs_epi16(_mm512_set1_epi8(1), self.0)
        ))
    }
    #[inline(always)]
    fn total_signed(sums: Self::SignedSums) -> i32 {
        proven!(_mm512_reduce_add_epi32(_mm512_madd_epi16(
            sums,
            _mm512_set1_epi16(1)
        )))
    }
}

/// Adds the eight 16-bit numbers of each 128-bit lane to `totals`.
///
/// # Safety
/// The CPU has AVX-512.
#[inline(always)]
unsafe fn add_lanes(lanes: __m512i, totals: &mut [u32]) {
    let mut numbers = [0u16; 32];
    // SAFETY: the caller vouches for AVX-512; the array has 64 bytes, and the store is unaligned.
    unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), lanes) };
    for lane in numbers.chunks_exact(8) {
        for (total, number) in totals.iter_mut().zip(lane) {
            *total += u32::from(*number);
        }
    }
}

/// 32 bytes: two groups.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct B32(__m256i);

impl Bytes for B32 {
    const LANES: usize = 32;
    type Sums = Mixed<__m256i>;
    type SignedSums = __m256i;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX2 and 32 bytes; the load is unaligned.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    unsafe fn no_sums() -> Self::Sums {
        // SAFETY: the caller vouches for AVX2.
        let zero = unsafe { _mm256_setzero_si256() };
        Mixed {
            both: zero,
            odd: zero,
        }
    }
    #[inline(always)]
    unsafe fn no_signed_sums() -> Self::SignedSums {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    fn low(self) -> Self {
        Self(proven!(_mm256_and_si256(self.0, _mm256_set1_epi8(15))))
    }
    #[inline(always)]
    fn high(self) -> Self {
        Self(proven!(_mm256_srli_epi16::<4>(self.0))).low()
    }
    #[inline(always)]
    fn look_up(self, tables: Self) -> Self {
        Self(proven!(_mm256_shuffle_epi8(tables.0, self.0)))
    }
    #[inline(always)]
    fn add(self, sums: Self::Sums) -> Self::Sums {
        proven!(Mixed {
            both: _mm256_add_epi16(sums.both, self.0),
            odd: _mm256_add_epi16(sums.odd, _mm256_srli_epi16::<8>(self.0)),
        })
    }
    #[inline(always)]
    fn total(sums: Self::Sums, totals: &mut [u32; GROUP]) {
        proven!({
            let even = _mm256_sub_epi16(sums.both, _mm256_slli_epi16::<8>(sums.odd));
            let (low, high) = (
                _mm256_unpacklo_epi16(even, sums.odd),
                _mm256_unpackhi_epi16(even, sums.odd),
            );
            let (first, second) = totals.split_at_mut(GROUP / 2);
            for (lanes, totals) in [(low, first), (high, second)] {
                // The lanes of the two groups, widened and added to what is there.
                let widened = _mm256_add_epi32(
                    _mm256_cvtepu16_epi32(_mm256_castsi256_si128(lanes)),
                    _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(lanes)),
                );
                let to = totals.as_mut_ptr().cast();
                _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), widened));
            }
        });
    }
    #[inline(always)]
    unsafe fn select(code: *const u8, weights: *const i8) -> Self {
        // SAFETY: the caller vouches for AVX2, four bytes of code and 32 weights; both reads are unaligned.
        unsafe {
            let bits = _mm256_set1_epi32(code.cast::<i32>().read_unaligned());
            // Byte i of the code in bytes 8·i … 8·i + 7, then one bit of it in each.
            let spread = _mm256_setr_epi64x(
                0,
                0x0101_0101_0101_0101,
                0x0202_0202_0202_0202,
                0x0303_0303_0303_0303,
            );
            let place = _mm256_set1_epi64x(0x8040_2010_0804_0201u64.cast_signed());
            let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, spread), place);
            let set = _mm256_cmpeq_epi8(bits, place);
            Self(_mm256_and_si256(set, Self::load(weights.cast()).0))
        }
    }
    #[inline(always)]
    fn add_signed(self, sums: Self::SignedSums) -> Self::SignedSums {
        proven!(_mm256_add_epi16(
            sums,
            _mm256_maddubs_epi16(_mm256_set1_epi8(1), self.0)
        ))
    }
    #[inline(always)]
    fn total_signed(sums: Self::SignedSums) -> i32 {
        proven!({
            let eight = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(eight),
                _mm256_extracti128_si256::<1>(eight),
            );
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        })
    }
}

impl Floats for F32x16 {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        Self(unsafe { _mm512_set1_ps(number) })
    }
    #[inline(always)]
    unsafe fn convert(from: *const u32) -> Self {
        // SAFETY: the caller vouches for AVX-512 and 16 integers; the load is unaligned.
        Self(unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 16 floats; the store is unaligned.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    fn not_above(self, limit: Self) -> u32 {
        u32::from(proven!(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(self.0, limit.0)))
    }
}

impl Floats for F32x8 {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        // SAFETY: the caller vouches for AVX2.
        Self(unsafe { _mm256_set1_ps(number) })
    }
    #[inline(always)]
    unsafe fn convert(from: *const u32) -> Self {
        // SAFETY: the caller vouches for AVX2 and eight integers; the load is unaligned.
        Self(unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for eight floats; the store is unaligned.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    fn not_above(self, limit: Self) -> u32 {
        let above = proven!(_mm256_cmp_ps::<_CMP_NGT_UQ>(self.0, limit.0));
        proven!(_mm256_movemask_ps(above)).cast_unsigned()
    }
}
