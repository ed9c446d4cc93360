//! Functions and operators of the type `vector`: distances, arithmetic, comparison.
//!
//! The operators themselves, their operator class and the comments are in `sql/operators.sql`.
#![forbid(unsafe_code)]

use super::vector_type::check_dimensions;
use crate::error::Error;
use crate::kernel::kernels;
use crate::metric::Distance;
use crate::pg::binary::BitsOut;
use crate::pg::report::OrReport;
use crate::pg::vector_datum::{VectorArg, VectorOut};
use core::cmp::Ordering;
use core::f64::consts::PI;
use pgrx::{extension_sql_file, pg_extern};

extension_sql_file!(
    "../../sql/operators.sql",
    name = "operators",
    requires = [
        "vector_type",
        l2_distance,
        inner_product,
        vector_negative_inner_product,
        cosine_distance,
        l1_distance,
        vector_l2_squared_distance,
        vector_spherical_distance,
        vector_dims,
        vector_norm,
        l2_normalize,
        subvector,
        binary_quantize,
        vector_add,
        vector_sub,
        vector_mul,
        vector_concat,
        vector_lt,
        vector_le,
        vector_eq,
        vector_ne,
        vector_ge,
        vector_gt,
        vector_cmp,
    ]
);

// -- distances --

#[pg_extern(immutable, parallel_safe)]
fn l2_distance(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    distance(Distance::L2, &left, &right)
}

#[pg_extern(immutable, parallel_safe)]
fn inner_product(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    -distance(Distance::InnerProduct, &left, &right)
}

#[pg_extern(immutable, parallel_safe)]
fn vector_negative_inner_product(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    distance(Distance::InnerProduct, &left, &right)
}

#[pg_extern(immutable, parallel_safe)]
fn cosine_distance(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    distance(Distance::Cosine, &left, &right)
}

#[pg_extern(immutable, parallel_safe)]
fn l1_distance(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    distance(Distance::L1, &left, &right)
}

#[pg_extern(immutable, parallel_safe)]
fn vector_l2_squared_distance(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    check_same(&left, &right).or_report();
    f64::from((kernels().l2_squared)(&left, &right))
}

/// The angle between two vectors of length 1, in half turns.
#[pg_extern(immutable, parallel_safe)]
fn vector_spherical_distance(left: VectorArg<'_>, right: VectorArg<'_>) -> f64 {
    check_same(&left, &right).or_report();
    let cosine = f64::from((kernels().dot)(&left, &right));
    cosine.clamp(-1.0, 1.0).acos() / PI
}

#[inline]
fn distance(distance: Distance, left: &[f32], right: &[f32]) -> f64 {
    check_same(left, right).or_report();
    distance.of(left, right)
}

#[inline]
fn check_same(left: &[f32], right: &[f32]) -> Result<(), Error> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(Error::DifferentDimensions {
        left: left.len(),
        right: right.len(),
    })
}

// -- one vector --

#[pg_extern(immutable, parallel_safe)]
fn vector_dims(vector: VectorArg<'_>) -> i32 {
    vector.len() as i32
}

#[pg_extern(immutable, parallel_safe)]
fn vector_norm(vector: VectorArg<'_>) -> f64 {
    norm(&vector)
}

fn norm(vector: &[f32]) -> f64 {
    (kernels().dot_f64)(vector, vector).sqrt()
}

#[pg_extern(immutable, parallel_safe)]
fn l2_normalize(vector: VectorArg<'_>) -> VectorOut {
    let norm = norm(&vector);
    VectorOut::try_build(vector.len(), |target| {
        // A vector of zeros has no direction and stays what it is.
        if norm > 0.0 {
            for (target, &x) in target.iter_mut().zip(vector.iter()) {
                *target = (f64::from(x) / norm) as f32;
            }
        }
        check_overflow(target)
    })
    .or_report()
}

#[pg_extern(immutable, parallel_safe)]
fn subvector(vector: VectorArg<'_>, start: i32, count: i32) -> VectorOut {
    part(&vector, start, count).or_report()
}

/// The elements from `start` (counted from 1) on that exist among `count`, as `substring` counts characters.
fn part(vector: &[f32], start: i32, count: i32) -> Result<VectorOut, Error> {
    if count < 1 {
        return Err(Error::NoDimensions);
    }
    let first = i64::from(start) - 1;
    let end = (first + i64::from(count)).clamp(0, vector.len() as i64);
    match vector.get(first.max(0) as usize..end as usize) {
        None | Some([]) => Err(Error::NoDimensions),
        Some(part) => Ok(VectorOut::from_slice(part)),
    }
}

#[pg_extern(immutable, parallel_safe)]
fn binary_quantize(vector: VectorArg<'_>) -> BitsOut {
    BitsOut::from_bits(vector.iter().map(|&x| x > 0.0))
}

// -- arithmetic --

#[pg_extern(immutable, parallel_safe)]
fn vector_add(left: VectorArg<'_>, right: VectorArg<'_>) -> VectorOut {
    by_element(&left, &right, |x, y| x + y, check_overflow).or_report()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_sub(left: VectorArg<'_>, right: VectorArg<'_>) -> VectorOut {
    by_element(&left, &right, |x, y| x - y, check_overflow).or_report()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_mul(left: VectorArg<'_>, right: VectorArg<'_>) -> VectorOut {
    let check = |product: &[f32]| check_product(product, &left, &right);
    by_element(&left, &right, |x, y| x * y, check).or_report()
}

#[inline]
fn by_element(
    left: &[f32],
    right: &[f32],
    operation: impl Fn(f32, f32) -> f32,
    check: impl Fn(&[f32]) -> Result<(), Error>,
) -> Result<VectorOut, Error> {
    check_same(left, right)?;
    VectorOut::try_build(left.len(), |target| {
        for ((target, &x), &y) in target.iter_mut().zip(left).zip(right) {
            *target = operation(x, y);
        }
        check(target)
    })
}

#[inline]
fn check_overflow(result: &[f32]) -> Result<(), Error> {
    if result.iter().any(|x| x.is_infinite()) {
        return Err(Error::Overflow);
    }
    Ok(())
}

/// Of several faults the first decides.
fn check_product(product: &[f32], left: &[f32], right: &[f32]) -> Result<(), Error> {
    let fault = |((&product, &x), &y): ((&f32, &f32), &f32)| match product {
        _ if product.is_infinite() => Some(Error::Overflow),
        0.0 if x != 0.0 && y != 0.0 => Some(Error::Underflow),
        _ => None,
    };
    match product.iter().zip(left).zip(right).find_map(fault) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[pg_extern(immutable, parallel_safe)]
fn vector_concat(left: VectorArg<'_>, right: VectorArg<'_>) -> VectorOut {
    let dim = left.len() + right.len();
    check_dimensions(dim).or_report();
    VectorOut::build(dim, |target| {
        let (head, tail) = target.split_at_mut(left.len());
        head.copy_from_slice(&left);
        tail.copy_from_slice(&right);
    })
}

// -- comparison: element by element, then the shorter first --

#[pg_extern(immutable, parallel_safe)]
fn vector_lt(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_lt()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_le(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_le()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_eq(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_eq()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_ne(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_ne()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_ge(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_ge()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_gt(left: VectorArg<'_>, right: VectorArg<'_>) -> bool {
    compare(&left, &right).is_gt()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_cmp(left: VectorArg<'_>, right: VectorArg<'_>) -> i32 {
    compare(&left, &right) as i32
}

fn compare(left: &[f32], right: &[f32]) -> Ordering {
    // No stored element is NaN; −0 and 0 are equal.
    left.partial_cmp(right).unwrap_or(Ordering::Equal)
}
