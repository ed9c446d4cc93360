//! Aggregates over vectors: `avg` and `sum`.
//!
//! The state of `avg` is a `double precision[]`: the number of rows, then the sum of each element (nothing more before
//! the first row). `sum` adds in single precision by `vector_add`, as pgvector does, so that results match.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::pg::number_array::{NumberArrayArg, NumberArrayOut, StateArg};
use crate::pg::report::OrReport;
use crate::pg::vector_datum::{VectorArg, VectorOut};
use crate::vector::check_elements;
use pgrx::{extension_sql_file, pg_extern};

extension_sql_file!(
    "../../sql/aggregates.sql",
    name = "aggregates",
    requires = [
        "vector_type",
        "operators",
        vector_accum,
        vector_combine,
        vector_avg
    ]
);

#[pg_extern(immutable, parallel_safe)]
fn vector_accum(state: StateArg<'_>, vector: VectorArg<'_>) -> NumberArrayOut<f64> {
    accumulate(state, &vector).or_report()
}

fn accumulate(state: StateArg<'_>, vector: &[f32]) -> Result<NumberArrayOut<f64>, Error> {
    let numbers = state.numbers().and_then(split)?;
    if numbers.sums.is_empty() {
        let rows = numbers.rows + 1.0;
        return NumberArrayOut::try_build(1 + vector.len(), |target| {
            target[0] = rows;
            // Copied and not added to 0, which would lose the sign of −0.
            for (target, &x) in target[1..].iter_mut().zip(vector) {
                *target = f64::from(x);
            }
            Ok(())
        });
    }
    check_dimensions(numbers.sums.len(), vector.len())?;
    state.change(|numbers| {
        numbers[0] += 1.0;
        add(&mut numbers[1..], vector.iter().map(|&x| f64::from(x)))
    })
}

#[pg_extern(immutable, parallel_safe)]
fn vector_combine(left: StateArg<'_>, right: NumberArrayArg<'_, f64>) -> NumberArrayOut<f64> {
    combine(left, &right).or_report()
}

fn combine(
    left: StateArg<'_>,
    right: &NumberArrayArg<'_, f64>,
) -> Result<NumberArrayOut<f64>, Error> {
    let right = right.numbers()?;
    let other = split(right)?;
    let numbers = left.numbers().and_then(split)?;
    if numbers.rows == 0.0 {
        return NumberArrayOut::try_build(right.len(), |target| {
            target.copy_from_slice(right);
            Ok(())
        });
    }
    if other.rows == 0.0 {
        return left.change(|_| Ok(()));
    }
    check_dimensions(numbers.sums.len(), other.sums.len())?;
    left.change(|numbers| {
        numbers[0] += other.rows;
        add(&mut numbers[1..], other.sums.iter().copied())
    })
}

#[pg_extern(immutable, parallel_safe)]
fn vector_avg(state: NumberArrayArg<'_, f64>) -> Option<VectorOut> {
    average(&state).or_report()
}

fn average(state: &NumberArrayArg<'_, f64>) -> Result<Option<VectorOut>, Error> {
    let state = state.numbers().and_then(split)?;
    if state.rows == 0.0 {
        return Ok(None);
    }
    super::vector_type::check_dimensions(state.sums.len())?;
    VectorOut::try_build(state.sums.len(), |target| {
        for (target, sum) in target.iter_mut().zip(state.sums) {
            *target = (sum / state.rows) as f32;
        }
        check_elements(target)
    })
    .map(Some)
}

/// The state of `avg`, taken apart.
struct State<'a> {
    rows: f64,
    sums: &'a [f64],
}

fn split(numbers: &[f64]) -> Result<State<'_>, Error> {
    match numbers {
        [rows, sums @ ..] => Ok(State { rows: *rows, sums }),
        [] => Err(Error::AggregateState),
    }
}

fn check_dimensions(expected: usize, actual: usize) -> Result<(), Error> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::DimensionMismatch { expected, actual })
}

fn add(sums: &mut [f64], numbers: impl Iterator<Item = f64>) -> Result<(), Error> {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
    if sums.iter().any(|sum| sum.is_infinite()) {
        return Err(Error::Overflow);
    }
    Ok(())
}
