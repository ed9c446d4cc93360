//! The locks that dropping tables takes, taken beforehand: DROP TABLE itself takes them in the order in which it comes upon dependencies, indexes before their
//! tables, and would deadlock with whoever uses both. Statements on a root lock parents first, and so does everybody who locks more than a leaf.

use super::relation::{LockMode, Oid, class_row, get_partition_parent};
use pgrx::pg_sys;

/// Locks a partition and its parent as DROP TABLE will, waiting for neither while holding the other: statements on the
/// root come parent first, the extension's functions leaf first, and either way round would deadlock with one of them.
#[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
pub fn lock_for_drop(partition: Oid) {
    let lock = LockMode::AccessExclusive.raw();
    // SAFETY: locking takes any OID; a parent is looked up only of a partition, whose row the same call checks.
    unsafe {
        loop {
            pgrx::check_for_interrupts!();
            pg_sys::LockRelationOid(partition, lock);
            if class_row(partition, |row| row.relispartition) != Some(true) {
                return; // gone meanwhile, or detached
            }
            let parent =
                pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_parent(partition, true));
            if pg_sys::ConditionalLockRelationOid(parent, lock) {
                return;
            }
            pg_sys::UnlockRelationOid(partition, lock);
            pg_sys::LockRelationOid(parent, lock);
            if pg_sys::ConditionalLockRelationOid(partition, lock) {
                return;
            }
            pg_sys::UnlockRelationOid(parent, lock);
        }
    }
}

/// Locks tables as DROP TABLE will, one after the other; who holds one of those to come must not wait for one of those before.
pub fn lock_all_for_drop(tables: impl IntoIterator<Item = Oid>) {
    for table in tables {
        pgrx::check_for_interrupts!();
        // SAFETY: locking takes any OID.
        unsafe { pg_sys::LockRelationOid(table, LockMode::AccessExclusive.raw()) };
    }
}
