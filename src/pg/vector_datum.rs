//! The SQL type `vector` and Rust's `&[f32]`.
//!
//! ```text
//! stored:  | varlena header 4 | dim int16 | unused int16 = 0 | dim × float4 |     aligned to int4, storage external
//! ```
//!
//! The same bytes as pgvector's, so that a value of one extension is a value of the other.

use super::report::OrReport;
use super::varlena::{self, HEADER, Header, NewVarlena};
use crate::error::Error;
use core::marker::PhantomData;
use core::ops::Deref;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum, IntoDatum};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

/// Bytes before the elements: the header, `dim` and `unused`.
pub const PREFIX: usize = HEADER + 4;

/// What pgrx calls the type when it orders the statements of the extension's script.
pub(super) const TYPE_IDENT: &str = concat!(module_path!(), "::vector");

/// An argument of type `vector`, detoasted: its elements.
#[derive(Clone, Copy, Debug)]
pub struct VectorArg<'a>(&'a [f32]);

impl Deref for VectorArg<'_> {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        self.0
    }
}

impl<'a> VectorArg<'a> {
    /// The elements, for as long as the argument lives.
    #[inline]
    pub fn elements(self) -> &'a [f32] {
        self.0
    }

    /// # Safety
    /// `datum` is a non-null datum of type `vector` and, like the current memory context, lives as long as `'a`.
    #[inline]
    unsafe fn from_vector(datum: pg_sys::Datum) -> Self {
        // SAFETY: by the caller's promise; vectors are aligned to int4.
        let bytes = unsafe { varlena::plain_bytes(datum) };
        Self(elements_of_plain(bytes).or_report())
    }
}

impl FromDatum for VectorArg<'_> {
    #[inline]
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null || datum.is_null() {
            return None;
        }
        // SAFETY: not null, of type `vector` and alive by the trait's contract.
        Some(unsafe { Self::from_vector(datum) })
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for VectorArg<'fcx> {
    #[inline]
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type.
        Self(elements_of_plain(unsafe { varlena::plain_bytes_of_arg(arg) }).or_report())
    }
}

/// A new value of type `vector` in the memory context that was current when it was made.
pub struct VectorOut {
    datum: pg_sys::Datum,
    /// Its memory belongs to the backend's main thread.
    not_send: PhantomData<*mut ()>,
}

impl VectorOut {
    /// A copy of `elements`.
    #[inline]
    pub fn from_slice(elements: &[f32]) -> Self {
        Self::build(elements.len(), |target| target.copy_from_slice(elements))
    }

    /// A vector of `dim` zeros, handed to `fill`. More elements than `dim int16` can count are cut off by the
    /// callers' check of the dimension; here they are an invariant.
    #[inline]
    pub fn build(dim: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        Self::try_build(dim, |elements| {
            fill(elements);
            Ok(())
        })
        .or_report()
    }

    /// The same where filling can fail.
    #[inline]
    pub fn try_build(
        dim: usize,
        fill: impl FnOnce(&mut [f32]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let stored = i16::try_from(dim).map_err(|_| Error::TooManyDimensions {
            max: i16::MAX as usize,
        })?;
        let mut value = NewVarlena::zeroed(PREFIX + dim * size_of::<f32>());
        let bytes = value.bytes_mut();
        bytes[HEADER..HEADER + 2].copy_from_slice(&stored.to_ne_bytes());
        let elements = varlena::as_numbers_mut(&mut bytes[PREFIX..])
            .expect("palloc aligns to eight bytes and the size was made for floats");
        fill(elements)?;
        Ok(Self {
            datum: value.into_datum(),
            not_send: PhantomData,
        })
    }
}

impl IntoDatum for VectorOut {
    #[inline]
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.datum)
    }

    fn type_oid() -> pg_sys::Oid {
        type_oid()
    }
}

// SAFETY: the datum points at a whole value of type `vector` in the context the function was called in.
unsafe impl BoxRet for VectorOut {
    #[inline]
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `vector`.
        unsafe { fcinfo.return_raw_datum(self.datum) }
    }
}

macro_rules! is_sql_vector {
    ($($ty:ty),*) => {$(
        // SAFETY: the type stands for `vector`, which sql/vector_type.sql creates.
        unsafe impl SqlTranslatable for $ty {
            const TYPE_IDENT: &'static str = TYPE_IDENT;
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::ThisExtension;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("vector"));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal("vector")));
        }
    )*};
}
is_sql_vector!(VectorArg<'_>, VectorOut);

/// The OID of Conifer's `vector` in this database, whatever the search path; invalid if there is none.
pub fn type_oid() -> pg_sys::Oid {
    super::extension::type_oid(c"vector").unwrap_or(pg_sys::InvalidOid)
}

/// The elements of a value as found in a tuple.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored<'a> {
    /// In the tuple itself.
    Inline(&'a [f32]),
    /// Compressed or in the TOAST table: detoast the datum.
    Toasted,
}

/// Reads the raw bytes of a stored `vector`: `bytes` begins at the value's header (behind any alignment padding) and
/// may go on behind its end. A value with a one-byte header, whose floats are not aligned, is copied to `scratch`,
/// which allocates only until it once had room for 31 floats.
#[inline(always)]
pub fn elements_of_raw<'a>(
    bytes: &'a [u8],
    scratch: &'a mut Vec<f32>,
) -> Result<Stored<'a>, Error> {
    match Header::read(bytes) {
        Some(Header::Plain(size)) => {
            let value = bytes.get(..size).ok_or_else(corrupted)?;
            match elements_of_plain(value) {
                Ok(elements) => Ok(Stored::Inline(elements)),
                Err(_) => copy_payload(value.get(HEADER..).ok_or_else(corrupted)?, scratch),
            }
        }
        Some(Header::Short(size)) => {
            copy_payload(bytes.get(1..size).ok_or_else(corrupted)?, scratch)
        }
        Some(Header::Toasted) => Ok(Stored::Toasted),
        None => Err(corrupted()),
    }
}

/// The elements of a whole value with a plain header.
#[inline(always)]
pub(super) fn elements_of_plain(value: &[u8]) -> Result<&[f32], Error> {
    let (dim, elements) = value
        .get(HEADER..)
        .and_then(split_payload)
        .ok_or_else(corrupted)?;
    match varlena::as_numbers(elements) {
        Some(elements) if elements.len() == dim => Ok(elements),
        _ => Err(corrupted()),
    }
}

/// Copies the floats behind an unaligned header.
#[inline]
fn copy_payload<'a>(payload: &[u8], scratch: &'a mut Vec<f32>) -> Result<Stored<'a>, Error> {
    let (dim, elements) = split_payload(payload).ok_or_else(corrupted)?;
    let (floats, rest) = elements.as_chunks::<4>();
    if floats.len() != dim || !rest.is_empty() {
        return Err(corrupted());
    }
    scratch.clear();
    scratch.extend(floats.iter().map(|&bytes| f32::from_ne_bytes(bytes)));
    Ok(Stored::Inline(scratch))
}

/// `dim` and the bytes of the elements.
#[inline]
fn split_payload(payload: &[u8]) -> Option<(usize, &[u8])> {
    let (prefix, elements) = payload.split_first_chunk::<4>()?;
    let dim = i16::from_ne_bytes([prefix[0], prefix[1]]);
    Some((usize::try_from(dim).ok()?, elements))
}

#[cold]
fn corrupted() -> Error {
    Error::Corrupted {
        what: "a value of type vector whose size and dimensions disagree".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored value with a four-byte header.
    fn plain(dim: i16, elements: &[f32]) -> Vec<u8> {
        let mut bytes = varlena::plain_header(PREFIX + elements.len() * 4).to_vec();
        bytes.extend(payload(dim, elements));
        bytes
    }

    fn short(dim: i16, elements: &[f32]) -> Vec<u8> {
        let size = (5 + elements.len() * 4) as u8;
        #[cfg(target_endian = "little")]
        let mut bytes = vec![size << 1 | 1];
        #[cfg(target_endian = "big")]
        let mut bytes = vec![size | 0x80];
        bytes.extend(payload(dim, elements));
        bytes
    }

    fn payload(dim: i16, elements: &[f32]) -> Vec<u8> {
        let mut bytes = dim.to_ne_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(elements.iter().flat_map(|x| x.to_ne_bytes()));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Vec<f32>>, Error> {
        let mut scratch = Vec::new();
        elements_of_raw(bytes, &mut scratch).map(|stored| match stored {
            Stored::Inline(elements) => Some(elements.to_vec()),
            Stored::Toasted => None,
        })
    }

    #[test]
    fn reads_both_headers_at_every_alignment_and_ignores_what_follows() {
        let elements = [1.0, -2.5, f32::MIN_POSITIVE];
        for value in [plain(3, &elements), short(3, &elements)] {
            for skew in 0..8 {
                let mut bytes = vec![0xAA; skew];
                bytes.extend(&value);
                bytes.extend([0xBB; 9]);
                assert_eq!(read(&bytes[skew..]), Ok(Some(elements.to_vec())), "{skew}");
            }
        }
    }

    #[test]
    fn says_when_the_value_must_be_fetched() {
        #[cfg(target_endian = "little")]
        let (external, compressed) = ([0x01, 18, 0, 0], [0x02, 0, 0, 0]);
        #[cfg(target_endian = "big")]
        let (external, compressed) = ([0x80, 18, 0, 0], [0x40, 0, 0, 0]);
        assert_eq!(read(&external), Ok(None));
        assert_eq!(read(&compressed), Ok(None));
    }

    #[test]
    fn refuses_sizes_that_disagree() {
        let whole = plain(2, &[1.0, 2.0]);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes");
        }
        let whole = short(2, &[1.0, 2.0]);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes, short");
        }
        for dim in [-1, 1, 3, i16::MAX] {
            assert!(read(&plain(dim, &[1.0, 2.0])).is_err(), "{dim}");
            assert!(read(&short(dim, &[1.0, 2.0])).is_err(), "{dim}, short");
        }
    }
}
