//! What pgrx does not offer for settings.

use core::ffi::CStr;
use pgrx::pg_sys;

/// From here on a setting `prefix.x` that nobody defined is an error instead of a placeholder.
pub fn reserve_prefix(prefix: &'static CStr) {
    // SAFETY: the function reads the string, which is NUL-terminated and never freed.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}
