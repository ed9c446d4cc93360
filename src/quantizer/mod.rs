//! RaBitQ with one bit a dimension: what a vector is stored as in an index, and what a query makes of it.
//!
//! A vector is rotated once ([`Quantizer::rotate`]). Its *code* holds the signs of its residual against a rotated
//! [`Centre`]; three [`Factors`] go with it ([`encode`]). A query, rotated likewise, is prepared for one centre
//! ([`QueryCode::prepare`]) and gives of each code an *estimate* of the key and a *lower bound* of it.
//!
//! A **key** is what is compared, smaller is nearer:
//!
//! | metric | key of vector o and query q |
//! |---|---|
//! | euclidean | ‖o − q‖² |
//! | cosine | ‖o' − q'‖² / 2 = 1 − cos, both divided by their norms (and the centre is one of such vectors) |
//! | dotproduct | −⟨o, q⟩ |
//!
//! With x = o − c the residual of the vector, r = q − c that of the query, n the bits of a code and s its signs ±1:
//!
//! ```text
//! ⟨x, r⟩  ≈  ⟨s, r⟩ · Σx² / Σ|x|          unbiased over random rotations, standard deviation at most e · ‖r‖ with
//! e       =  ‖x‖ · √(1/x₀² − 1) / √(n − 1),   x₀ = Σ|x| / (‖x‖ √n), about 0.8
//! ```
//!
//! Paper: Gao and Long, "RaBitQ" (SIGMOD 2024), theorem 3.2, with the estimator in the form of "Practical and
//! Asymptotically Optimal Quantization" (SIGMOD 2025). A code of more bits than the vector has dimensions is that of the
//! vector with zeros appended: the rotation mixes them in, and the formulas hold in n dimensions.
#![forbid(unsafe_code)]

mod block;
mod code;
mod query;
mod rotation;

#[cfg(test)]
mod tests;

pub use block::{Row, block_bytes, pack, row_bytes, unpack};
pub use code::{Centre, Factors, encode, shift};
pub use query::{Bound, QueryCode};
pub use rotation::Quantizer;

/// Magnitudes up to this are taken for factors: sums and products of a handful of them stay finite in `f32`.
const LARGEST: f64 = 1e37;
/// Magnitudes below this have lost digits to underflow, or their squares may have.
const SMALLEST: f64 = 1e-30;

/// Σ aᵢ·bᵢ in `f64`.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    (crate::kernel::kernels().dot_f64)(a, b)
}
