//! The lock table that all sessions share (storage/lmgr/lock.c).

use pgrx::pg_sys;

unsafe extern "C" {
    /// access/twophase.h; not in the bindings.
    static max_prepared_xacts: core::ffi::c_int;
}

/// Locks it has room for: those of every backend and prepared transaction together (NLOCKENTS).
pub fn capacity() -> usize {
    // SAFETY: a setting of the server's start.
    let each = unsafe { pg_sys::max_locks_per_xact };
    usize::try_from(each).unwrap_or(0) * holders()
}

/// What `max_locks_per_transaction` must be for a table of so many.
pub fn per_transaction(capacity: usize) -> usize {
    capacity.div_ceil(holders().max(1))
}

/// Backends and prepared transactions there may be.
fn holders() -> usize {
    // SAFETY: two settings of the server's start.
    let (backends, prepared) = unsafe { (pg_sys::MaxBackends, max_prepared_xacts) };
    let number = |setting: i32| usize::try_from(setting).unwrap_or(0);
    number(backends) + number(prepared)
}
