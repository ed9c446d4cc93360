//! Dense vectors: their limits, and their text form, which is pgvector's to the byte.
//!
//! A vector is a plain slice of `f32` everywhere in this crate. One that came through [`parse_text`] or passed
//! [`check_elements`] has 1 … [`MAX_DIMENSIONS`] elements, none of them NaN or infinite.
#![forbid(unsafe_code)]

mod float;

#[cfg(test)]
mod tests;

use crate::error::Error;
pub use float::write_float;

/// The most elements a vector has.
pub const MAX_DIMENSIONS: usize = 20_000;

/// Refuses NaN and infinite elements; of several, the first decides the message.
pub fn check_elements(elements: &[f32]) -> Result<(), Error> {
    const EXPONENT: u32 = 0x7f80_0000;
    // All exponent bits set is NaN or infinity. The loop has no exit, so that it runs in SIMD.
    let not_finite = elements.iter().fold(false, |found, element| {
        found | (element.to_bits() & EXPONENT == EXPONENT)
    });
    if !not_finite {
        return Ok(());
    }
    let first = elements.iter().find(|element| !element.is_finite());
    first.map_or(Ok(()), |element| Err(refusal(*element)))
}

fn refusal(element: f32) -> Error {
    if element.is_nan() {
        Error::NanInVector
    } else {
        Error::InfinityInVector
    }
}

/// A vector from its text, `[1, 2.5, -3e-2]`.
///
/// White space may stand around the brackets and the elements; an element is what C's `strtof` takes. Which of several
/// faults is reported is settled by the order of reading, and the number of elements is compared with `expected` at the end.
pub fn parse_text(text: &str, expected: Option<usize>) -> Result<Vec<f32>, Error> {
    let bytes = text.as_bytes();
    let elements = parse_elements(bytes, expected.unwrap_or(bytes.len() / 10))
        .map_err(|fault| fault.into_error(text))?;
    match expected {
        Some(expected) if expected != elements.len() => Err(Error::DimensionMismatch {
            expected,
            actual: elements.len(),
        }),
        _ => Ok(elements),
    }
}

/// Why a text is not a vector.
enum Fault {
    Syntax,
    NoElements,
    TooMany,
    /// The element at this range of bytes is beyond `f32`.
    OutOfRange(std::ops::Range<usize>),
    /// The words for NaN and infinity are numbers to `strtof`, but no elements.
    NotFinite(f32),
}

impl Fault {
    #[cold]
    fn into_error(self, text: &str) -> Error {
        match self {
            Self::Syntax => Error::VectorSyntax {
                text: text.to_owned(),
            },
            Self::NoElements => Error::NoDimensions,
            Self::TooMany => Error::TooManyDimensions {
                max: MAX_DIMENSIONS,
            },
            Self::OutOfRange(range) => Error::ElementOutOfRange {
                text: text.get(range).unwrap_or_default().to_owned(),
            },
            Self::NotFinite(element) => refusal(element),
        }
    }
}

fn parse_elements(bytes: &[u8], capacity: usize) -> Result<Vec<f32>, Fault> {
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err(Fault::Syntax);
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Err(Fault::NoElements);
    }
    let mut elements = Vec::with_capacity(capacity.min(MAX_DIMENSIONS));
    loop {
        if elements.len() == MAX_DIMENSIONS {
            return Err(Fault::TooMany);
        }
        at = skip_space(bytes, at);
        let number = float::scan(&bytes[at..]).ok_or(Fault::Syntax)?;
        let end = at + number.length;
        if number.overflow {
            return Err(Fault::OutOfRange(at..end));
        }
        if !number.value.is_finite() {
            return Err(Fault::NotFinite(number.value));
        }
        elements.push(number.value);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => break,
            _ => return Err(Fault::Syntax),
        }
    }
    if skip_space(bytes, at + 1) == bytes.len() {
        Ok(elements)
    } else {
        Err(Fault::Syntax)
    }
}

/// The first place from `at` on that holds no white space (of the "C" locale).
#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) = bytes.get(at) {
        at += 1;
    }
    at
}

/// Appends a vector's text: `[1,2.5,-0.03]`.
pub fn write_text(elements: &[f32], out: &mut String) {
    out.reserve(elements.len() * 12 + 2);
    out.push('[');
    for (place, &element) in elements.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_float(element, out);
    }
    out.push(']');
}
