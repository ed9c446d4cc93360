//! Type modifiers: the `(…)` behind a type's name.

use super::varlena;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::impl_sql_translatable;
use pgrx::pg_sys;

/// The argument of a `typmod_in` function: the modifiers as integers.
pub struct TypmodArg<'a>(&'a [i32]);

impl TypmodArg<'_> {
    /// The modifiers in order.
    pub fn modifiers(&self) -> &[i32] {
        self.0
    }
}

// SAFETY: the integers live in the context the function was called in, so as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for TypmodArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises a non-null argument of type cstring[].
        let array = unsafe { varlena::plain_bytes_of_arg(arg) };
        let mut count = 0;
        // SAFETY: `array` is a whole detoasted array of cstring; PostgreSQL raises errors for what are no integers.
        unsafe {
            let array = array.as_ptr().cast_mut().cast::<pg_sys::ArrayType>();
            let modifiers = pg_sys::ArrayGetIntegerTypmods(array, &raw mut count);
            Self(core::slice::from_raw_parts(
                modifiers,
                usize::try_from(count).unwrap_or(0),
            ))
        }
    }
}
impl_sql_translatable!(TypmodArg<'_>, "cstring[]");
