//! What was done in a namespace and what it takes, by PostgreSQL's own cumulative statistics of its leaf: they cost a query next to nothing, survive a
//! restart (not a crash), and are kept on a standby for what is read there.
//!
//! A reset is a row with the counts of that moment, which are taken off from then on: resetting PostgreSQL's statistics themselves would
//! hide from autovacuum what there is to do.
#![forbid(unsafe_code)]

use super::catalog::{self, Index, NamespaceRow};
use super::limits::{self, Limits};
use super::{denied, read};
use crate::error::Error;
use crate::pg::relation::{self, LockMode};
use crate::pg::statistics::{Activity, activity};
use crate::pg::uncached::UncachedTable;
use crate::pg::{access, extension};

/// Bytes of a unit of reading.
const READ_UNIT: f64 = 1e9;
/// A query reads no less than this many units.
const LEAST_READ: f64 = 0.25;
/// Records fetched for a unit of reading.
const FETCHED_FOR_UNIT: f64 = 10.0;
/// Bytes of a unit of writing; a record counts as no less.
const WRITE_UNIT: f64 = 1024.0;

/// What a namespace did since its counts began, and what it takes now.
#[derive(Clone, Debug)]
pub struct Account {
    pub activity: Activity,
    pub size: read::Usage,
    /// What it may hold.
    pub limits: Limits,
    /// The counts' beginning, microseconds since 2000-01-01 UTC, if they were reset.
    pub since: Option<i64>,
}

impl Account {
    /// One for each GB the namespace takes now, at least a quarter, for each query; one for ten records fetched.
    pub fn read_units(&self) -> f64 {
        self.activity.scans as f64 * query_units(self.size.bytes)
            + self.activity.fetched as f64 / FETCHED_FOR_UNIT
    }

    /// One for each KB written or deleted, a record counting as large as those there now are on average and at least one KB; what was replaced counts too.
    pub fn write_units(&self) -> f64 {
        let Activity {
            inserted,
            updated,
            deleted,
            ..
        } = self.activity;
        let record = self.size.table_bytes as f64 / (self.size.records.max(1) as f64);
        (inserted + 2 * updated + deleted) as f64 * (record / WRITE_UNIT).max(1.0)
    }
}

/// What a query of a namespace of so many bytes reads.
pub fn query_units(bytes: u64) -> f64 {
    (bytes as f64 / READ_UNIT).max(LEAST_READ)
}

/// A namespace's account; None if it is gone.
pub fn account(index: &Index, row: &NamespaceRow) -> Result<Option<Account>, Error> {
    let Some(size) = read::usage(index, row)? else {
        return Ok(None);
    };
    let (activity, since) = match catalog::find_reset(row.leaf)? {
        Some((before, at)) => (since_reset(current(row), before), Some(at)),
        None => (current(row), None),
    };
    Ok(Some(Account {
        activity,
        size,
        limits: limits::of(index, &row.name)?,
        since,
    }))
}

/// Prepares for resets in this transaction: of all at once, lest each of 100,000 namespaces take a lock. Owners of the index only.
pub fn begin_reset(index: &Index) -> Result<(), Error> {
    if !access::owns(index.root) {
        return Err(denied(index));
    }
    let table = relation::lookup(extension::CATALOG_SCHEMA, catalog::RESETS)?;
    relation::lock(table, LockMode::ShareUpdateExclusive);
    Ok(())
}

/// Begins a namespace's counts anew.
pub fn reset(row: &NamespaceRow) -> Result<(), Error> {
    catalog::set_reset(row.leaf, current(row))
}

/// Scans of the table and of its vector indexes, rows fetched and written.
fn current(row: &NamespaceRow) -> Activity {
    let table = activity(row.leaf);
    let Some(leaf) = UncachedTable::lock(row.leaf) else {
        return table;
    };
    let mut all = table;
    for (index, is_vector) in leaf.indexes() {
        let of_index = activity(index);
        if is_vector {
            all.scans += of_index.scans;
        }
        all.last_scan = all.last_scan.max(of_index.last_scan);
    }
    all
}

/// What came after a reset. Counts below those of then have begun anew by themselves.
fn since_reset(now: Activity, then: Activity) -> Activity {
    let pairs = [
        (now.scans, then.scans),
        (now.fetched, then.fetched),
        (now.inserted, then.inserted),
        (now.updated, then.updated),
        (now.deleted, then.deleted),
    ];
    if pairs.iter().any(|(now, then)| now < then) {
        return now;
    }
    Activity {
        scans: now.scans - then.scans,
        fetched: now.fetched - then.fetched,
        inserted: now.inserted - then.inserted,
        updated: now.updated - then.updated,
        deleted: now.deleted - then.deleted,
        last_scan: now.last_scan,
    }
}
