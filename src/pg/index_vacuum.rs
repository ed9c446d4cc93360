//! What PostgreSQL tells an index of a VACUUM, and what the index answers.

use super::relation::{LockMode, Relation};
use pgrx::pg_sys;

/// A VACUUM's visit to one index.
pub struct IndexVacuum {
    pub index: Relation,
    stats: *mut pg_sys::IndexBulkDeleteResult,
}

impl IndexVacuum {
    /// # Safety
    /// The arguments are those of `ambulkdelete` or `amvacuumcleanup`, during its call; `stats` is null or what an earlier
    /// call of the same VACUUM answered.
    pub(super) unsafe fn new(
        info: *mut pg_sys::IndexVacuumInfo,
        stats: *mut pg_sys::IndexBulkDeleteResult,
    ) -> IndexVacuum {
        // SAFETY: by the caller's promise; the result is palloc'd as PostgreSQL asks.
        unsafe {
            let stats = if stats.is_null() {
                pg_sys::palloc0(size_of::<pg_sys::IndexBulkDeleteResult>()).cast()
            } else {
                stats
            };
            IndexVacuum {
                index: Relation::borrowed((*info).index),
                stats,
            }
        }
    }

    pub(super) fn into_stats(self) -> *mut pg_sys::IndexBulkDeleteResult {
        self.stats
    }

    /// The index's table, which VACUUM has locked. None if this is not a VACUUM's call after all.
    pub fn heap(&self) -> Option<Relation> {
        Relation::try_open(self.index.table_of_index(), LockMode::AccessShare)
            .map(|heap| heap.unlock_on_drop(LockMode::AccessShare))
    }

    /// Notes that entries were removed and how many are left.
    pub fn note_removal(&mut self, removed: u64, left: u64) {
        // SAFETY: made or taken over by `new`.
        let stats = unsafe { &mut *self.stats };
        stats.tuples_removed += removed as f64;
        stats.num_index_tuples = left as f64;
        stats.estimated_count = false;
    }

    /// Notes the state of the index at the end: entries, whether they were counted, pages freed now and free in all.
    pub fn note_end(&mut self, entries: u64, counted: bool, freed: u64, free: u64) {
        let pages = self.index.blocks();
        // SAFETY: as above.
        let stats = unsafe { &mut *self.stats };
        stats.num_pages = pages;
        stats.num_index_tuples = entries as f64;
        stats.estimated_count = !counted;
        stats.pages_newly_deleted += u32::try_from(freed).unwrap_or(u32::MAX);
        stats.pages_free = u32::try_from(free).unwrap_or(u32::MAX);
        // SAFETY: the index is open.
        unsafe { pg_sys::IndexFreeSpaceMapVacuum(self.index.raw()) };
    }
}
