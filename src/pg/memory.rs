//! Memory settings, and Rust values that live as long as a memory context.

use core::ffi::c_void;
use pgrx::pg_guard;
use pgrx::pg_sys;

/// `work_mem` in bytes.
pub fn work_mem() -> usize {
    // SAFETY: a setting, read on the backend's only thread.
    let kilobytes = unsafe { pg_sys::work_mem };
    usize::try_from(kilobytes).unwrap_or(0) * 1024
}

/// `maintenance_work_mem` in bytes.
pub fn maintenance_work_mem() -> usize {
    // SAFETY: a setting, read on the backend's only thread.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem };
    usize::try_from(kilobytes).unwrap_or(0) * 1024
}

/// Calls `forget(argument)` when the context is reset or deleted, which happens on errors too.
///
/// # Safety
/// `context` is live, and `argument` stays fit for `forget` as long as it is.
pub(super) unsafe fn on_reset(
    context: pg_sys::MemoryContext,
    forget: unsafe extern "C-unwind" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: the callback's record lives in the context itself, as PostgreSQL asks; both by the caller's promise.
    unsafe {
        let callback =
            pg_sys::MemoryContextAllocZero(context, size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
        (*callback).func = Some(forget);
        (*callback).arg = argument;
        pg_sys::MemoryContextRegisterResetCallback(context, callback);
    }
}

/// For [`on_reset`]: drops the `Box<T>` that the pointed-to pointer owns, if it still owns one.
///
/// # Safety
/// `slot` points to a `*mut T` that is null or from `Box::into_raw`.
#[pg_guard]
pub(super) unsafe extern "C-unwind" fn drop_boxed<T>(slot: *mut c_void) {
    let slot = slot.cast::<*mut T>();
    // SAFETY: by the caller's promise; the pointer is taken out so that it is dropped once.
    unsafe {
        let boxed = slot.replace(core::ptr::null_mut());
        if !boxed.is_null() {
            drop(Box::from_raw(boxed));
        }
    }
}
