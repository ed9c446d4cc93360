//! Limits on what namespaces may hold, set by the owner of the index for one namespace or for all that have none of their own, and enforced by the functions
//! that write.
//!
//! Records are counted after they were written, those that transactions under way have inserted included: of two that write at once at least the one that
//! counts later sees the other's records, so that the limit holds whichever of them commit, and nobody waits. They are counted only when the call has
//! inserted some, and when the pages are enough to hold more than the limit.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::locks::{lock_namespace, lock_root};
use super::{cache, denied};
use crate::error::Error;
use crate::pg::access;
use crate::pg::heap;
use crate::pg::leaf;
use crate::pg::relation::{self, LockMode, Oid, Relation};

/// The catalog's name for all namespaces of an index; none has it.
pub const ALL_NAMESPACES: &str = "";

/// What a namespace may hold; None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub records: Option<i64>,
    /// On disk: the leaf, its indexes and its TOAST table.
    pub bytes: Option<i64>,
}

/// Sets the limits of a namespace, whether it is there or not, or of [`ALL_NAMESPACES`] that have none of their own. Owners of the index only.
pub fn set(index: &Index, namespace: &str, limits: Limits) -> Result<(), Error> {
    if !access::owns(index.root) {
        return Err(denied(index));
    }
    lock_root(index)?; // or the row would outlive an index that is dropped meanwhile
    lock_namespace(index, namespace)?;
    catalog::set_limits(index.root, namespace, limits)?;
    // Every backend reads them anew.
    let leaf = catalog::find_namespace(index.root, namespace)?.map(|row| row.leaf);
    relation::announce_change(leaf.unwrap_or(index.root));
    Ok(())
}

/// The limits a namespace has of its own, and where it has none, those of its index.
pub fn of(index: &Index, namespace: &str) -> Result<Limits, Error> {
    if let Some(limits) = cache::limits(index.root, namespace) {
        return Ok(limits);
    }
    let own = catalog::find_limits(index.root, namespace)?;
    let general = catalog::find_limits(index.root, ALL_NAMESPACES)?;
    let limits = Limits {
        records: own.records.or(general.records),
        bytes: own.bytes.or(general.bytes),
    };
    cache::remember_limits(index.root, namespace, limits);
    Ok(limits)
}

/// What was written.
pub struct Written {
    pub records: u64,
    /// There may be new ones among them.
    pub inserted: bool,
}

/// Writes to a namespace that is there and on whose leaf the caller holds a lock, and refuses what is more than its limits allow. Answers how many records
/// were written.
pub fn within(
    index: &Index,
    namespace: &str,
    write: impl FnOnce() -> Result<Written, Error>,
) -> Result<u64, Error> {
    let guard = guard(index, namespace)?;
    let written = write()?;
    if let Some(guard) = guard {
        guard.check(written.inserted)?;
    }
    Ok(written.records)
}

/// The same for what inserts no records.
pub fn within_bytes(
    index: &Index,
    namespace: &str,
    write: impl FnOnce() -> Result<u64, Error>,
) -> Result<u64, Error> {
    within(index, namespace, || {
        Ok(Written {
            records: write()?,
            inserted: false,
        })
    })
}

/// What a write to a namespace has to keep to.
struct Guard<'a> {
    index: &'a Index,
    namespace: &'a str,
    limits: Limits,
    leaf: Oid,
    /// Before the write.
    bytes: u64,
}

/// Looks what is there before a write; None if there are no limits.
fn guard<'a>(index: &'a Index, namespace: &'a str) -> Result<Option<Guard<'a>>, Error> {
    let limits = of(index, namespace)?;
    if limits == Limits::default() {
        return Ok(None);
    }
    let Some(row) = catalog::find_namespace(index.root, namespace)? else {
        return Ok(None);
    };
    let mut guard = Guard {
        index,
        namespace,
        limits,
        leaf: row.leaf,
        bytes: 0,
    };
    if limits.bytes.is_some()
        && let Some(relation) = guard.open()
    {
        guard.bytes = relation.total_bytes();
    }
    Ok(Some(guard))
}

/// Refuses a namespace made in this transaction if it holds more than it may.
pub fn check_new(index: &Index, namespace: &str) -> Result<(), Error> {
    match guard(index, namespace)? {
        Some(guard) => Guard { bytes: 0, ..guard }.check(true),
        None => Ok(()),
    }
}

/// What a namespace may hold goes with it, when its index's owner deletes it.
pub fn forget(index: &Index, namespace: &str) -> Result<(), Error> {
    if access::owns(index.root) {
        catalog::set_limits(index.root, namespace, Limits::default())?;
    }
    Ok(())
}

impl Guard<'_> {
    fn open(&self) -> Option<Relation> {
        Relation::try_open(self.leaf, LockMode::AccessShare)
    }

    /// Refuses what was written since, if it is more than the limits allow. `inserted`: new records were among it. A namespace over its limit of bytes that
    /// reuses the space it has is left alone.
    fn check(&self, inserted: bool) -> Result<(), Error> {
        let Some(relation) = self.open() else {
            return Ok(());
        };
        if let Some(most) = self.limits.bytes {
            let bytes = relation.total_bytes();
            if bytes > most as u64 && bytes > self.bytes {
                return Err(self.exceeded("bytes", most, bytes));
            }
        }
        if let Some(most) = self.limits.records
            && inserted
            && leaf::most_records(&relation, self.index.dimension) > most as u64
        {
            let records = heap::count_with_pending(&relation);
            if records > most as u64 {
                return Err(self.exceeded("records", most, records));
            }
        }
        Ok(())
    }

    fn exceeded(&self, what: &'static str, limit: i64, actual: u64) -> Error {
        Error::LimitExceeded {
            namespace: self.namespace.into(),
            what,
            limit,
            actual,
        }
    }
}
