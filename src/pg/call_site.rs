//! What a function keeps from call to call at one place of a statement: fmgr's `fn_extra` (fmgr.h).

use super::memory;
use core::any::Any;
use core::marker::PhantomData;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

/// The place a function is called from. As a Rust argument it takes no SQL argument.
///
/// Not for set-returning functions, which keep their own state there.
pub struct CallSite<'fcx> {
    call: pg_sys::FunctionCallInfo,
    life: PhantomData<&'fcx ()>,
}

/// What was made, and the bytes it was made from.
struct Kept {
    key: Box<[u8]>,
    made: Box<dyn Any>,
}

impl CallSite<'_> {
    /// Shows `use_it` what `make` makes of `key`. `make` is asked again only when the key is another than at the call
    /// before; an error is not kept.
    pub fn with<T: 'static, R, E>(
        &mut self,
        key: &[u8],
        make: impl FnOnce(&[u8]) -> Result<T, E>,
        use_it: impl FnOnce(&T) -> R,
    ) -> Result<R, E> {
        let Some(slot) = self.slot() else {
            return make(key).map(|made| use_it(&made));
        };
        // SAFETY: the slot holds null or a `Kept` from Box::into_raw, which nobody else has: a call at this place ends
        // before the next begins, and `use_it` has no way to it.
        let kept = unsafe { slot.read().as_ref() };
        if let Some(kept) = kept
            && *kept.key == *key
            && let Some(made) = kept.made.downcast_ref()
        {
            return Ok(use_it(made));
        }
        let made = make(key)?;
        let result = use_it(&made);
        let kept = Box::new(Kept {
            key: key.into(),
            made: Box::new(made),
        });
        // SAFETY: as above; the old value is dropped by the Box that is made of it.
        unsafe {
            let old = slot.replace(Box::into_raw(kept));
            if !old.is_null() {
                drop(Box::from_raw(old));
            }
        }
        Ok(result)
    }

    /// Where the kept value's pointer lies, as long as the place of the call; None for a call without one.
    fn slot(&mut self) -> Option<*mut *mut Kept> {
        // SAFETY: PostgreSQL's call information is live during the call. `fn_extra` is the called function's own, null
        // at first, and goes with `fn_mcxt`, in which the slot is allocated and whose end drops what is in it.
        unsafe {
            let place = (*self.call).flinfo.as_mut()?;
            if place.fn_extra.is_null() {
                let slot = pg_sys::MemoryContextAllocZero(place.fn_mcxt, size_of::<*mut Kept>());
                memory::on_reset(place.fn_mcxt, memory::drop_boxed::<Kept>, slot);
                place.fn_extra = slot;
            }
            Some(place.fn_extra.cast())
        }
    }
}

// SAFETY: what is handed out lives as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for CallSite<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        Self {
            // SAFETY: by the caller's promise.
            call: unsafe { ArgAbi::unbox_arg_unchecked(arg) },
            life: PhantomData,
        }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: it stands for no SQL argument.
unsafe impl SqlTranslatable for CallSite<'_> {
    const TYPE_IDENT: &'static str = concat!(module_path!(), "::call_site");
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::Skip));
}
