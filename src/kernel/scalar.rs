//! Kernels in plain Rust, for any CPU; the compiler uses what the build's baseline has (SSE2 on x86-64).
#![allow(unsafe_code)]

use super::Kernels;
use super::code::scalar::Bytes16;
use super::generic::{Lanes, kernel_table};

/// Eight numbers as an array.
#[derive(Clone, Copy)]
pub(super) struct Array<T>(pub(super) [T; 8]);

macro_rules! impl_lanes {
    ($number:ty) => {
        impl Lanes for Array<$number> {
            type Number = $number;
            const LANES: usize = 8;

            #[inline(always)]
            unsafe fn zero() -> Self {
                Self([0.0; 8])
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller vouches for eight floats; the read is unaligned.
                let floats = unsafe { from.cast::<[f32; 8]>().read_unaligned() };
                Self(floats.map(<$number>::from))
            }

            #[inline(always)]
            unsafe fn load_part(from: *const f32, count: usize) -> Self {
                // SAFETY: the caller vouches for `count` floats.
                let floats = unsafe { std::slice::from_raw_parts(from, count) };
                let mut lanes = [0.0; 8];
                for (lane, &float) in lanes.iter_mut().zip(floats) {
                    *lane = <$number>::from(float);
                }
                Self(lanes)
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                // Two roundings: a fused one in software costs a hundred times as much.
                Self(std::array::from_fn(|lane| {
                    self.0[lane] * factor.0[lane] + addend.0[lane]
                }))
            }

            #[inline(always)]
            fn abs(self) -> Self {
                Self(self.0.map(<$number>::abs))
            }

            #[inline(always)]
            fn sum(self) -> $number {
                self.0.into_iter().sum()
            }
        }
    };
}
impl_lanes!(f32);
impl_lanes!(f64);

static TABLE: Kernels = kernel_table!("scalar", Array<f32>, Array<f64>, Bytes16);

/// The table every CPU can run.
pub(super) fn table() -> &'static Kernels {
    &TABLE
}
