//! Indexes and namespaces: from a name to the open leaf that holds a tenant's records.
//!
//! A leaf is reached by its OID from the extension's catalog, never through its parents: the price does not depend on
//! how many there are. Records are read and written directly where that is the same as what SQL would do; where row
//! security, triggers, constraints or rights on single columns play a part, through SQL on the root ([`sql`]).
#![forbid(unsafe_code)]

pub mod breadth;
mod bucket;
pub mod by_filter;
mod cache;
mod candidate;
pub mod catalog;
pub mod copy;
mod find;
pub mod limits;
mod locks;
mod partition;
pub mod pin;
pub mod read;
pub mod record;
mod remove;
pub mod rename;
pub mod rights;
pub mod search;
mod shared_search;
pub mod sql;
mod tally;
pub mod usage;
pub mod write;

use crate::am;
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::leaf::{self, COLUMNS};
use crate::pg::relation::{self, LockMode, Oid, Relation};
use crate::pg::{transaction, uncached};
use crate::storage;
use cache::LeafEntry;
use catalog::{Index, IndexRow, NamespaceRow};
use locks::{lock_index, lock_namespace, lock_root};
pub use remove::{Dropped, delete_all, drop_namespace};
use std::rc::Rc;

/// Called once when the library is loaded.
pub fn init() {
    breadth::init();
    shared_search::init();
    transaction::on_relation_change(|relation| {
        cache::forget(relation);
        storage::forget(relation);
        am::teller::forget(relation);
    });
}

/// The index of that name, or the error that says there is none.
pub fn index(name: &str) -> Result<Rc<Index>, Error> {
    transaction::accept_invalidations();
    match cache::index(name) {
        Some(index) => Ok(index),
        None => Ok(cache::remember_index(index_row(name)?.index)),
    }
}

/// The index's whole catalog row.
pub fn index_row(name: &str) -> Result<IndexRow, Error> {
    catalog::find_index(name)?.ok_or_else(|| Error::UnknownIndex { name: name.into() })
}

/// A namespace's open leaf, whatever has been made of it.
struct OpenLeaf {
    relation: Relation,
    /// Its unique (namespace, id) index, if it is as leaves are made.
    id_index: Option<Oid>,
    vector_index: Option<Oid>,
}

/// A namespace's open leaf as leaves are made: to be read and written directly.
pub struct Leaf {
    pub relation: Relation,
    pub id_index: Oid,
    /// Its vector index of the index's metric, if it has one.
    pub vector_index: Option<Oid>,
}

/// Opens the leaf of a namespace (canonical name); None if there is no such namespace.
fn open_leaf(index: &Index, namespace: &str, lock: LockMode) -> Result<Option<OpenLeaf>, Error> {
    loop {
        let entry = match cache::leaf(index.root, namespace) {
            Some(entry) => entry,
            None => match catalog::find_namespace(index.root, namespace)? {
                Some(row) => LeafEntry {
                    leaf: row.leaf,
                    id_index: None,
                    vector_index: None,
                    limits: None,
                },
                None => return Ok(None),
            },
        };
        // Waits for a concurrent drop; then the table is gone, and the catalog must be asked again.
        let Some(relation) = Relation::try_open(entry.leaf, lock) else {
            cache::forget(Some(entry.leaf));
            let row = catalog::find_namespace(index.root, namespace)?;
            if row.is_some_and(|row| row.leaf == entry.leaf) {
                return Ok(None); // dropped behind the catalog's back, event triggers being off
            }
            continue;
        };
        relation.check_reach()?;
        // Given up again unless it is the one: who renames it has waited for this lock, or goes on to wait for it.
        let relation = relation.unlock_on_drop(lock);
        // Locking read the pending invalidations: is what we went by still so?
        let entry = match cache::leaf(index.root, namespace) {
            Some(kept) if kept.id_index.is_some() => kept,
            _ => {
                if catalog::find_namespace(index.root, namespace)?.map(|row| row.leaf)
                    != Some(entry.leaf)
                {
                    continue;
                }
                if !relation.is_partition() {
                    return Ok(None); // detached: no longer the index's
                }
                let usual = leaf::is_leaf(&relation);
                let (id_index, vector_index) = if usual {
                    let vectors = am::index_on(&relation, leaf::VALUES, index.metric);
                    (leaf::id_index(&relation), vectors)
                } else {
                    (None, None)
                };
                let entry = LeafEntry {
                    leaf: entry.leaf,
                    id_index,
                    vector_index,
                    limits: None,
                };
                let cold = cache::remember_leaf(index.root, namespace, entry);
                cold.into_iter().for_each(let_go);
                entry
            }
        };
        if entry.leaf == relation.oid() {
            return Ok(Some(OpenLeaf {
                relation: relation.keep_lock(),
                id_index: entry.id_index,
                vector_index: entry.vector_index,
            }));
        }
    }
}

/// Lets go of what this backend holds of a leaf that was not used for long: it may meet more than memory holds.
fn let_go(entry: LeafEntry) {
    if let Some(index) = entry.vector_index {
        storage::forget(Some(index));
    }
    am::teller::forget(Some(entry.leaf));
    uncached::let_go(entry.leaf);
}

/// Creates a namespace unless it exists. True if it was created. Concurrent first upserts wait for each other here.
pub fn create_namespace(index: &Index, namespace: &str) -> Result<bool, Error> {
    if !access::has_privileges(index.root, &[Privilege::Insert]) {
        return Err(denied(index));
    }
    lock_root(index)?;
    partition::prepare(index)?;
    lock_namespace(index, namespace)?;
    if !is_free(index, namespace)? {
        return Ok(false);
    }
    partition::create_leaf(index, namespace)?;
    Ok(true)
}

/// Is there no namespace of that name, which is locked? What the catalog has of one whose table was dropped or detached behind its back is removed.
fn is_free(index: &Index, namespace: &str) -> Result<bool, Error> {
    let Some(row) = catalog::find_namespace(index.root, namespace)? else {
        return Ok(true);
    };
    if partition::is_part(index, row.leaf) {
        return Ok(false);
    }
    catalog::delete_namespace(&row)?;
    Ok(true)
}

/// The same, or an error.
fn make_room(index: &Index, namespace: &str) -> Result<(), Error> {
    if is_free(index, namespace)? {
        return Ok(());
    }
    Err(Error::DuplicateNamespace {
        index: index.name.clone(),
        namespace: namespace.into(),
    })
}

/// Creates an index with the caller's rights.
pub fn create_index(
    name: &str,
    dimension: usize,
    metric: crate::metric::Metric,
    spec: &str,
    deletion_protection: &str,
    tags: &str,
) -> Result<IndexRow, Error> {
    pin::check_unpinned()?;
    lock_index(name)?;
    if let Some(row) = catalog::find_index(name)? {
        if relation::owner(row.index.root).is_some() {
            return Err(Error::DuplicateIndex { name: name.into() });
        }
        catalog::forget_root(row.index.root)?; // its table was dropped behind the catalog's back
    }
    let root = partition::create_root(name, dimension, metric)?;
    let index = Index {
        root,
        name: name.into(),
        dimension,
        metric,
    };
    catalog::insert_index(&index, spec, deletion_protection, tags)?;
    index_row(name)
}

/// Changes an index's deletion protection and tags, given as functions of the present row. Owners only.
pub fn configure_index(
    name: &str,
    change: impl FnOnce(&IndexRow) -> Result<(String, String), Error>,
) -> Result<IndexRow, Error> {
    pin::check_unpinned()?;
    lock_index(name)?;
    let row = index_row(name)?;
    if !access::owns(row.index.root) {
        return Err(Error::PermissionDenied { name: name.into() });
    }
    let (deletion_protection, tags) = change(&row)?;
    catalog::configure_index(&row, &deletion_protection, &tags)?;
    index_row(name)
}

/// Drops an index with all its namespaces. Owners only.
pub fn drop_index(name: &str) -> Result<(), Error> {
    lock_index(name)?;
    let index = check_may_delete(name)?.index;
    breadth::check_droppable(&index)?;
    partition::drop_root(&index)
}

/// The row of an index that the caller may delete.
fn check_may_delete(name: &str) -> Result<IndexRow, Error> {
    pin::check_unpinned()?;
    let row = index_row(name)?;
    if !access::owns(row.index.root) {
        return Err(Error::PermissionDenied { name: name.into() });
    }
    if row.deletion_protection == "enabled" {
        return Err(Error::DeletionProtected { name: name.into() });
    }
    Ok(row)
}

/// How the records of a namespace are reached by the caller.
pub enum Reached {
    /// There is no such namespace.
    Missing,
    /// Through the leaf itself: rights were checked and nothing else would make a difference.
    Direct(Leaf),
    /// By SQL on the root: PostgreSQL checks rights and applies what is to be applied.
    Sql,
}

/// Reaches a namespace (canonical name) for what needs these rights. Who has none of them on the root, nor on this leaf,
/// is refused alike whether there is such a namespace or not.
pub fn reach(
    index: &Index,
    namespace: &str,
    lock: LockMode,
    privileges: &[Privilege],
) -> Result<Reached, Error> {
    let leaf = open_leaf(index, namespace, lock)?;
    let oid = leaf.as_ref().map(|leaf| leaf.relation.oid());
    let may_directly = may(index, oid, privileges);
    if !may_directly && !access::has_some_privileges(index.root, privileges) {
        return Err(denied(index));
    }
    let Some(leaf) = leaf else {
        return Ok(Reached::Missing);
    };
    let plain = privileges == [Privilege::Select]
        || (leaf.relation.is_plain(COLUMNS) && !relation::has_triggers_or_rules(index.root));
    match leaf.id_index {
        Some(id_index) if may_directly && plain && !transaction::snapshots_expire() => {
            Ok(Reached::Direct(Leaf {
                relation: leaf.relation,
                id_index,
                vector_index: leaf.vector_index,
            }))
        }
        _ => {
            drop(leaf.relation.unlock_on_drop(lock));
            lock_from_the_root(index, namespace, lock)
        }
    }
}

/// Locks what a statement on the root about one namespace will, in its order, parents first; so that the namespace is still there when the statement comes
/// to it.
fn lock_from_the_root(index: &Index, namespace: &str, lock: LockMode) -> Result<Reached, Error> {
    if !relation::lock(index.root, lock) {
        return Err(gone(index));
    }
    let row = catalog::find_namespace(index.root, namespace)?;
    let bucket = row.and_then(|row| relation::parent(row.leaf));
    let bucket = bucket.and_then(|bucket| Relation::try_open(bucket, lock));
    // Not kept for nothing: whoever took the namespace away may want it.
    let bucket = bucket.map(|bucket| bucket.unlock_on_drop(lock));
    Ok(match open_leaf(index, namespace, lock)? {
        Some(_) => {
            drop(bucket.map(Relation::keep_lock));
            Reached::Sql
        }
        None => Reached::Missing,
    })
}

/// The same for writing, creating the namespace if it is not there.
pub fn reach_or_create(
    index: &Index,
    namespace: &str,
    privileges: &[Privilege],
) -> Result<Reached, Error> {
    loop {
        match reach(index, namespace, LockMode::RowExclusive, privileges)? {
            Reached::Missing => create_namespace(index, namespace)?,
            reached => return Ok(reached),
        };
    }
}

/// Has the caller these rights on all records of a namespace: by the root, or by its leaf alone?
fn may(index: &Index, leaf: Option<Oid>, privileges: &[Privilege]) -> bool {
    let by_leaf =
        |leaf| access::has_privileges(leaf, privileges) && !access::has_row_security(leaf);
    !access::has_row_security(index.root)
        && (access::has_privileges(index.root, privileges) || leaf.is_some_and(by_leaf))
}

/// Why the caller has no rights: there are none, or there is no root any more.
fn denied(index: &Index) -> Error {
    if relation::owner(index.root).is_none() {
        return gone(index);
    }
    Error::PermissionDenied {
        name: index.name.clone(),
    }
}

pub fn unknown(index: &Index, namespace: &str) -> Error {
    Error::UnknownNamespace {
        index: index.name.clone(),
        namespace: namespace.into(),
    }
}

fn gone(index: &Index) -> Error {
    Error::UnknownIndex {
        name: index.name.clone(),
    }
}

/// May the caller see a namespace in a listing? Where row security is in force only one of which they see a record: the
/// names of others are the names of tenants.
pub fn may_list(index: &Index, row: &NamespaceRow) -> Result<bool, Error> {
    let privileges = [Privilege::Select];
    if may(index, Some(row.leaf), &privileges) {
        return Ok(true);
    }
    Ok(access::has_privileges(index.root, &privileges) && sql::has_records(index, &row.name)?)
}
