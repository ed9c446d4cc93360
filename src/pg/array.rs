//! One-dimensional SQL arrays: arguments read in place, results built in one piece.
//!
//! ```text
//! | varlena header | ndim | dataoffset | elemtype | ndim × length | ndim × lower bound | [null bitmap] | elements |
//! ```
//!
//! `dataoffset` is 0 when there is no null bitmap; elements begin aligned to eight bytes.

use super::report::OrReport;
use super::varlena::{self, NewVarlena, Plain};
use super::vector_datum::{TYPE_IDENT, elements_of_plain};
use crate::error::Error;
use core::marker::PhantomData;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, IntoDatum};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlArrayMappingRef, SqlMappingRef, SqlTranslatable,
    TypeOrigin,
};

/// Bytes before the dimensions: the varlena header, `ndim`, `dataoffset` and `elemtype`.
const FIXED: usize = 16;
/// Bytes before the elements of a one-dimensional array without nulls.
const PREFIX: usize = 24;

/// An array of at most one dimension, taken apart.
struct Parts<'a> {
    len: usize,
    /// One bit an element, 0 = null; `None` if the array has no bitmap.
    bitmap: Option<&'a [u8]>,
    elements: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes the bytes of a detoasted array apart.
    fn read(array: &'a [u8]) -> Result<Self, Error> {
        let word = |at: usize| -> Result<i32, Error> {
            let bytes = array.get(at..).and_then(|rest| rest.first_chunk());
            Ok(i32::from_ne_bytes(*bytes.ok_or_else(corrupted)?))
        };
        let len = match word(4)? {
            0 => 0,
            1 => usize::try_from(word(FIXED)?).map_err(|_| corrupted())?,
            _ => return Err(Error::ArrayNotOneDimensional),
        };
        if len == 0 {
            return Ok(Self {
                len,
                bitmap: None,
                elements: &[],
            });
        }
        let offset = usize::try_from(word(8)?).map_err(|_| corrupted())?;
        let (bitmap, start) = match offset {
            0 => (None, PREFIX),
            _ => {
                let bytes = array.get(PREFIX..).and_then(|b| b.get(..len.div_ceil(8)));
                (Some(bytes.ok_or_else(corrupted)?), offset)
            }
        };
        Ok(Self {
            len,
            bitmap,
            elements: array.get(start..).ok_or_else(corrupted)?,
        })
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
fn corrupted() -> Error {
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `i`th element counted from 0; `None` if it is null or there is none.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [f32]> {
        self.0.get(i).copied().flatten()
    }

    /// All elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&'a [f32]>> + '_ {
        self.0.iter().copied()
    }

    fn read(array: &'a [u8]) -> Result<Self, Error> {
        let values = plain_elements(array)?;
        let elements = values
            .into_iter()
            .map(|value| value.map(elements_of_plain).transpose());
        elements.collect::<Result<_, _>>().map(Self)
    }
}

/// Whole elements, headers included, of an array of a variable-length type of alignment int4: PostgreSQL stores them
/// with plain headers, each aligned as its type asks.
fn plain_elements(array: &[u8]) -> Result<Vec<Option<&[u8]>>, Error> {
    let parts = Parts::read(array)?;
    let mut rest = parts.elements;
    let mut elements = Vec::with_capacity(parts.len);
    for i in 0..parts.len {
        if parts.is_null(i) {
            elements.push(None);
            continue;
        }
        let Some(varlena::Header::Plain(size)) = varlena::Header::read(rest) else {
            return Err(corrupted());
        };
        elements.push(Some(rest.get(..size).ok_or_else(corrupted)?));
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(elements)
}

/// The payloads, without headers, of the elements of such an array; none for a null.
pub(super) fn varlena_elements(array: &[u8]) -> Result<Vec<Option<&[u8]>>, Error> {
    let elements = plain_elements(array)?.into_iter();
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

/// An argument that is an array of numbers stored by value: the numbers in place.
pub struct NumberArrayArg<'a, T: Plain>(Result<&'a [T], Error>);

impl<'a, T: Plain> NumberArrayArg<'a, T> {
    /// The numbers; an error if the array has more than one dimension or a null.
    pub fn numbers(&self) -> Result<&'a [T], Error> {
        self.0.clone()
    }

    fn read(array: &'a [u8]) -> Result<&'a [T], Error> {
        let parts = Parts::read(array)?;
        if parts.has_null() {
            return Err(Error::NullInArray);
        }
        let bytes = parts.elements.get(..parts.len * size_of::<T>());
        bytes.and_then(varlena::as_numbers).ok_or_else(corrupted)
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx, T: Plain> ArgAbi<'fcx> for NumberArrayArg<'fcx, T> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type; arrays are aligned to int4 or more.
        Self(Self::read(unsafe { varlena::plain_bytes_of_arg(arg) }))
    }
}

/// A new one-dimensional array of numbers.
pub struct NumberArrayOut<T: Plain> {
    datum: pg_sys::Datum,
    not_send: PhantomData<*mut T>,
}

impl<T: Plain> NumberArrayOut<T> {
    /// An array of `len` zeros, handed to `fill`. `len` is at least 1.
    pub fn try_build(
        len: usize,
        fill: impl FnOnce(&mut [T]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut value = NewVarlena::zeroed(PREFIX + len * size_of::<T>());
        let bytes = value.bytes_mut();
        let mut put = |at: usize, word: [u8; 4]| bytes[at..at + 4].copy_from_slice(&word);
        put(4, 1i32.to_ne_bytes());
        put(12, T::OID.to_u32().to_ne_bytes());
        put(
            FIXED,
            i32::try_from(len).map_err(|_| corrupted())?.to_ne_bytes(),
        );
        put(FIXED + 4, 1i32.to_ne_bytes());
        let numbers = varlena::as_numbers_mut(&mut bytes[PREFIX..])
            .expect("palloc aligns to eight bytes and the size was made for the numbers");
        fill(numbers)?;
        Ok(Self {
            datum: value.into_datum(),
            not_send: PhantomData,
        })
    }
}

// SAFETY: the datum points at a whole array in the context the function was called in.
unsafe impl<T: Plain> BoxRet for NumberArrayOut<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return the array type.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

impl<T: Plain> IntoDatum for NumberArrayOut<T> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.datum)
    }

    fn type_oid() -> pg_sys::Oid {
        // SAFETY: a catalog lookup that takes any OID.
        unsafe { pg_sys::get_array_type(T::OID) }
    }
}

macro_rules! is_sql_array {
    ($($number:ty => $sql:literal),*) => {$(
        is_sql_array!(@one NumberArrayArg<'_, $number>, $sql);
        is_sql_array!(@one NumberArrayOut<$number>, $sql);
    )*};
    (@one $ty:ty, $sql:literal) => {
        // SAFETY: the type stands for an array of the built-in type of the same form.
        unsafe impl SqlTranslatable for $ty {
            const TYPE_IDENT: &'static str = concat!(module_path!(), "::", $sql);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::Array(SqlArrayMappingRef::As($sql)));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::Array(SqlArrayMappingRef::As($sql))));
        }
    };
}
is_sql_array!(i32 => "integer", f32 => "real", f64 => "double precision");
