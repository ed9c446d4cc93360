//! A tree's centroids as they are kept: elements of one byte, and a code by which many are compared with a query at once.
//!
//! A centroid may be any point near its list's vectors, so it is rounded to what a byte for each element tells, and *is* that
//! from then on: codes are relative to the rounded point, and nothing is lost.
//!
//! ```text
//! step f32 | ‖c‖² f32 | entry in row form, 26 + n/8 bytes | n × i8
//! ```
#![forbid(unsafe_code)]

use super::corrupted;
use crate::error::Error;
use crate::kernel::kernels;
use crate::quantizer::{Row, row_bytes};
use zerocopy::FromBytes;

/// No centroid has elements as large: squared distances would overflow.
pub const LARGEST_ELEMENT: f32 = 1e15;

const STEP: usize = size_of::<f32>();
const HEAD: usize = 2 * STEP;
/// The most steps an element is away from zero.
const MOST_STEPS: f32 = 127.0;

/// Bytes of one, for codes of so many bits.
#[must_use]
pub fn bytes(code_bits: usize) -> usize {
    HEAD + row_bytes(code_bits) + code_bits
}

/// Rounds a point's elements to whole multiples of a step, at most 127 of them, and answers the step; 0 if all are zero then.
#[must_use]
pub fn round(elements: &mut [f32]) -> f32 {
    let largest = elements
        .iter()
        .fold(0.0, |most: f32, element| most.max(element.abs()));
    let step = largest / MOST_STEPS;
    if !step.is_normal() {
        elements.fill(0.0);
        return 0.0;
    }
    for element in elements {
        *element = (*element / step).round() * step;
    }
    step
}

/// The record of a point that was rounded with this step; `row` is its entry.
#[must_use]
pub fn write(rounded: &[f32], step: f32, row: &[u8]) -> Vec<u8> {
    let inverse = if step == 0.0 { 0.0 } else { 1.0 / step };
    let squares: f32 = rounded.iter().map(|element| element * element).sum();
    let mut record = Vec::with_capacity(bytes(rounded.len()));
    record.extend_from_slice(&step.to_ne_bytes());
    record.extend_from_slice(&squares.to_ne_bytes());
    record.extend_from_slice(row);
    let elements = rounded
        .iter()
        .map(|element| (element * inverse).round() as i8);
    record.extend(elements.map(i8::cast_unsigned));
    record
}

/// Finds a record as long as [`bytes`] tells to be one that [`write()`] makes, as far as numbers can tell: a step that no sum of squares
/// overflows with, the norm that its elements have, and factors that estimates can be made of.
pub fn check(record: &[u8], code_bits: usize) -> Result<(), Error> {
    let (step, norm) = (float(record, 0), squared_norm(record));
    // A hundredth: rounding may have made the step a little larger than it should be.
    if !(0.0..=LARGEST_ELEMENT / 100.0).contains(&step) {
        return Err(corrupted(format!("centroid with a step of {step}")));
    }
    let steps = record[HEAD + row_bytes(code_bits)..].iter();
    let squares: i64 = steps.map(|byte| i64::from(byte.cast_signed()).pow(2)).sum();
    let squared = squares as f64 * f64::from(step).powi(2);
    // Twice what the roundings of a sum in f32 can amount to.
    let tolerance = squared * code_bits as f64 * f64::from(f32::EPSILON);
    let off = (f64::from(norm) - squared).abs();
    if off.is_nan() || off > tolerance.max(f64::from(f32::MIN_POSITIVE)) {
        return Err(corrupted(format!(
            "centroid with a squared norm of {norm}, not {squared}"
        )));
    }
    let factors = Row::read(row(record, code_bits)).map(|row| row.factors);
    let usable = factors.is_some_and(|factors| {
        factors.add.is_finite() && factors.rescale.is_finite() && factors.error >= 0.0
    });
    if !usable {
        return Err(corrupted(format!("centroid with factors {factors:?}")));
    }
    Ok(())
}

/// Writes the elements of a record's point behind `to`.
pub fn read(record: &[u8], code_bits: usize, to: &mut Vec<f32>) {
    // Bytes of any kind are numbers.
    let numbers =
        <[i8]>::ref_from_bytes(&record[HEAD + row_bytes(code_bits)..]).unwrap_or_default();
    let from = to.len();
    to.resize(from + numbers.len(), 0.0);
    (kernels().multiples)(numbers, float(record, 0), &mut to[from..]);
}

/// ‖c‖²
#[must_use]
pub fn squared_norm(record: &[u8]) -> f32 {
    float(record, STEP)
}

/// Its entry in row form.
#[must_use]
pub fn row(record: &[u8], code_bits: usize) -> &[u8] {
    &record[HEAD..][..row_bytes(code_bits)]
}

fn float(record: &[u8], at: usize) -> f32 {
    let bytes = record[at..].first_chunk().copied().unwrap_or_default();
    f32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let row = vec![7; row_bytes(64)];
        for scale in [0.0, 1e-44, 1e-30, 1.0, 1e13] {
            let mut elements: Vec<f32> = (0..64).map(|at| (at as f32 - 20.3) * scale).collect();
            let before = elements.clone();
            let step = round(&mut elements);
            let record = write(&elements, step, &row);
            assert_eq!(record.len(), bytes(64));
            check(&record, 64).unwrap();
            let mut read_back = Vec::new();
            read(&record, 64, &mut read_back);
            assert_eq!(read_back, elements);
            let most = (step * 0.5001).max(f32::MIN_POSITIVE * MOST_STEPS);
            for (rounded, element) in read_back.iter().zip(&before) {
                assert!((rounded - element).abs() <= most, "{scale}");
            }
            let squares: f32 = elements.iter().map(|element| element * element).sum();
            assert_eq!(squared_norm(&record), squares);
            assert_eq!(super::row(&record, 64), row);
        }
    }

    #[test]
    fn what_no_point_can_be_is_told() {
        let mut elements: Vec<f32> = (0..64).map(|at| at as f32 - 20.3).collect();
        let step = round(&mut elements);
        let record = write(&elements, step, &vec![0; row_bytes(64)]);
        check(&record, 64).unwrap();
        let norm = squared_norm(&record);
        let (nan, infinite) = (f32::NAN, f32::INFINITY);
        let steps = [nan, infinite, -step, step * 1.001, 0.0, 1e14].map(|step| (0, step));
        let norms = [nan, infinite, -norm, norm * 1.001, 0.0].map(|norm| (STEP, norm));
        let adds = [nan, infinite].map(|add| (HEAD, add));
        let rescales = [nan, infinite].map(|rescale| (HEAD + STEP, rescale));
        let errors = [nan, -1.0].map(|error| (HEAD + 2 * STEP, error));
        let all = [&steps[..], &norms, &adds, &rescales, &errors].concat();
        for (at, number) in all {
            let mut damaged = record.clone();
            damaged[at..at + STEP].copy_from_slice(&number.to_ne_bytes());
            let told = check(&damaged, 64);
            assert!(
                matches!(told, Err(Error::Corrupted { .. })),
                "{number} at {at}"
            );
        }
        let mut damaged = record;
        if let Some(last) = damaged.last_mut() {
            *last ^= 0x40;
        }
        assert!(check(&damaged, 64).is_err());
    }
}
