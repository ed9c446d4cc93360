//! Writes one record at a time into a leaf, below the planner: what INSERT … ON CONFLICT (namespace, id) DO UPDATE,
//! UPDATE and DELETE do (executor/nodeModifyTable.c), for a table that has no triggers and no constraints.

mod batch;
mod slot;

use super::compat;
use super::heap::{Snapshot, Tid};
use super::relation::{Oid, Relation};
use super::transaction;
use crate::error::Error;
use pgrx::{IntoDatum, pg_sys};
use slot::clear_slot;

/// A record to write; the parts as stored bytes behind the varlena header.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    pub id: &'a str,
    pub values: Option<&'a [f32]>,
    /// Payload of a jsonb value.
    pub metadata: Option<&'a [u8]>,
}

/// What became of a row that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// No such row, or a concurrent transaction removed it first.
    Missing,
    /// A concurrent transaction changed it: look again.
    Changed,
    /// A concurrent transaction holds it, and it was not to be waited for.
    Held,
}

/// Whether a row that a concurrent transaction holds is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Wait,
    Skip,
}

/// An open leaf with its indexes, for the writes of one SQL function call. Close it with [`Writer::finish`].
pub struct Writer<'r> {
    relation: &'r Relation,
    namespace: pg_sys::Datum,
    snapshot: Snapshot<'r>,
    estate: *mut pg_sys::EState,
    result_relation: *mut pg_sys::ResultRelInfo,
    arbiters: *mut pg_sys::List,
    new_slot: *mut pg_sys::TupleTableSlot,
    old_slot: *mut pg_sys::TupleTableSlot,
    /// Of a batch; NULL for single records, which shall not go through a ring of buffers.
    bulk: pg_sys::BulkInsertState,
    command: pg_sys::CommandId,
    /// Records that were not there before.
    inserted: u64,
}

impl<'r> Writer<'r> {
    /// Opens the indexes of a leaf locked in RowExclusive mode. `id_index` is its unique (namespace, id) index; without one records can be
    /// [`Writer::append`]ed only.
    pub fn open(
        relation: &'r Relation,
        namespace: &str,
        id_index: Option<Oid>,
        snapshot: Snapshot<'r>,
    ) -> Writer<'r> {
        // SAFETY: the relation is open and locked; everything made here lives in the current memory context, which
        // outlives the writer, and is taken apart in `finish` or by the transaction's abort.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            (*estate).es_snapshot = snapshot.raw();
            let result_relation =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result_relation).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            // No range table index: there is no range table, in which an update that is not HOT would look up the
            // updated columns. Without one PostgreSQL takes every index for unchanged, which they are.
            pg_sys::InitResultRelInfo(result_relation, relation.raw(), 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(result_relation, true);
            Writer {
                relation,
                namespace: namespace.into_datum().unwrap_or(pg_sys::Datum::null()),
                snapshot,
                estate,
                result_relation,
                arbiters: id_index.map_or(std::ptr::null_mut(), |oid| {
                    pg_sys::lappend_oid(std::ptr::null_mut(), oid)
                }),
                new_slot: pg_sys::table_slot_create(relation.raw(), std::ptr::null_mut()),
                old_slot: pg_sys::table_slot_create(relation.raw(), std::ptr::null_mut()),
                bulk: std::ptr::null_mut(),
                command: pg_sys::GetCurrentCommandId(true),
                inserted: 0,
            }
        }
    }

    /// How many records were inserted that replaced none.
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Closes the indexes and frees what `open` made.
    pub fn finish(self) {
        // SAFETY: made in `open`, used by nobody else, and given up with `self`.
        unsafe {
            if !self.bulk.is_null() {
                pg_sys::FreeBulkInsertState(self.bulk);
            }
            pg_sys::ExecDropSingleTupleTableSlot(self.new_slot);
            pg_sys::ExecDropSingleTupleTableSlot(self.old_slot);
            pg_sys::ExecCloseIndices(self.result_relation);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    /// Inserts the record, or replaces the one of the same id whole.
    pub fn upsert(&mut self, record: NewRecord<'_>) -> Result<(), Error> {
        self.upsert_with(record, Patience::Wait).map(drop)
    }

    /// The same; false if the one that is there is held by a concurrent transaction and was to be skipped then.
    fn upsert_with(&mut self, record: NewRecord<'_>, patience: Patience) -> Result<bool, Error> {
        loop {
            pgrx::check_for_interrupts!();
            self.fill_slot(record);
            let mut conflict = pg_sys::ItemPointerData::default();
            // SAFETY: the slot holds a whole row; the indexes were opened for speculative insertion.
            let is_new = unsafe {
                compat::check_index_constraints(
                    self.result_relation,
                    self.new_slot,
                    self.estate,
                    &raw mut conflict,
                    self.arbiters,
                )
            };
            let done = if is_new {
                let is_inserted = self.insert_speculatively();
                self.inserted += u64::from(is_inserted);
                is_inserted
            } else {
                // Not before: of each table that it is asked of PostgreSQL remembers what publishes it, and a backend may make very many.
                self.relation.check_replica_identity(true);
                match self.lock(conflict, false, patience)? {
                    Outcome::Done => {
                        self.replace_locked(conflict)?;
                        true
                    }
                    Outcome::Missing | Outcome::Changed => false,
                    Outcome::Held => {
                        self.reset_row();
                        return Ok(false);
                    }
                }
            };
            if done {
                return Ok(true);
            }
        }
    }

    /// Locks the row at `tid` in its newest version and shows its bytes to `change`, which answers the new record, or
    /// None if the newest version is no longer the record that was looked for.
    pub fn update<'n>(
        &mut self,
        tid: Tid,
        change: impl FnOnce(&[u8]) -> Result<Option<NewRecord<'n>>, Error>,
    ) -> Result<Outcome, Error> {
        let outcome = self.lock(tid.to_raw(), true, Patience::Wait)?;
        if outcome != Outcome::Done {
            return Ok(outcome);
        }
        let Some(record) = change(self.locked_row())? else {
            return Ok(Outcome::Missing);
        };
        self.fill_slot(record);
        // SAFETY: old_slot holds the locked version.
        let current = unsafe { (*self.old_slot).tts_tid };
        self.replace_locked(current)?;
        Ok(Outcome::Done)
    }

    /// Deletes the row at `tid`, or the newest version of it if `still_it` says of its bytes that it is the same record.
    pub fn delete(
        &mut self,
        tid: Tid,
        still_it: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<Outcome, Error> {
        let mut tid = tid.to_raw();
        loop {
            match self.delete_version(tid)? {
                Outcome::Changed => match self.lock(tid, true, Patience::Wait)? {
                    Outcome::Done if !still_it(self.locked_row())? => return Ok(Outcome::Missing),
                    // SAFETY: `lock` stored the newest version in old_slot.
                    Outcome::Done => tid = unsafe { (*self.old_slot).tts_tid },
                    other => return Ok(other),
                },
                other => return Ok(other),
            }
        }
    }

    /// The bytes of the row version [`Writer::lock`] has locked.
    fn locked_row(&self) -> &[u8] {
        // SAFETY: `lock` stored the version in old_slot, which keeps its page pinned until it is cleared.
        unsafe {
            let mut should_free = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.old_slot, false, &raw mut should_free);
            std::slice::from_raw_parts((*tuple).t_data.cast::<u8>(), (*tuple).t_len as usize)
        }
    }

    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn delete_version(&mut self, tid: pg_sys::ItemPointerData) -> Result<Outcome, Error> {
        let mut tid = tid;
        let mut failure = pg_sys::TM_FailureData::default();
        // SAFETY: the relation is open and locked; a table access method has all callbacks.
        let result = unsafe {
            let delete = table_am(self.relation)
                .tuple_delete
                .expect("tuple_delete is set");
            let (relation, command, snapshot) =
                (self.relation.raw(), self.command, self.snapshot.raw());
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                delete(
                    relation,
                    &raw mut tid,
                    command,
                    snapshot,
                    std::ptr::null_mut(),
                    true,
                    &raw mut failure,
                    false,
                )
            })
        };
        outcome(result)
    }

    /// Locks a row version for a change that keeps its key; with `newest`, follows updates that committed meanwhile.
    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn lock(
        &mut self,
        tid: pg_sys::ItemPointerData,
        newest: bool,
        patience: Patience,
    ) -> Result<Outcome, Error> {
        let mut tid = tid;
        let policy = match patience {
            Patience::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
            Patience::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
        };
        let mut failure = pg_sys::TM_FailureData::default();
        let flags = if newest && !transaction::has_fixed_snapshot() {
            pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION
        } else {
            0
        };
        // SAFETY: as in `delete_version`; old_slot belongs to this relation.
        let result = unsafe {
            clear_slot(self.old_slot);
            let lock = table_am(self.relation)
                .tuple_lock
                .expect("tuple_lock is set");
            let (relation, command, snapshot) =
                (self.relation.raw(), self.command, self.snapshot.raw());
            let slot = self.old_slot;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                lock(
                    relation,
                    &raw mut tid,
                    snapshot,
                    slot,
                    command,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    policy,
                    flags as u8,
                    &raw mut failure,
                )
            })
        };
        let outcome = outcome(result)?;
        if outcome == Outcome::Done && transaction::has_fixed_snapshot() && !self.sees_locked() {
            return Err(Error::ConcurrentUpdate); // as ExecCheckTIDVisible
        }
        Ok(outcome)
    }

    /// Does the snapshot see the version in old_slot, or did this transaction write it?
    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn sees_locked(&self) -> bool {
        // SAFETY: old_slot holds a tuple of this relation.
        unsafe {
            let satisfies = table_am(self.relation)
                .tuple_satisfies_snapshot
                .expect("tuple_satisfies_snapshot is set");
            let (relation, slot, snapshot) =
                (self.relation.raw(), self.old_slot, self.snapshot.raw());
            if pg_sys::ffi::pg_guard_ffi_boundary(|| satisfies(relation, slot, snapshot)) {
                return true;
            }
            let mut should_free = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &raw mut should_free);
            pg_sys::TransactionIdIsCurrentTransactionId((*(*tuple).t_data).t_choice.t_heap.t_xmin)
        }
    }

    /// Inserts new_slot unless a concurrent insert of the same id comes first; then false.
    #[expect(ffi_unwind_calls, reason = "both calls are inside a guard")]
    fn insert_speculatively(&mut self) -> bool {
        let mut conflict = false;
        // SAFETY: the order of calls is ExecInsert's: token, tuple, index entries, completion, release.
        unsafe {
            let xid = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(xid);
            let am = table_am(self.relation);
            let insert = am
                .tuple_insert_speculative
                .expect("tuple_insert_speculative is set");
            let complete = am
                .tuple_complete_speculative
                .expect("tuple_complete_speculative is set");
            let (relation, slot, command, bulk) =
                (self.relation.raw(), self.new_slot, self.command, self.bulk);
            pg_sys::ffi::pg_guard_ffi_boundary(|| insert(relation, slot, command, 0, bulk, token));
            compat::insert_index_tuples(
                self.result_relation,
                self.new_slot,
                self.estate,
                0,
                Some(&mut conflict),
                self.arbiters,
            );
            pg_sys::ffi::pg_guard_ffi_boundary(|| complete(relation, slot, token, !conflict));
            pg_sys::SpeculativeInsertionLockRelease(xid);
        }
        self.reset_row();
        !conflict
    }

    /// Replaces a row version this transaction has locked by new_slot.
    fn replace_locked(&mut self, tid: pg_sys::ItemPointerData) -> Result<(), Error> {
        let mut tid = tid;
        let mut failure = pg_sys::TM_FailureData::default();
        let mut update_indexes = 0;
        // SAFETY: the version at `tid` is locked by this transaction; new_slot holds a whole row.
        let result = unsafe {
            compat::table_tuple_update(
                self.relation.raw(),
                &raw mut tid,
                self.new_slot,
                self.command,
                self.snapshot.raw(),
                &raw mut failure,
                &mut update_indexes,
            )
        };
        if outcome(result)? != Outcome::Done {
            return Err(Error::ConcurrentUpdate);
        }
        if update_indexes != 0 {
            // SAFETY: new_slot's TID was set by the update.
            unsafe {
                compat::insert_index_tuples(
                    self.result_relation,
                    self.new_slot,
                    self.estate,
                    update_indexes,
                    None,
                    std::ptr::null_mut(),
                );
            }
        }
        self.reset_row();
        Ok(())
    }
}

/// # Safety
/// The relation must be a table.
unsafe fn table_am(relation: &Relation) -> &pg_sys::TableAmRoutine {
    // SAFETY: an open table has an access method, a static struct of its handler.
    unsafe { &*(*relation.raw()).rd_tableam }
}

fn outcome(result: pg_sys::TM_Result::Type) -> Result<Outcome, Error> {
    use pg_sys::TM_Result;
    match result {
        TM_Result::TM_Ok => Ok(Outcome::Done),
        TM_Result::TM_Updated | TM_Result::TM_Deleted if transaction::has_fixed_snapshot() => {
            Err(Error::ConcurrentUpdate)
        }
        TM_Result::TM_Updated => Ok(Outcome::Changed),
        TM_Result::TM_Deleted | TM_Result::TM_SelfModified => Ok(Outcome::Missing),
        TM_Result::TM_WouldBlock => Ok(Outcome::Held),
        _ => Err(Error::Corrupted {
            what: format!("a row cannot be written twice by one command (result {result})"),
        }),
    }
}
