//! Variable-length values: what a header says, detoasting, and building one in PostgreSQL's memory.
//!
//! The three headers (see PostgreSQL's varatt.h): four bytes and plain, four bytes and compressed, one byte (short,
//! or a pointer to a value stored elsewhere). Nothing here calls PostgreSQL for a plain value.

use super::tuple::Attribute;
use core::ptr::NonNull;
use pgrx::callconv::Arg;
use pgrx::pg_sys;

/// Bytes of the header of a plain value.
pub const HEADER: usize = 4;

/// What the first bytes of a value say; sizes include the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Uncompressed, four-byte header.
    Plain(usize),
    /// Uncompressed, one-byte header; the payload is not aligned.
    Short(usize),
    /// Compressed or stored elsewhere: PostgreSQL must fetch it.
    Toasted,
}

impl Header {
    /// Reads a header; `None` if there are fewer bytes than it needs.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        if is_one_byte(first) {
            return Some(match short_size(first) {
                0 => Self::Toasted,
                size => Self::Short(size),
            });
        }
        let word = u32::from_ne_bytes(*bytes.first_chunk()?);
        Some(if is_compressed(first) {
            Self::Toasted
        } else {
            Self::Plain(plain_size(word))
        })
    }
}

#[cfg(target_endian = "little")]
mod bits {
    pub const fn is_one_byte(first: u8) -> bool {
        first & 0x01 == 0x01
    }
    pub const fn is_compressed(first: u8) -> bool {
        first & 0x03 == 0x02
    }
    /// Zero for the one byte that announces a value stored elsewhere.
    pub const fn short_size(first: u8) -> usize {
        (first >> 1) as usize
    }
    pub const fn plain_size(word: u32) -> usize {
        (word >> 2) as usize
    }
    pub const fn plain_word(size: u32) -> u32 {
        size << 2
    }
}

#[cfg(target_endian = "big")]
mod bits {
    pub const fn is_one_byte(first: u8) -> bool {
        first & 0x80 == 0x80
    }
    pub const fn is_compressed(first: u8) -> bool {
        first & 0xC0 == 0x40
    }
    /// Zero for the one byte that announces a value stored elsewhere.
    pub const fn short_size(first: u8) -> usize {
        (first & 0x7F) as usize
    }
    pub const fn plain_size(word: u32) -> usize {
        (word & 0x3FFF_FFFF) as usize
    }
    pub const fn plain_word(size: u32) -> u32 {
        size & 0x3FFF_FFFF
    }
}

use bits::{is_compressed, is_one_byte, plain_size, plain_word, short_size};

/// Where a value with a plain four-byte header begins and its size, header included; anything else is detoasted
/// (copied into the current memory context) first.
///
/// # Safety
/// `datum` is a non-null datum of a variable-length type of alignment int4 or more.
#[inline]
pub unsafe fn plain_start(datum: pg_sys::Datum) -> (*mut u8, usize) {
    let mut start: *mut pg_sys::varlena = datum.cast_mut_ptr();
    // SAFETY: a variable-length value has at least one byte.
    let first = unsafe { *start.cast::<u8>() };
    if is_one_byte(first) || is_compressed(first) {
        // SAFETY: the caller's datum is a valid variable-length value, which is all the function asks.
        start = unsafe { pg_sys::pg_detoast_datum(start) };
    }
    // SAFETY: a plain value begins with its size in an aligned word.
    let word = unsafe { start.cast::<u32>().read() };
    (start.cast(), plain_size(word))
}

/// A value as it lies in memory: in place, or to be detoasted.
///
/// # Safety
/// `datum` is a non-null datum of a variable-length type that lives as long as `'a`.
pub unsafe fn attribute<'a>(datum: pg_sys::Datum) -> Attribute<'a> {
    let start: *const u8 = datum.cast_mut_ptr();
    // SAFETY: a value has as many bytes as its header says, the header first: one byte, or an aligned word.
    unsafe {
        let first = *start;
        if is_one_byte(first) {
            match short_size(first) {
                // VARSIZE_EXTERNAL needs the tag; whoever detoasts reads the pointer by itself.
                0 => Attribute::Toasted(core::slice::from_raw_parts(start, 2)),
                size => Attribute::Inline(core::slice::from_raw_parts(start, size)),
            }
        } else {
            let size = plain_size(start.cast::<u32>().read_unaligned());
            let bytes = core::slice::from_raw_parts(start, size);
            if is_compressed(first) {
                Attribute::Toasted(bytes)
            } else {
                Attribute::Inline(bytes)
            }
        }
    }
}

/// The bytes, header included, of a value, detoasted if need be.
///
/// # Safety
/// As for [`plain_start`]; and the value lives as long as `'a`, which must not outlive the current memory context.
#[inline]
pub unsafe fn plain_bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: a value is as long as its header says, and lives for 'a by the caller's promise.
    unsafe {
        let (start, size) = plain_start(datum);
        core::slice::from_raw_parts(start, size)
    }
}

/// The same of a function's argument.
///
/// # Safety
/// The argument is not null and of a variable-length type of alignment int4 or more.
#[inline]
pub unsafe fn plain_bytes_of_arg<'fcx>(arg: Arg<'_, 'fcx>) -> &'fcx [u8] {
    // SAFETY: a `Datum` is taken over as it is, whatever its type.
    let datum = unsafe { arg.unbox_arg_using_from_datum::<pg_sys::Datum>() };
    // SAFETY: not null by the caller's promise; arguments live as long as the call, which is `'fcx`, and functions
    // are called in a context that lives as long.
    unsafe { plain_bytes(datum.unwrap_or(pg_sys::Datum::null())) }
}

/// A new value in the current memory context: plain header, zeroed payload.
pub struct NewVarlena {
    start: NonNull<u8>,
    size: usize,
}

impl NewVarlena {
    /// Allocates `size` bytes, header included.
    ///
    /// Larger sizes than PostgreSQL allows (1 GB) raise its error.
    #[inline]
    pub fn zeroed(size: usize) -> Self {
        debug_assert!(size >= HEADER);
        // SAFETY: palloc0 takes any size and raises an error rather than return null.
        let start = unsafe { NonNull::new_unchecked(pg_sys::palloc0(size).cast::<u8>()) };
        // SAFETY: palloc0 returned `size` >= 4 bytes aligned to MAXALIGN; sizes palloc takes are below 2^30.
        unsafe { start.cast::<u32>().write(plain_word(size as u32)) };
        Self { start, size }
    }

    /// All its bytes, header included.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `zeroed` allocated and zeroed `size` bytes at `start`, and `self` is the only way to them.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    /// The datum that PostgreSQL gets.
    #[inline]
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.start.as_ptr())
    }
}

/// Numbers whose every bit pattern is a value and that PostgreSQL stores in the machine's own form.
///
/// # Safety
/// The type has no padding and no invalid bit pattern, and `OID` is PostgreSQL's type of the same size and form.
pub unsafe trait Plain: Copy + Default + 'static {
    /// PostgreSQL's type.
    const OID: pg_sys::Oid;
}

// SAFETY: int4, float4 and float8 are stored as the machine's own i32, f32 and f64.
unsafe impl Plain for i32 {
    const OID: pg_sys::Oid = pg_sys::INT4OID;
}
// SAFETY: as above.
unsafe impl Plain for f32 {
    const OID: pg_sys::Oid = pg_sys::FLOAT4OID;
}
// SAFETY: as above.
unsafe impl Plain for f64 {
    const OID: pg_sys::Oid = pg_sys::FLOAT8OID;
}

/// Bytes as numbers; `None` if they are not aligned for it or not a whole number of them.
#[inline]
pub fn as_numbers<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a value of a `Plain` type.
    match unsafe { bytes.align_to::<T>() } {
        ([], numbers, []) => Some(numbers),
        _ => None,
    }
}

/// The same for writing.
#[inline]
pub fn as_numbers_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: every bit pattern is a value of a `Plain` type, and a `Plain` type has no padding.
    match unsafe { bytes.align_to_mut::<T>() } {
        ([], numbers, []) => Some(numbers),
        _ => None,
    }
}

/// The bytes of some numbers.
#[cfg(test)]
pub fn as_bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: a u64 has no padding and every bit pattern is one.
    let (_, bytes, _) = unsafe { words.align_to_mut::<u8>() };
    bytes
}

/// The header of a plain value of this size, header included.
#[cfg(test)]
pub fn plain_header(size: usize) -> [u8; HEADER] {
    plain_word(size as u32).to_ne_bytes()
}
