//! Many new records at once, at the price of COPY: pages filled and logged whole (heap_multi_insert).
//!
//! A speculative insertion logs three records a row, so that a concurrent insert of the same id can be met halfway. It
//! cannot happen while no other writer is at work in the leaf, which a lock tells: ShareRowExclusive, asked for without
//! waiting, is had only if no other transaction holds RowExclusive, that is, has written here and not yet ended. It is
//! given back as soon as the index entries are in; from then on others find them and wait for this transaction's end,
//! as with any unique index. Ids that are there already are left to [`Writer::upsert`] when the lock is gone: replacing
//! may wait for a row, and no lock is held over a wait.

use super::slot::{clear_slot, per_tuple_context};
use super::{NewRecord, Writer, table_am};
use crate::error::Error;
use crate::pg::compat;
use crate::pg::heap::Snapshot;
use crate::pg::probe::Probe;
use crate::pg::relation::Oid;
use pgrx::pg_sys;

/// Fewer records are not worth the lock.
const MIN_BATCH: usize = 8;

/// Rows formed before they are put on pages together: PostgreSQL adds as many pages to the file as they need, and from the third such step on twice as many, in
/// vain for a small namespace. 200 KB at 384 dimensions.
const SLOTS: usize = 128;

impl Writer<'_> {
    /// Inserts or replaces records of different ids.
    pub fn upsert_all(
        &mut self,
        namespace: &str,
        id_index: Oid,
        records: &[NewRecord<'_>],
    ) -> Result<(), Error> {
        if records.len() < MIN_BATCH || !self.lock_out_writers() {
            return records.iter().try_for_each(|record| self.upsert(*record));
        }
        let (new, old) = self.partition(namespace, id_index, records)?;
        self.append(&new);
        self.let_writers_in();
        old.into_iter().try_for_each(|record| self.upsert(record))
    }

    /// Records whose ids are not in the leaf, and the others.
    fn partition<'n>(
        &self,
        namespace: &str,
        id_index: Oid,
        records: &[NewRecord<'n>],
    ) -> Result<(Vec<NewRecord<'n>>, Vec<NewRecord<'n>>), Error> {
        if self.relation.blocks() == 0 {
            return Ok((records.to_vec(), Vec::new()));
        }
        // What is committed or our own, whatever the transaction's snapshot sees.
        let mut probe = Probe::open(self.relation, namespace, id_index, Snapshot::current());
        let parts = records.iter().partition(|record| {
            pgrx::check_for_interrupts!();
            probe.find(record.id, |_, _| ()).is_none()
        });
        probe.finish();
        Ok(parts)
    }

    /// Inserts records whose ids are known not to be there; nobody else writes meanwhile.
    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    pub fn append(&mut self, records: &[NewRecord<'_>]) {
        self.inserted += records.len() as u64;
        // SAFETY: slots of this relation, dropped below; the access method has all callbacks; every row of a chunk stays
        // in the per-tuple context until its index entries are made.
        unsafe {
            let mut slots: Vec<_> = (0..SLOTS.min(records.len()))
                .map(|_| pg_sys::table_slot_create(self.relation.raw(), std::ptr::null_mut()))
                .collect();
            if self.bulk.is_null() {
                self.bulk = pg_sys::GetBulkInsertState();
            }
            let row_memory = (*per_tuple_context(self.estate)).ecxt_per_tuple_memory;
            let insert = table_am(self.relation)
                .multi_insert
                .expect("multi_insert is set");
            for chunk in records.chunks(SLOTS) {
                pgrx::check_for_interrupts!();
                for (slot, record) in slots.iter().zip(chunk) {
                    self.fill(*slot, *record);
                }
                let (relation, command, bulk) = (self.relation.raw(), self.command, self.bulk);
                let (rows, count) = (slots.as_mut_ptr(), chunk.len() as i32);
                // It allocates in the current context and frees little.
                let previous = pg_sys::MemoryContextSwitchTo(row_memory);
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    insert(relation, rows, count, command, 0, bulk)
                });
                pg_sys::MemoryContextSwitchTo(previous);
                for slot in &slots[..chunk.len()] {
                    compat::insert_index_tuples(
                        self.result_relation,
                        *slot,
                        self.estate,
                        0,
                        None,
                        std::ptr::null_mut(),
                    );
                    clear_slot(*slot);
                }
                self.reset_row();
            }
            for slot in slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
        }
    }

    fn lock_out_writers(&self) -> bool {
        let mode = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the relation is open; the call does not wait.
        unsafe { pg_sys::ConditionalLockRelation(self.relation.raw(), mode) }
    }

    fn let_writers_in(&self) {
        let mode = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: locked by `lock_out_writers`; the RowExclusive lock stays until the transaction ends.
        unsafe { pg_sys::UnlockRelation(self.relation.raw(), mode) };
    }
}
