//! Code scans in plain Rust.
#![allow(unsafe_code)]

use super::{Bytes, Floats, GROUP};
use crate::kernel::scalar::Array;

/// Sixteen bytes as an array.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Bytes16([u8; GROUP]);

impl Bytes for Bytes16 {
    const LANES: usize = GROUP;
    type Sums = [u16; GROUP];
    type SignedSums = [i16; GROUP / 2];

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 16 bytes; an array of them has no alignment.
        Self(unsafe { *from.cast::<[u8; GROUP]>() })
    }
    #[inline(always)]
    unsafe fn no_sums() -> Self::Sums {
        [0; GROUP]
    }
    #[inline(always)]
    unsafe fn no_signed_sums() -> Self::SignedSums {
        [0; GROUP / 2]
    }
    #[inline(always)]
    fn low(self) -> Self {
        Self(self.0.map(|byte| byte & 15))
    }
    #[inline(always)]
    fn high(self) -> Self {
        Self(self.0.map(|byte| byte >> 4))
    }
    #[inline(always)]
    fn look_up(self, tables: Self) -> Self {
        Self(self.0.map(|byte| tables.0[usize::from(byte & 15)]))
    }
    #[inline(always)]
    fn add(self, sums: Self::Sums) -> Self::Sums {
        std::array::from_fn(|entry| sums[entry] + u16::from(self.0[entry]))
    }
    #[inline(always)]
    fn total(sums: Self::Sums, totals: &mut [u32; GROUP]) {
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += u32::from(sum);
        }
    }
    #[inline(always)]
    unsafe fn select(code: *const u8, weights: *const i8) -> Self {
        // SAFETY: the caller vouches for two bytes of code; an array of them has no alignment.
        let bits = u16::from_le_bytes(unsafe { *code.cast::<[u8; 2]>() });
        // SAFETY: the caller vouches for 16 weights, which have the size of bytes.
        let weights = unsafe { Self::load(weights.cast()) };
        Self(std::array::from_fn(|place| {
            // All ones or all zeros.
            weights.0[place] & 0u8.wrapping_sub((bits >> place & 1) as u8)
        }))
    }
    #[inline(always)]
    fn add_signed(self, sums: Self::SignedSums) -> Self::SignedSums {
        let number = |place: usize| i16::from(self.0[place].cast_signed());
        std::array::from_fn(|pair| sums[pair] + number(pair) + number(pair + GROUP / 2))
    }
    #[inline(always)]
    fn total_signed(sums: Self::SignedSums) -> i32 {
        sums.into_iter().map(i32::from).sum()
    }
}

impl Floats for Array<f32> {
    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        Self([number; 8])
    }
    #[inline(always)]
    unsafe fn convert(from: *const u32) -> Self {
        // SAFETY: the caller vouches for eight integers; the read is unaligned.
        let integers = unsafe { from.cast::<[u32; 8]>().read_unaligned() };
        Self(integers.map(|integer| integer as f32))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for eight floats; the write is unaligned.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    fn not_above(self, limit: Self) -> u32 {
        (0..8).fold(0, |bits, lane| {
            let above = self.0[lane] > limit.0[lane];
            bits | u32::from(!above) << lane
        })
    }
}
