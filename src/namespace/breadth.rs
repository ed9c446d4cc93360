//! How many namespaces one transaction can touch at once: PostgreSQL locks every table and index a statement opens, in a lock table of fixed size that
//! all sessions share. A statement on 100,000 leaves would fill it, and others would fail for want of room.
//!
//! What is sure to take more than half of it is refused before it does: statements on a root whose namespaces are not named, DDL on the whole of it, and the
//! removal of an index, which goes in batches instead.
#![forbid(unsafe_code)]

use super::catalog::{self, Index, IndexRow};
use super::locks::lock_index;
use super::{check_may_delete, partition};
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::lock_table;
use crate::pg::relation::{self, Oid};
use crate::pg::report::OrReport;
use crate::pg::utility::{self, Whole};
use crate::pg::{drop_locks, generic_plan, hook, stop_point};
use crate::stop_point::StopPoint;

/// Of a leaf in a plan: the table and its two indexes.
const LOCKS_PLANNED: usize = 3;

/// Of a leaf that is dropped: these, a TOAST table with its index, and the namespace's name.
const LOCKS_DROPPED: usize = 6;

/// Of a bucket that is dropped: the table and its two indexes.
const LOCKS_OF_BUCKET: usize = 3;

/// Leaves dropped together at most: more at once are no faster.
const MOST_DROPPED: usize = 500;

/// Called once when the library is loaded.
pub fn init() {
    hook::install_watch(|relation, planned, check_rights| {
        check_planned(relation, planned, check_rights).or_report();
    });
    generic_plan::prevent(is_too_broad, "conifer.refuse_generic_plan()");
    utility::install_watch(|table, whole| check_whole(table, whole).or_report());
}

/// Is it a root with more namespaces than one statement is planned for?
fn is_too_broad(table: Oid) -> bool {
    let most = most_planned();
    matches!(catalog::find_root(table), Ok(Some(_)))
        && matches!(count_leaves(table, most), Ok(leaves) if leaves > most)
}

/// Namespaces of a root, counted no further than one more than `most`.
fn count_leaves(root: Oid, most: usize) -> Result<usize, Error> {
    let mut leaves = 0;
    catalog::each_namespace(root, "", None, |_| {
        leaves += 1;
        leaves <= most
    })?;
    Ok(leaves)
}

/// Is called for every table that a utility statement names and locks with all its partitions, whoever's it is and in any database.
fn check_whole(table: Oid, whole: Whole) -> Result<(), Error> {
    let Ok(Some(IndexRow { index, .. })) = catalog::find_root(table) else {
        return Ok(());
    };
    // How many there are is for the owner to know; whoever has no rights on the root is refused by PostgreSQL before anything is locked.
    let is_owner = access::owns(index.root);
    if whole == Whole::Dropped {
        return if is_owner {
            check_droppable(&index)
        } else {
            Ok(())
        };
    }
    let has = |privilege| access::has_privileges(index.root, &[privilege]);
    if !is_owner && !Privilege::ALL.into_iter().any(has) {
        return Ok(());
    }
    let leaves = count_leaves(index.root, usize::MAX)?;
    let most = most_planned();
    if leaves <= most {
        return Ok(());
    }
    if !is_owner {
        return Err(Error::StatementTooBroad { most });
    }
    Err(Error::DdlTooBroad {
        name: index.name,
        namespaces: leaves,
        locks: lock_table::per_transaction(2 * LOCKS_PLANNED * leaves),
    })
}

/// A plan for any namespace was executed, as plan_cache_mode asks.
pub fn refuse_generic_plan() -> Error {
    Error::StatementTooBroad {
        most: most_planned(),
    }
}

/// Relations of a statement that are surely within the budget.
fn most_planned() -> usize {
    budget() / LOCKS_PLANNED
}

/// So many locks one transaction may take.
fn budget() -> usize {
    lock_table::capacity() / 2
}

/// Is called for every relation that a statement is planned for, with the number of those before it.
fn check_planned(relation: Oid, planned: usize, check_rights: &dyn Fn()) -> Result<(), Error> {
    let most = most_planned();
    if planned <= most || !relation::is_in_schema(relation, partition::DATA_SCHEMA) {
        return Ok(());
    }
    // Whoever has none is told nothing.
    check_rights();
    Err(Error::StatementTooBroad { most })
}

/// Refuses to drop an index whose leaves do not fit the budget.
pub fn check_droppable(index: &Index) -> Result<(), Error> {
    let leaves = count_leaves(index.root, usize::MAX)?;
    let buckets = catalog::buckets_of(index.root)?.len();
    // The buckets alone are always tried.
    if leaves > 0 && leaves * LOCKS_DROPPED + buckets * LOCKS_OF_BUCKET > budget() {
        return Err(Error::IndexTooBroad {
            name: index.name.clone(),
            namespaces: leaves,
        });
    }
    Ok(())
}

/// Drops up to `most` namespaces of an index that is to be deleted, and answers how many; 0 when all are gone. Owners only.
pub fn drop_some(name: &str, most: Option<usize>) -> Result<usize, Error> {
    lock_index(name)?;
    let index = check_may_delete(name)?.index;
    let most = most
        .unwrap_or(MOST_DROPPED)
        .min((budget() / LOCKS_DROPPED).max(1));
    let mut rows = Vec::new();
    catalog::each_namespace(index.root, "", None, |row| {
        rows.push(row);
        rows.len() < most
    })?;
    // Not the names: who makes one of them anew meanwhile finds it there, and waits for its table.
    let buckets = rows.iter().filter_map(|row| relation::parent(row.leaf));
    let mut buckets: Vec<Oid> = buckets.collect();
    buckets.sort_unstable_by_key(|bucket| bucket.to_u32());
    drop_locks::lock_all_for_drop([index.root]);
    drop_locks::lock_all_for_drop(buckets);
    drop_locks::lock_all_for_drop(rows.iter().map(|row| row.leaf));
    let leaves = rows.iter().map(|row| row.leaf);
    let leaves: Vec<Oid> = leaves
        .filter(|leaf| partition::is_part(&index, *leaf))
        .collect();
    partition::drop_tables(&index, &leaves)?;
    for row in &rows {
        // The event trigger has removed the row with the table, unless it was gone before.
        if let Some(row) = catalog::find_namespace(index.root, &row.name)? {
            catalog::delete_namespace(&row)?;
        }
    }
    stop_point::after(StopPoint::BatchForgotten);
    Ok(rows.len())
}
