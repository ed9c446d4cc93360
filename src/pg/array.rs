//! One-dimensional SQL arrays taken apart in place, and arguments of type `vector[]`.
//!
//! ```text
//! | varlena header | ndim | dataoffset | elemtype | ndim × length | ndim × lower bound | [null bitmap] | elements |
//! ```
//!
//! `dataoffset` is 0 when there is no null bitmap; elements begin aligned to eight bytes. Arrays of numbers are in
//! `number_array`.

use super::report::OrReport;
use super::varlena;
use super::vector_datum::{TYPE_IDENT, elements_of_plain};
use crate::error::Error;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlArrayMappingRef, SqlMappingRef, SqlTranslatable,
    TypeOrigin,
};

/// Bytes before the dimensions: the varlena header, `ndim`, `dataoffset` and `elemtype`.
pub(super) const FIXED: usize = 16;
/// Bytes before the elements of a one-dimensional array without nulls.
pub(super) const PREFIX: usize = 24;

/// An array of at most one dimension, taken apart.
pub(super) struct Parts<'a> {
    pub(super) len: usize,
    /// One bit an element, 0 = null; `None` if the array has no bitmap.
    bitmap: Option<&'a [u8]>,
    pub(super) elements: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes the bytes of a detoasted array apart; `None` if it has more than one dimension.
    fn read(array: &'a [u8]) -> Result<Option<Self>, Error> {
        let word = |at: usize| -> Result<i32, Error> {
            let bytes = array.get(at..).and_then(|rest| rest.first_chunk());
            Ok(i32::from_ne_bytes(*bytes.ok_or_else(corrupted)?))
        };
        let len = match word(4)? {
            0 => 0,
            1 => usize::try_from(word(FIXED)?).map_err(|_| corrupted())?,
            _ => return Ok(None),
        };
        if len == 0 {
            return Ok(Some(Self {
                len,
                bitmap: None,
                elements: &[],
            }));
        }
        let offset = usize::try_from(word(8)?).map_err(|_| corrupted())?;
        let (bitmap, start) = match offset {
            0 => (None, PREFIX),
            _ => {
                let bytes = array.get(PREFIX..).and_then(|b| b.get(..len.div_ceil(8)));
                (Some(bytes.ok_or_else(corrupted)?), offset)
            }
        };
        Ok(Some(Self {
            len,
            bitmap,
            elements: array.get(start..).ok_or_else(corrupted)?,
        }))
    }

    /// The same for an array that must have one dimension and no null.
    pub(super) fn read_filled(array: &'a [u8]) -> Result<Self, Error> {
        match Self::read(array)? {
            None => Err(Error::ArrayNotOneDimensional),
            Some(parts) if parts.has_null() => Err(Error::NullInArray),
            Some(parts) => Ok(parts),
        }
    }

    /// The elements of an array of variable-length values of alignment int4: PostgreSQL stores them in arrays with
    /// plain headers, each aligned.
    pub(super) fn values(&self) -> Result<Vec<Option<&'a [u8]>>, Error> {
        let mut rest = self.elements;
        let mut values = Vec::with_capacity(self.len);
        for i in 0..self.len {
            if self.is_null(i) {
                values.push(None);
                continue;
            }
            let Some(varlena::Header::Plain(size)) = varlena::Header::read(rest) else {
                return Err(corrupted());
            };
            values.push(Some(rest.get(..size).ok_or_else(corrupted)?));
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(values)
    }

    fn is_null(&self, i: usize) -> bool {
        self.bitmap
            .is_some_and(|bitmap| bitmap[i / 8] & (1 << (i % 8)) == 0)
    }

    fn has_null(&self) -> bool {
        self.bitmap.is_some() && (0..self.len).any(|i| self.is_null(i))
    }
}

#[cold]
pub(super) fn corrupted() -> Error {
    Error::Corrupted {
        what: "an array whose size and dimensions disagree".into(),
    }
}

/// An argument of type `vector[]`: each element in place, or none for a null.
#[derive(Debug)]
pub struct VectorArrayArg<'a>(Vec<Option<&'a [f32]>>);

impl<'a> VectorArrayArg<'a> {
    /// Number of elements, nulls included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The `i`th element counted from 0; `None` if it is null or there is none.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [f32]> {
        self.0.get(i).copied().flatten()
    }

    fn read(array: &'a [u8]) -> Result<Self, Error> {
        let parts = match Parts::read(array)? {
            Some(parts) => parts,
            None => return Err(Error::VectorArrayDimensions),
        };
        let elements = parts.values()?.into_iter();
        let elements = elements.map(|value| value.map(elements_of_plain).transpose());
        Ok(Self(elements.collect::<Result<_, _>>()?))
    }
}

/// The payloads, without headers, of the elements of such an array; none for a null.
pub(super) fn varlena_elements(array: &[u8]) -> Result<Vec<Option<&[u8]>>, Error> {
    let parts = Parts::read(array)?.ok_or(Error::ArrayNotOneDimensional)?;
    let elements = parts.values()?.into_iter();
    Ok(elements
        .map(|element| element.and_then(|value| value.get(varlena::HEADER..)))
        .collect())
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for VectorArrayArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type; arrays are aligned to int4 or more.
        let bytes = unsafe { varlena::plain_bytes_of_arg(arg) };
        Self::read(bytes).or_report()
    }
}

// SAFETY: stands for `vector[]`; the type itself is created by sql/vector_type.sql.
unsafe impl SqlTranslatable for VectorArrayArg<'_> {
    const TYPE_IDENT: &'static str = TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::ThisExtension;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::Array(SqlArrayMappingRef::As("vector")));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Array(
        SqlArrayMappingRef::As("vector"),
    )));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array's bytes, aligned as palloc aligns them.
    struct Bytes(Vec<u64>, usize);

    impl Bytes {
        fn new(bytes: &[u8]) -> Self {
            let mut words = vec![0u64; bytes.len().div_ceil(8)];
            varlena::as_bytes_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
            Self(words, bytes.len())
        }

        fn get(&mut self, len: usize) -> &[u8] {
            &varlena::as_bytes_mut(&mut self.0)[..len.min(self.1)]
        }
    }

    /// A value with a plain header.
    fn plain(payload: &[u8]) -> Vec<u8> {
        let mut value = varlena::plain_header(4 + payload.len()).to_vec();
        value.extend(payload);
        value
    }

    fn vector(elements: &[f32]) -> Vec<u8> {
        let mut payload = (elements.len() as i16).to_ne_bytes().to_vec();
        payload.extend([0, 0]);
        payload.extend(elements.iter().flat_map(|x| x.to_ne_bytes()));
        plain(&payload)
    }

    /// A `vector[]` of these elements; a null bitmap only if there is a null.
    fn array(ndim: i32, elements: &[Option<&[f32]>]) -> Vec<u8> {
        let nulls = elements.iter().any(Option::is_none);
        let start = if nulls { PREFIX + 8 } else { PREFIX };
        let mut payload = Vec::new();
        for word in [
            ndim,
            if nulls { start as i32 } else { 0 },
            0,
            elements.len() as i32,
            1,
        ] {
            payload.extend(word.to_ne_bytes());
        }
        if nulls {
            let bits = elements.iter().enumerate();
            let bits = bits.fold(0u64, |bits, (i, e)| bits | u64::from(e.is_some()) << i);
            payload.extend(bits.to_le_bytes());
        }
        payload.extend(
            elements
                .iter()
                .flatten()
                .flat_map(|elements| vector(elements)),
        );
        plain(&payload)
    }

    #[test]
    fn reads_elements_and_nulls_in_place() {
        let elements = [Some(&[1.0f32, 2.0][..]), None, Some(&[3.0]), None];
        for elements in [&elements[..1], &elements[..2], &elements] {
            let mut bytes = Bytes::new(&array(1, elements));
            let whole = bytes.1;
            let read = VectorArrayArg::read(bytes.get(whole)).unwrap();
            let found: Vec<_> = (0..read.len()).map(|i| read.get(i)).collect();
            assert_eq!(found, elements);
            assert_eq!(read.get(elements.len()), None);
        }
        let mut empty = Bytes::new(&array(0, &[]));
        assert_eq!(VectorArrayArg::read(empty.get(16)).unwrap().len(), 0);
    }

    #[test]
    fn refuses_other_shapes_and_cut_values() {
        let elements = [Some(&[1.0f32, 2.0][..]), None, Some(&[3.0])];
        let mut two = Bytes::new(&array(2, &elements));
        let whole = two.1;
        let error = VectorArrayArg::read(two.get(whole)).unwrap_err();
        assert_eq!(error, Error::VectorArrayDimensions);
        let mut one = Bytes::new(&array(1, &elements));
        for len in 0..whole {
            assert!(VectorArrayArg::read(one.get(len)).is_err(), "{len} bytes");
        }
    }
}
