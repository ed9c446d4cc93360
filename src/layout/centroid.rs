//! A tree's centroids as they are kept: elements of one byte, and a code by which many are compared with a query at once.
//!
//! A centroid may be any point near its list's vectors, so it is rounded to what a byte for each element tells, and *is* that
//! from then on: codes are relative to the rounded point, and nothing is lost.
//!
//! ```text
//! step f32 | ‖c‖² f32 | entry in row form, 26 + n/8 bytes | n × i8
//! ```
#![forbid(unsafe_code)]

use crate::quantizer::row_bytes;

const STEP: usize = size_of::<f32>();
const HEAD: usize = 2 * STEP;

/// Bytes of one, for codes of so many bits.
#[must_use]
pub fn bytes(code_bits: usize) -> usize {
    HEAD + row_bytes(code_bits) + code_bits
}

/// Rounds a point's elements to whole multiples of a step, at most 127 of them.
#[must_use]
pub fn round(elements: &mut [f32]) -> f32 {
    let largest = elements
        .iter()
        .fold(0.0, |most: f32, element| most.max(element.abs()));
    let step = largest / 127.0;
    if step.is_normal() {
        for element in elements {
            *element = (*element / step).round() * step;
        }
    } else {
        elements.fill(0.0);
    }
    step
}

/// The record of a point that was rounded with this step; `row` is its entry.
#[must_use]
pub fn write(rounded: &[f32], step: f32, row: &[u8]) -> Vec<u8> {
    let inverse = if step.is_normal() { 1.0 / step } else { 0.0 };
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

/// Writes the elements of a record's point behind `to`.
pub fn read(record: &[u8], code_bits: usize, to: &mut Vec<f32>) {
    let step = float(record, 0);
    let elements = &record[HEAD + row_bytes(code_bits)..];
    to.extend(
        elements
            .iter()
            .map(|byte| f32::from(byte.cast_signed()) * step),
    );
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
        for scale in [0.0, 1e-30, 1.0, 3e18] {
            let mut elements: Vec<f32> = (0..64).map(|at| (at as f32 - 20.3) * scale).collect();
            let before = elements.clone();
            let step = round(&mut elements);
            let record = write(&elements, step, &row);
            assert_eq!(record.len(), bytes(64));
            let mut read_back = Vec::new();
            read(&record, 64, &mut read_back);
            assert_eq!(read_back, elements);
            for (rounded, element) in read_back.iter().zip(&before) {
                assert!((rounded - element).abs() <= step * 0.5001, "{scale}");
            }
            let squares: f32 = elements.iter().map(|element| element * element).sum();
            assert_eq!(squared_norm(&record), squares);
            assert_eq!(super::row(&record, 64), row);
        }
    }
}
