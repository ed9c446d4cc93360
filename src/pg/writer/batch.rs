//! Many new records at once, at the price of COPY: pages filled and logged whole (heap_multi_insert).
//!
//! A speculative insertion logs three records a row, so that a concurrent insert of the same id can be met halfway. It
//! cannot happen while no other writer is at work in the leaf, which a lock tells: ShareRowExclusive, asked for without
//! waiting, is had only if no other transaction holds RowExclusive, that is, has written here and not yet ended. It is
//! given back as soon as the index entries are in; from then on others find them and wait for this transaction's end,
//! as with any unique index.
//!
//! Two batches that share ids do not deadlock if each takes what it waits for in the order of ids. So no record may be in
//! before one with a lesser id that is yet to be waited for: those that are there already are replaced under the lock too,
//! up to the last new one. A row may be held all the same, by SELECT FOR UPDATE; no lock is held over a wait, and the rest
//! of the batch, from that record on, is written one by one when the lock is gone.

use super::slot::{clear_slot, per_tuple_context};
use super::{NewRecord, Patience, Writer, table_am};
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
    /// Inserts or replaces records of different ids, given in the order of ids.
    pub fn upsert_all(
        &mut self,
        namespace: &str,
        id_index: Oid,
        records: &[NewRecord<'_>],
    ) -> Result<(), Error> {
        let mut written = 0;
        if records.len() >= MIN_BATCH && self.lock_out_writers() {
            written = self.upsert_first(namespace, id_index, records)?;
            self.let_writers_in();
        }
        let rest = &records[written..];
        rest.iter().try_for_each(|record| self.upsert(*record))
    }

    /// Writes the first of the records, while nobody else writes: up to the last new one, or the first that is held. Answers how many.
    fn upsert_first(
        &mut self,
        namespace: &str,
        id_index: Oid,
        records: &[NewRecord<'_>],
    ) -> Result<usize, Error> {
        let is_new = self.tell_new(namespace, id_index, records);
        if is_new.iter().filter(|&&new| new).count() < MIN_BATCH {
            return Ok(0);
        }
        let mut end = 1 + is_new.iter().rposition(|&new| new).unwrap_or_default();
        for at in (0..end).filter(|&at| !is_new[at]) {
            if !self.upsert_with(records[at], Patience::Skip)? {
                end = at;
                break;
            }
        }
        let new = records[..end].iter().zip(&is_new).filter(|(_, new)| **new);
        self.append(&new.map(|(record, _)| *record).collect::<Vec<_>>());
        Ok(end)
    }

    /// Of each record, whether its id is not in the leaf.
    fn tell_new(&self, namespace: &str, id_index: Oid, records: &[NewRecord<'_>]) -> Vec<bool> {
        if self.relation.blocks() == 0 {
            return vec![true; records.len()];
        }
        // What is committed or our own, whatever the transaction's snapshot sees.
        let mut probe = Probe::open(self.relation, namespace, id_index, Snapshot::current());
        let is_new = |record: &NewRecord<'_>| {
            pgrx::check_for_interrupts!();
            probe.find(record.id, |_, _| ()).is_none()
        };
        let is_new = records.iter().map(is_new).collect();
        probe.finish();
        is_new
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
