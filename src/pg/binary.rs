//! Binary values: messages of the binary protocol read by receive functions, `bytea` and `bit` results.

use super::varlena::{HEADER, NewVarlena};
use crate::error::Error;
use core::marker::PhantomData;
use core::ptr::NonNull;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::impl_sql_translatable;
use pgrx::pg_sys;

/// The message a receive function reads its value from; PostgreSQL checks afterwards that nothing is left.
pub struct MessageArg<'a> {
    buffer: NonNull<pg_sys::StringInfoData>,
    lives: PhantomData<&'a mut pg_sys::StringInfoData>,
}

impl<'a> MessageArg<'a> {
    /// What has not been read yet.
    fn rest(&self) -> &'a [u8] {
        // SAFETY: `buffer` is the message PostgreSQL passed to this call, and outlives it.
        let message = unsafe { self.buffer.as_ref() };
        let len = usize::try_from(message.len).unwrap_or(0);
        let read = usize::try_from(message.cursor).unwrap_or(len).min(len);
        // SAFETY: `data` holds `len` bytes and nothing writes to them during the call.
        unsafe { core::slice::from_raw_parts(message.data.cast::<u8>().add(read), len - read) }
    }

    fn advance(&mut self, by: usize) {
        // SAFETY: `buffer` as above; `by` is at most what `rest` had, so the cursor stays within `len`, an i32.
        unsafe { self.buffer.as_mut().cursor += by as i32 };
    }

    /// The next number of two bytes, in network order.
    pub fn take_i16(&mut self) -> Result<i16, Error> {
        let bytes = *self
            .rest()
            .first_chunk()
            .ok_or(Error::InsufficientMessage)?;
        self.advance(2);
        Ok(i16::from_be_bytes(bytes))
    }

    /// Fills `target` with the next numbers of four bytes, in network order. If the message is too short, as many
    /// as there are, and an error.
    pub fn take_f32s(&mut self, target: &mut [f32]) -> Result<(), Error> {
        let (numbers, _) = self.rest().as_chunks::<4>();
        let count = numbers.len().min(target.len());
        for (number, bytes) in target.iter_mut().zip(numbers) {
            *number = f32::from_be_bytes(*bytes);
        }
        self.advance(4 * count);
        if count < target.len() {
            return Err(Error::InsufficientMessage);
        }
        Ok(())
    }
}

// SAFETY: PostgreSQL passes a StringInfo as first argument of a receive function; `internal` arguments cannot come
// from SQL.
unsafe impl<'fcx> ArgAbi<'fcx> for MessageArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: a `Datum` is taken over as it is.
        let datum = unsafe { arg.unbox_arg_using_from_datum::<pg_sys::Datum>() };
        let buffer = datum.and_then(|datum| NonNull::new(datum.cast_mut_ptr()));
        Self {
            buffer: buffer.expect("PostgreSQL calls receive functions with a message"),
            lives: PhantomData,
        }
    }
}
impl_sql_translatable!(MessageArg<'_>, "internal");

/// A new value of type `bytea`.
pub struct BytesOut(NewVarlena);

impl BytesOut {
    /// `len` zero bytes, handed to `fill`.
    pub fn build(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut value = NewVarlena::zeroed(HEADER + len);
        fill(&mut value.bytes_mut()[HEADER..]);
        Self(value)
    }
}

// SAFETY: the datum is a whole value of type `bytea` in the context the function was called in.
unsafe impl BoxRet for BytesOut {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `bytea`.
        unsafe { fcinfo.return_raw_datum(self.0.into_datum()) }
    }
}
impl_sql_translatable!(BytesOut, "bytea");

/// A new value of type `bit`: a header, the number of bits as int4, the bits from the highest of each byte on.
pub struct BitsOut(NewVarlena);

impl BitsOut {
    /// These bits in order.
    pub fn from_bits(bits: impl ExactSizeIterator<Item = bool>) -> Self {
        let len = bits.len();
        let mut value = NewVarlena::zeroed(HEADER + 4 + len.div_ceil(8));
        let bytes = value.bytes_mut();
        bytes[HEADER..HEADER + 4].copy_from_slice(&(len as i32).to_ne_bytes());
        for (i, _) in bits.enumerate().filter(|(_, bit)| *bit) {
            bytes[HEADER + 4 + i / 8] |= 0x80 >> (i % 8);
        }
        Self(value)
    }
}

// SAFETY: the datum is a whole value of type `bit` in the context the function was called in.
unsafe impl BoxRet for BitsOut {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return `bit`.
        unsafe { fcinfo.return_raw_datum(self.0.into_datum()) }
    }
}
impl_sql_translatable!(BitsOut, "bit");
