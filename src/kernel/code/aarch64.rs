//! Code scans for NEON.
#![allow(unsafe_code)]

use super::{Bytes, Floats, GROUP};
use crate::kernel::aarch64::F32x4;
use std::arch::aarch64::*;

/// An intrinsic that touches no memory, on values that prove it may run.
macro_rules! proven {
    ($intrinsic:expr) => {
        // SAFETY: the operands are registers that only functions made whose callers vouch that the CPU has the
        // instruction set.
        unsafe { $intrinsic }
    };
}

/// 16 bytes: one group.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct B16(uint8x16_t);

impl Bytes for B16 {
    const LANES: usize = 16;
    type Sums = [uint16x8_t; 2];
    type SignedSums = int16x8_t;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for NEON and 16 bytes.
        Self(unsafe { vld1q_u8(from) })
    }
    #[inline(always)]
    unsafe fn no_sums() -> Self::Sums {
        // SAFETY: the caller vouches for NEON.
        [unsafe { vdupq_n_u16(0) }; 2]
    }
    #[inline(always)]
    unsafe fn no_signed_sums() -> Self::SignedSums {
        // SAFETY: the caller vouches for NEON.
        unsafe { vdupq_n_s16(0) }
    }
    #[inline(always)]
    fn low(self) -> Self {
        Self(proven!(vandq_u8(self.0, vdupq_n_u8(15))))
    }
    #[inline(always)]
    fn high(self) -> Self {
        Self(proven!(vshrq_n_u8::<4>(self.0)))
    }
    #[inline(always)]
    fn look_up(self, tables: Self) -> Self {
        Self(proven!(vqtbl1q_u8(tables.0, self.0)))
    }
    #[inline(always)]
    fn add(self, [first, second]: Self::Sums) -> Self::Sums {
        proven!([
            vaddw_u8(first, vget_low_u8(self.0)),
            vaddw_high_u8(second, self.0)
        ])
    }
    #[inline(always)]
    fn total(sums: Self::Sums, totals: &mut [u32; GROUP]) {
        for (sums, totals) in sums.into_iter().zip(totals.as_chunks_mut::<8>().0) {
            let mut numbers = [0u16; 8];
            proven!(vst1q_u16(numbers.as_mut_ptr(), sums));
            for (total, number) in totals.iter_mut().zip(numbers) {
                *total += u32::from(number);
            }
        }
    }
    #[inline(always)]
    unsafe fn select(code: *const u8, weights: *const i8) -> Self {
        // SAFETY: the caller vouches for NEON, two bytes of code and 16 weights.
        unsafe {
            let bits = vcombine_u8(vdup_n_u8(*code), vdup_n_u8(*code.add(1)));
            let place = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            Self(vandq_u8(vtstq_u8(bits, place), vld1q_u8(weights.cast())))
        }
    }
    #[inline(always)]
    fn add_signed(self, sums: Self::SignedSums) -> Self::SignedSums {
        proven!(vpadalq_s8(sums, vreinterpretq_s8_u8(self.0)))
    }
    #[inline(always)]
    fn total_signed(sums: Self::SignedSums) -> i32 {
        proven!(vaddlvq_s16(sums))
    }
}

impl Floats for F32x4 {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vdupq_n_f32(number) })
    }
    #[inline(always)]
    unsafe fn convert(from: *const u32) -> Self {
        // SAFETY: the caller vouches for NEON and four integers.
        Self(unsafe { vcvtq_f32_u32(vld1q_u32(from)) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for four floats.
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    fn not_above(self, limit: Self) -> u32 {
        proven!({
            let above = vcgtq_f32(self.0, limit.0);
            let place = vld1q_u32([1, 2, 4, 8].as_ptr());
            vaddvq_u32(vbicq_u32(place, above))
        })
    }
}
