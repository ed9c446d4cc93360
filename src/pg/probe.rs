//! Rows of a leaf by its unique (namespace, id) index: one by id, or many in the order of ids.

use super::compat;
use super::heap::{Snapshot, Tid};
use super::leaf::{ID, NAMESPACE};
use super::relation::{LockMode, Oid, Relation};
use crate::error::Error;
use pgrx::{IntoDatum, pg_sys};

/// An open scan of the (namespace, id) index. Close it with [`Probe::finish`].
pub struct Probe<'r> {
    scan: pg_sys::IndexScanDesc,
    index: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    namespace: pg_sys::Datum,
    relation: &'r Relation,
}

impl<'r> Probe<'r> {
    /// Opens the index `id_index` of `relation` for rows that `snapshot` sees.
    pub fn open(
        relation: &'r Relation,
        namespace: &str,
        id_index: Oid,
        snapshot: Snapshot<'r>,
    ) -> Probe<'r> {
        // SAFETY: the relation is open and locked; the index is its own; the snapshot is active for the call's life.
        unsafe {
            let index = pg_sys::index_open(id_index, LockMode::AccessShare.raw());
            Probe {
                scan: compat::index_beginscan(relation.raw(), index, snapshot.raw(), 2),
                index,
                slot: pg_sys::table_slot_create(relation.raw(), std::ptr::null_mut()),
                namespace: namespace.into_datum().unwrap_or(pg_sys::Datum::null()),
                relation,
            }
        }
    }

    /// Shows the row of this id to `read`: where it lies and its bytes. None if there is none.
    pub fn find<T>(&mut self, id: &str, read: impl FnOnce(Tid, &[u8]) -> T) -> Option<T> {
        self.rescan(pg_sys::BTEqualStrategyNumber, pg_sys::F_TEXTEQ, id);
        self.next(read)
    }

    /// Shows every row from `from` on (or after it) in C order of ids, until `each` answers false or an error.
    pub fn walk(
        &mut self,
        from: &str,
        inclusive: bool,
        mut each: impl FnMut(&[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let (strategy, function) = if inclusive {
            (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_TEXT_GE)
        } else {
            (pg_sys::BTGreaterStrategyNumber, pg_sys::F_TEXT_GT)
        };
        self.rescan(strategy, function, from);
        while let Some(go_on) = self.next(|_, tuple| each(tuple)) {
            if !go_on? {
                break;
            }
            pgrx::check_for_interrupts!();
        }
        Ok(())
    }

    /// Ends the scan and closes the index.
    pub fn finish(self) {
        // SAFETY: made in `open`, used by nobody else, given up with `self`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, LockMode::AccessShare.raw());
        }
    }

    fn rescan(&mut self, strategy: u32, function: u32, id: &str) {
        let mut keys = [pg_sys::ScanKeyData::default(); 2];
        // SAFETY: the keys name index columns 1 and 2, both text in the C collation, which ScanKeyInit sets.
        unsafe {
            pg_sys::ScanKeyInit(
                &raw mut keys[0],
                NAMESPACE,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                Oid::from(pg_sys::F_TEXTEQ),
                self.namespace,
            );
            pg_sys::ScanKeyInit(
                &raw mut keys[1],
                ID,
                strategy as pg_sys::StrategyNumber,
                Oid::from(function),
                id.into_datum().unwrap_or(pg_sys::Datum::null()),
            );
            pg_sys::index_rescan(self.scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
        }
    }

    fn next<T>(&mut self, read: impl FnOnce(Tid, &[u8]) -> T) -> Option<T> {
        // SAFETY: the scan and its slot are open; the slot keeps the page of its tuple pinned.
        unsafe {
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            if !pg_sys::index_getnext_slot(self.scan, forward, self.slot) {
                return None;
            }
            let mut should_free = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &raw mut should_free);
            let tid = Tid::from_raw((*self.slot).tts_tid);
            debug_assert_eq!((*tuple).t_tableOid, self.relation.oid());
            let bytes =
                std::slice::from_raw_parts((*tuple).t_data.cast::<u8>(), (*tuple).t_len as usize);
            Some(read(tid, bytes))
        }
    }
}
