//! Casts of the type `vector`: to its own type modifier, from and to arrays of numbers.
//!
//! The casts themselves are in `sql/casts.sql`, with the reasons for their contexts.
#![forbid(unsafe_code)]

use super::vector_type::{check_dimensions, check_expected};
use crate::error::Error;
use crate::pg::number_array::{NumberArrayArg, NumberArrayOut, NumericArrayArg, NumericArrayOut};
use crate::pg::report::OrReport;
use crate::pg::vector_datum::{VectorArg, VectorOut};
use crate::vector::check_elements;
use pgrx::{extension_sql_file, pg_extern};

extension_sql_file!(
    "../../sql/casts.sql",
    name = "casts",
    requires = [
        "vector_type",
        vector_to_modifier,
        integers_to_vector,
        reals_to_vector,
        doubles_to_vector,
        numerics_to_vector,
        vector_to_float4,
        vector_to_float8,
        vector_to_int4,
        vector_to_numeric,
    ]
);

#[pg_extern(immutable, parallel_safe, name = "vector")]
fn vector_to_modifier(vector: VectorArg<'_>, typmod: i32, _explicit: bool) -> VectorOut {
    check_expected(vector.len(), typmod).or_report();
    VectorOut::from_slice(&vector)
}

#[pg_extern(immutable, parallel_safe, name = "array_to_vector")]
fn integers_to_vector(numbers: NumberArrayArg<'_, i32>, typmod: i32, _explicit: bool) -> VectorOut {
    numbers
        .numbers()
        .and_then(|numbers| convert(numbers, typmod, |number| number as f32))
        .or_report()
}

#[pg_extern(immutable, parallel_safe, name = "array_to_vector")]
fn reals_to_vector(numbers: NumberArrayArg<'_, f32>, typmod: i32, _explicit: bool) -> VectorOut {
    numbers
        .numbers()
        .and_then(|numbers| convert(numbers, typmod, |number| number))
        .or_report()
}

#[pg_extern(immutable, parallel_safe, name = "array_to_vector")]
fn doubles_to_vector(numbers: NumberArrayArg<'_, f64>, typmod: i32, _explicit: bool) -> VectorOut {
    numbers
        .numbers()
        .and_then(|numbers| convert(numbers, typmod, |number| number as f32))
        .or_report()
}

#[pg_extern(immutable, parallel_safe, name = "array_to_vector")]
fn numerics_to_vector(numbers: NumericArrayArg<'_>, typmod: i32, _explicit: bool) -> VectorOut {
    numbers
        .len()
        .and_then(|len| fill(len, typmod, |target| numbers.write_rounded(target)))
        .or_report()
}

#[inline]
fn convert<T: Copy>(
    numbers: &[T],
    typmod: i32,
    rounded: impl Fn(T) -> f32,
) -> Result<VectorOut, Error> {
    fill(numbers.len(), typmod, |target| {
        for (target, &number) in target.iter_mut().zip(numbers) {
            *target = rounded(number);
        }
    })
}

/// A vector whose elements come from outside: its dimension and each element are checked.
#[inline]
fn fill(len: usize, typmod: i32, write: impl FnOnce(&mut [f32])) -> Result<VectorOut, Error> {
    check_dimensions(len)?;
    check_expected(len, typmod)?;
    VectorOut::try_build(len, |target| {
        write(target);
        check_elements(target)
    })
}

#[pg_extern(immutable, parallel_safe)]
fn vector_to_float4(vector: VectorArg<'_>, _typmod: i32, _explicit: bool) -> NumberArrayOut<f32> {
    NumberArrayOut::try_build(vector.len(), |target| {
        target.copy_from_slice(&vector);
        Ok(())
    })
    .or_report()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_to_float8(vector: VectorArg<'_>) -> NumberArrayOut<f64> {
    NumberArrayOut::try_build(vector.len(), |target| {
        for (target, &x) in target.iter_mut().zip(vector.iter()) {
            *target = f64::from(x);
        }
        Ok(())
    })
    .or_report()
}

#[pg_extern(immutable, parallel_safe)]
fn vector_to_int4(vector: VectorArg<'_>) -> NumberArrayOut<i32> {
    NumberArrayOut::try_build(vector.len(), |target| {
        for (target, &x) in target.iter_mut().zip(vector.iter()) {
            *target = rounded_integer(x)?;
        }
        Ok(())
    })
    .or_report()
}

/// The nearest integer, the even one of two: PostgreSQL's cast of `real` to `integer`.
fn rounded_integer(x: f32) -> Result<i32, Error> {
    let rounded = f64::from(x.round_ties_even());
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&rounded) {
        return Ok(rounded as i32);
    }
    Err(Error::IntegerOutOfRange)
}

#[pg_extern(immutable, parallel_safe)]
fn vector_to_numeric(vector: VectorArg<'_>) -> NumericArrayOut {
    NumericArrayOut::from_slice(&vector)
}
