//! SQL arrays of numbers: arguments read in place, results built in one piece, the state of an aggregate.
//!
//! The layout is told in `array`.

use super::array::{FIXED, PREFIX, Parts, corrupted};
use super::varlena::{self, NewVarlena, Plain};
use crate::error::Error;
use core::marker::PhantomData;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, IntoDatum};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlArrayMappingRef, SqlMappingRef, SqlTranslatable,
    TypeOrigin,
};
use pgrx::{direct_function_call, direct_function_call_as_datum};

/// An argument that is an array of numbers stored by value: the numbers in place.
pub struct NumberArrayArg<'a, T: Plain>(Result<&'a [T], Error>);

impl<'a, T: Plain> NumberArrayArg<'a, T> {
    /// The numbers; an error if the array has more than one dimension or a null.
    pub fn numbers(&self) -> Result<&'a [T], Error> {
        self.0.clone()
    }

    fn read(array: &'a [u8]) -> Result<&'a [T], Error> {
        let parts = Parts::read_filled(array)?;
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

/// An argument of type `numeric[]`.
pub struct NumericArrayArg<'a>(Result<Vec<&'a [u8]>, Error>);

impl NumericArrayArg<'_> {
    /// How many numbers; an error if the array has more than one dimension or a null.
    pub fn len(&self) -> Result<usize, Error> {
        self.0.as_ref().map(Vec::len).map_err(Clone::clone)
    }

    /// The numbers rounded to `f32` as PostgreSQL casts them; it raises its own error for one outside the range.
    pub fn write_rounded(&self, target: &mut [f32]) {
        let values = self.0.as_deref().unwrap_or_default();
        for (target, value) in target.iter_mut().zip(values) {
            let datum = pg_sys::Datum::from(value.as_ptr());
            // SAFETY: `value` is a whole numeric; numeric_float4 takes one and never returns null.
            let number = unsafe { direct_function_call(pg_sys::numeric_float4, &[Some(datum)]) };
            *target = number.unwrap_or(f32::NAN);
        }
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for NumericArrayArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of the matching type; arrays are aligned to int4 or more.
        let bytes = unsafe { varlena::plain_bytes_of_arg(arg) };
        let values = Parts::read_filled(bytes).and_then(|parts| parts.values());
        Self(values.map(|values| values.into_iter().flatten().collect()))
    }
}

/// A new array of type `numeric[]`.
pub struct NumericArrayOut(pg_sys::Datum);

impl NumericArrayOut {
    /// The numbers as PostgreSQL casts `real` to `numeric`.
    pub fn from_slice(numbers: &[f32]) -> Self {
        let cast = |&number: &f32| {
            // SAFETY: float4_numeric takes a float4 and never returns null.
            let numeric = unsafe {
                direct_function_call_as_datum(pg_sys::float4_numeric, &[number.into_datum()])
            };
            numeric.unwrap_or(pg_sys::Datum::null())
        };
        let mut datums: Vec<pg_sys::Datum> = numbers.iter().map(cast).collect();
        // SAFETY: `datums` are whole numerics, and length, pass-by and alignment are pg_type's for numeric.
        let array = unsafe {
            pg_sys::construct_array(
                datums.as_mut_ptr(),
                datums.len() as i32,
                pg_sys::NUMERICOID,
                -1,
                false,
                pg_sys::TYPALIGN_INT as core::ffi::c_char,
            )
        };
        Self(pg_sys::Datum::from(array))
    }
}

// SAFETY: the datum points at a whole array in the context the function was called in.
unsafe impl BoxRet for NumericArrayOut {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the caller returns it from a function declared to return numeric[].
        unsafe { fcinfo.return_raw_datum(self.0) }
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

/// The state of an aggregate kept in a `double precision[]`, as the transition function gets it.
///
/// Inside an aggregate the state belongs to the call and is changed in place; in a plain call it is copied.
pub struct StateArg<'a> {
    start: *mut u8,
    size: usize,
    in_aggregate: bool,
    lives: PhantomData<&'a mut [f64]>,
}

impl StateArg<'_> {
    /// The numbers; an error if the array has more than one dimension or a null.
    pub fn numbers(&self) -> Result<&[f64], Error> {
        // SAFETY: `start` and `size` are those of a detoasted array that lives as long as the call.
        NumberArrayArg::read(unsafe { core::slice::from_raw_parts(self.start, self.size) })
    }

    /// The state after `change`, which gets its numbers.
    pub fn change(
        self,
        change: impl FnOnce(&mut [f64]) -> Result<(), Error>,
    ) -> Result<NumberArrayOut<f64>, Error> {
        let numbers = self.numbers()?;
        if !self.in_aggregate {
            return NumberArrayOut::try_build(numbers.len(), |copy| {
                copy.copy_from_slice(numbers);
                change(copy)
            });
        }
        let (offset, len) = (
            numbers.as_ptr() as usize - self.start as usize,
            numbers.len(),
        );
        // SAFETY: `numbers` found its aligned floats there, inside the state, which PostgreSQL lets a transition
        // function change; no other reference to it is alive.
        change(unsafe {
            core::slice::from_raw_parts_mut(self.start.add(offset).cast::<f64>(), len)
        })?;
        Ok(NumberArrayOut {
            datum: pg_sys::Datum::from(self.start),
            not_send: PhantomData,
        })
    }
}

// SAFETY: what is handed out lives as long as the call's arguments.
unsafe impl<'fcx> ArgAbi<'fcx> for StateArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        let index = arg.index();
        // SAFETY: the call's own frame; every argument knows it.
        let fcinfo = unsafe { arg.unbox_unchecked::<pg_sys::FunctionCallInfo>() };
        // SAFETY: `index` is the place of this argument in this frame; the caller promises that it is not null and
        // of the matching type.
        unsafe {
            let (start, size) = varlena::plain_start(pgrx::pg_getarg_datum_raw(fcinfo, index));
            Self {
                start,
                size,
                in_aggregate: pg_sys::AggCheckCallContext(fcinfo, core::ptr::null_mut()) != 0,
                lives: PhantomData,
            }
        }
    }
}

macro_rules! is_sql_array {
    ($($ty:ty => $sql:literal),* $(,)?) => {$(
        // SAFETY: the type stands for an array of the built-in type of the same form.
        unsafe impl SqlTranslatable for $ty {
            const TYPE_IDENT: &'static str = concat!(module_path!(), "::", $sql);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::Array(SqlArrayMappingRef::As($sql)));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::Array(SqlArrayMappingRef::As($sql))));
        }
    )*};
}
is_sql_array!(
    NumberArrayArg<'_, i32> => "integer",
    NumberArrayOut<i32> => "integer",
    NumberArrayArg<'_, f32> => "real",
    NumberArrayOut<f32> => "real",
    NumberArrayArg<'_, f64> => "double precision",
    NumberArrayOut<f64> => "double precision",
    StateArg<'_> => "double precision",
    NumericArrayArg<'_> => "numeric",
    NumericArrayOut => "numeric",
);
