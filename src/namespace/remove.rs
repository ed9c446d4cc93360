//! Removal of a namespace: whole, by dropping its table, or its records alone.
#![forbid(unsafe_code)]

use super::catalog::{self, Index, NamespaceRow};
use super::locks::lock_namespace;
use super::{denied, is_free, may, partition, sql};
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::leaf;
use crate::pg::relation::{self, LockMode, Relation};
use crate::pg::{drop_locks, heap, transaction};

/// What dropping a namespace did.
pub enum Dropped {
    /// There was none.
    Missing,
    /// It is gone; so many records went with it, if they were to be counted.
    Records(u64),
}

/// Pages up to which the records of a dropped namespace are counted one by one: 8 MB.
const COUNTED_PAGES: u32 = 1024;

/// Drops a namespace: its leaf goes whole, in a time that does not depend on its size. Needs DELETE on the root, or on
/// the leaf, and no row security in between; or to own the index. Rights come before the lock: without them nobody is made to wait.
pub fn drop_namespace(index: &Index, namespace: &str) -> Result<Dropped, Error> {
    remove_all(index, namespace, false)
}

/// Deletes all records of a namespace as fast as that; it is gone then, unless somebody was granted rights on it, who could not make it again.
pub fn delete_all(index: &Index, namespace: &str) -> Result<Dropped, Error> {
    remove_all(index, namespace, true)
}

fn remove_all(index: &Index, namespace: &str, keeps_rights: bool) -> Result<Dropped, Error> {
    check_may_drop(index, catalog::find_namespace(index.root, namespace)?)?;
    lock_namespace(index, namespace)?;
    let row = catalog::find_namespace(index.root, namespace)?;
    let Some(row) = check_may_drop(index, row)? else {
        return Ok(Dropped::Missing);
    };
    let mut records = 0;
    // A table that was detached is no namespace's, before as after others let go of it.
    if is_free(index, namespace)? {
        return Ok(Dropped::Missing);
    }
    drop_locks::lock_for_drop(row.leaf);
    if is_free(index, namespace)? {
        return Ok(Dropped::Missing);
    }
    if let Some(relation) = Relation::try_open(row.leaf, LockMode::AccessExclusive) {
        let snapshot = transaction::WriteSnapshot::push();
        if leaf::is_leaf(&relation) {
            records = heap::estimate_count(&relation, snapshot.get(), COUNTED_PAGES);
        }
    }
    if keeps_rights && access::has_own_rights(row.leaf) {
        // Whoever was granted TRIGGER on the leaf may have put code there that is not to run with its owner's rights.
        if relation::has_triggers_or_rules(row.leaf) {
            return sql::empty_leaf(index, row.leaf).map(Dropped::Records);
        }
        partition::truncate_leaf(index, row.leaf)?;
        return Ok(Dropped::Records(records));
    }
    partition::drop_leaf(index, row.leaf)?;
    // The event trigger has removed the row with the table, unless event triggers are off.
    if let Some(row) = catalog::find_namespace(index.root, namespace)? {
        catalog::delete_namespace(&row)?;
    }
    Ok(Dropped::Records(records))
}

pub fn check_may_drop(
    index: &Index,
    row: Option<NamespaceRow>,
) -> Result<Option<NamespaceRow>, Error> {
    let leaf = row.as_ref().map(|row| row.leaf);
    if access::owns(index.root) || may(index, leaf, &[Privilege::Delete]) {
        Ok(row)
    } else {
        Err(denied(index))
    }
}
