//! The lock table that all sessions share (storage/lmgr/lock.c).

use pgrx::pg_sys;

unsafe extern "C" {
    /// access/twophase.h; not in the bindings.
    static max_prepared_xacts: core::ffi::c_int;
}

/// Locks it has room for: those of every backend and prepared transaction together (NLOCKENTS).
pub fn capacity() -> usize {
    // SAFETY: three settings of the server's start.
    let (each, backends, prepared) = unsafe {
        (
            pg_sys::max_locks_per_xact,
            pg_sys::MaxBackends,
            max_prepared_xacts,
        )
    };
    let number = |setting: i32| usize::try_from(setting).unwrap_or(0);
    number(each) * (number(backends) + number(prepared))
}
