//! Transaction state the SQL functions need: write permission, command counters, locks on names, invalidation.

use super::heap::Snapshot;
use super::relation::Oid;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Raises PostgreSQL's errors for a write in a read-only transaction, during recovery or in a parallel worker.
pub fn begin_write(function: &CStr) {
    // SAFETY: all three take a NUL-terminated command name.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(function.as_ptr());
        pg_sys::PreventCommandIfParallelMode(function.as_ptr());
        pg_sys::PreventCommandDuringRecovery(function.as_ptr());
    }
}

/// Makes what was written visible to the commands that follow in this transaction.
pub fn increment_command() {
    // SAFETY: not in parallel mode: begin_write was called.
    unsafe { pg_sys::CommandCounterIncrement() };
}

/// True if the transaction's snapshot is fixed (REPEATABLE READ and SERIALIZABLE).
pub fn has_fixed_snapshot() -> bool {
    // SAFETY: reads a global. IsolationUsesXactSnapshot in access/xact.h.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// A snapshot that sees this transaction's earlier commands, pushed as a volatile function's statements do
/// (executor/spi.c), popped on drop.
pub struct WriteSnapshot {
    snapshot: Snapshot<'static>,
}

impl WriteSnapshot {
    /// Takes it.
    pub fn push() -> WriteSnapshot {
        // SAFETY: inside a transaction that may write; popped in Drop or by the abort.
        unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        WriteSnapshot {
            snapshot: Snapshot::active(),
        }
    }

    /// The snapshot itself.
    pub fn get(&self) -> Snapshot<'_> {
        self.snapshot
    }
}

impl Drop for WriteSnapshot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort pops it
        }
        // SAFETY: pushed by `push`, and nothing pushed above it is left.
        unsafe { pg_sys::PopActiveSnapshot() };
    }
}

/// Locks a name that has no row yet (a namespace about to be made) until the transaction ends. `class` is the catalog
/// table, `hash` stands for the name: two names with one hash merely wait for each other.
pub fn lock_name(class: Oid, hash: u32) {
    // SAFETY: LockDatabaseObject takes any numbers.
    unsafe {
        pg_sys::LockDatabaseObject(
            class,
            Oid::from(hash),
            0,
            pg_sys::ExclusiveLock as pg_sys::LOCKMODE,
        );
    }
}

/// Has `on_change` called whenever a relation's cached description may have changed: with its OID, or None for "any".
/// It runs inside lock waits and cache lookups: it must not raise errors nor call PostgreSQL.
pub fn on_relation_change(on_change: fn(Option<Oid>)) {
    // SAFETY: the callback is a function of ours with the right signature; the argument carries the fn pointer.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(
            Some(relation_changed),
            pg_sys::Datum::from(on_change as *const () as usize),
        );
    }
}

unsafe extern "C-unwind" fn relation_changed(argument: pg_sys::Datum, relation: Oid) {
    // SAFETY: on_relation_change passed a fn(Option<Oid>) as this argument.
    let on_change: fn(Option<Oid>) =
        unsafe { std::mem::transmute::<usize, fn(Option<Oid>)>(argument.value()) };
    on_change((relation != pg_sys::InvalidOid).then_some(relation));
}

/// The hash by which a root table (hash partitioned by one text column) places a value: compute_partition_hash_value
/// in partitioning/partbounds.c.
pub fn partition_hash(text: &str) -> u64 {
    use pgrx::IntoDatum;
    /// HASH_PARTITION_SEED, catalog/partition.h.
    const SEED: u64 = 0x7A5B_2236_7996_DCFD;
    /// hash_combine64(0, h), common/hashfn.h.
    const COMBINE: u64 = 0x49a0_f4dd_15e5_a8e3;
    let datum = text.into_datum().unwrap_or(pg_sys::Datum::null());
    // SAFETY: hashtextextended takes a text and a seed; text under the C collation hashes its bytes.
    let hash = unsafe {
        pg_sys::OidFunctionCall2Coll(
            Oid::from(pg_sys::F_HASHTEXTEXTENDED),
            Oid::from(pg_sys::C_COLLATION_OID),
            datum,
            pg_sys::Datum::from(SEED),
        )
    };
    (hash.value() as u64).wrapping_add(COMBINE)
}

/// A 32-bit hash of a name for [`lock_name`].
pub fn name_hash(parts: &[&[u8]]) -> u32 {
    // FNV-1a: only evenness matters, and the value must agree between backends.
    parts
        .iter()
        .flat_map(|part| part.iter().chain(&[0xff]))
        .fold(0x811c_9dc5, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
}

/// Reads what other backends said about changed relations (storage/ipc/sinval.c). Cheap when they said nothing.
pub fn accept_invalidations() {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// May rows that a snapshot sees be pruned under it (old_snapshot_threshold, until PostgreSQL 16)? Then only the executor's
/// own scans, which look for it at every page, are to be used.
pub fn snapshots_expire() -> bool {
    super::compat::snapshots_expire()
}
