//! PostgreSQL's cumulative statistics of relations (utils/activity/pgstat_relation.c): counting in them and reading them.

use super::compat;
use super::relation::{Oid, Relation};
use pgrx::pg_sys;

/// Counts a scan of a table or an index.
pub fn count_scan(relation: &Relation) {
    with_counts(relation, |counts| *compat::scans(counts) += 1);
}

/// Scans of a table that this backend has yet to report.
pub fn pending_scans(table: &Relation) -> i64 {
    with_counts(table, |counts| *compat::scans(counts)).unwrap_or(0)
}

/// Takes off the scans that index builds have added since there were so many.
pub fn take_off_scans(table: &Relation, pending: i64) {
    with_counts(table, |counts| *compat::scans(counts) = pending);
}

/// Counts rows of a table that were fetched by their places.
pub fn count_fetched(table: &Relation, rows: usize) {
    with_counts(table, |counts| {
        *compat::fetched(counts) += rows as pg_sys::PgStat_Counter;
    });
}

/// Does something with this backend's counts, to be reported later; None if none are kept (pgstat_should_count_relation in pgstat.h).
fn with_counts<T>(
    relation: &Relation,
    work: impl FnOnce(&mut pg_sys::PgStat_TableStatus) -> T,
) -> Option<T> {
    // SAFETY: the relation is open; its statistics stay where they are as long as it is, and nobody else looks at them meanwhile.
    unsafe {
        let raw = relation.raw();
        if (*raw).pgstat_info.is_null() && (*raw).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(raw);
        }
        (*raw).pgstat_info.as_mut().map(work)
    }
}

/// What was reported of a relation since its statistics began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub scans: i64,
    pub fetched: i64,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
    /// Of the last scan, microseconds since 2000-01-01 UTC. Since PostgreSQL 16.
    pub last_scan: Option<i64>,
}

/// The statistics of a relation, all zero if there are none.
pub fn activity(relation: Oid) -> Activity {
    // SAFETY: takes any OID; the entry is in memory of the statistics' snapshot, which stays until the transaction ends.
    let entry = unsafe { pg_sys::pgstat_fetch_stat_tabentry(relation).as_ref() };
    entry.map_or_else(Activity::default, |entry| Activity {
        scans: entry.numscans,
        fetched: entry.tuples_fetched,
        inserted: entry.tuples_inserted,
        updated: entry.tuples_updated,
        deleted: entry.tuples_deleted,
        last_scan: compat::last_scan(entry),
    })
}
