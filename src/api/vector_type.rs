//! Input and output of the SQL type `vector`: text, binary, type modifier.
//!
//! Declared in `sql/vector_type.sql`. There is no `typmod_out`: PostgreSQL's own form, `(n)`, is the type's.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::pg::Oid;
use crate::pg::binary::{BytesOut, MessageArg};
use crate::pg::report::OrReport;
use crate::pg::typmod::TypmodArg;
use crate::pg::vector_datum::{VectorArg, VectorOut};
use crate::vector::{self, MAX_DIMENSIONS};
use pgrx::{extension_sql_file, pg_extern};
use std::ffi::{CStr, CString};

extension_sql_file!(
    "../../sql/vector_type.sql",
    name = "vector_type",
    creates = [Type(VectorOut)]
);

#[pg_extern(immutable, parallel_safe, sql = false)]
fn vector_in(text: &CStr, _element: Oid, typmod: i32) -> VectorOut {
    parse(text, typmod).or_report()
}

fn parse(text: &CStr, typmod: i32) -> Result<VectorOut, Error> {
    // Text of a vector is ASCII; in a database of another encoding anything else is a syntax error.
    let text = text.to_string_lossy();
    let elements = vector::parse_text(&text, expected_dimensions(typmod))?;
    Ok(VectorOut::from_slice(&elements))
}

#[pg_extern(immutable, parallel_safe, sql = false)]
fn vector_out(value: VectorArg<'_>) -> CString {
    let mut text = String::with_capacity(2 + 13 * value.len());
    vector::write_text(&value, &mut text);
    CString::new(text).expect("the text form of numbers has no NUL")
}

#[pg_extern(immutable, parallel_safe, sql = false)]
fn vector_recv(mut message: MessageArg<'_>, _element: Oid, typmod: i32) -> VectorOut {
    receive(&mut message, typmod).or_report()
}

fn receive(message: &mut MessageArg<'_>, typmod: i32) -> Result<VectorOut, Error> {
    let dim = message.take_i16()?;
    let unused = message.take_i16()?;
    let dim = usize::try_from(dim).unwrap_or(0);
    check_dimensions(dim)?;
    check_expected(dim, typmod)?;
    if unused != 0 {
        return Err(Error::UnusedNotZero { actual: unused });
    }
    VectorOut::try_build(dim, |elements| {
        let whole = message.take_f32s(elements);
        // Elements that did arrive are judged first; those that did not are zeros.
        vector::check_elements(elements)?;
        whole
    })
}

#[pg_extern(immutable, parallel_safe, sql = false)]
fn vector_send(value: VectorArg<'_>) -> BytesOut {
    BytesOut::build(4 + 4 * value.len(), |bytes| {
        let (prefix, elements) = bytes.split_at_mut(4);
        prefix[..2].copy_from_slice(&(value.len() as i16).to_be_bytes());
        let (elements, _) = elements.as_chunks_mut::<4>();
        for (target, element) in elements.iter_mut().zip(value.iter()) {
            *target = element.to_be_bytes();
        }
    })
}

#[pg_extern(immutable, parallel_safe, sql = false)]
fn vector_typmod_in(modifiers: TypmodArg<'_>) -> i32 {
    typmod_of(modifiers.modifiers()).or_report()
}

fn typmod_of(modifiers: &[i32]) -> Result<i32, Error> {
    match *modifiers {
        [dim] if dim < 1 => Err(Error::TypmodTooSmall),
        [dim] if dim as usize > MAX_DIMENSIONS => Err(Error::TypmodTooLarge {
            max: MAX_DIMENSIONS,
        }),
        [dim] => Ok(dim),
        _ => Err(Error::InvalidTypmod),
    }
}

/// The number of dimensions a type modifier asks for; −1 is no modifier.
pub(super) fn expected_dimensions(typmod: i32) -> Option<usize> {
    usize::try_from(typmod).ok()
}

/// Refuses a value that is not of the modifier's dimension.
pub(super) fn check_expected(dim: usize, typmod: i32) -> Result<(), Error> {
    match expected_dimensions(typmod) {
        Some(expected) if expected != dim => Err(Error::DimensionMismatch {
            expected,
            actual: dim,
        }),
        _ => Ok(()),
    }
}

/// Refuses a number of dimensions no vector has.
pub(super) fn check_dimensions(dim: usize) -> Result<(), Error> {
    match dim {
        0 => Err(Error::NoDimensions),
        1..=MAX_DIMENSIONS => Ok(()),
        _ => Err(Error::TooManyDimensions {
            max: MAX_DIMENSIONS,
        }),
    }
}
