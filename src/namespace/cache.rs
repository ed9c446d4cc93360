//! What this backend remembers of indexes and leaves, so that a query on a tenant it has met reads no catalog.
//!
//! PostgreSQL tells every backend which relations changed (relcache invalidation); an entry goes when its root or its
//! leaf is named. An entry is a guess all the same: who uses it opens the leaf under a lock, which reads pending
//! invalidations, and looks whether the entry is still there ([`super::open_leaf`]).
#![forbid(unsafe_code)]

use super::catalog::Index;
use crate::pg::relation::Oid;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Leaves remembered at most; past it all are forgotten, and met again when used. At some 200 bytes each.
const MAX_LEAVES: usize = 16_384;

/// Where a namespace's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafEntry {
    pub leaf: Oid,
    /// Its unique (namespace, id) index, if it has the usual one.
    pub id_index: Option<Oid>,
    /// Its vector index of the index's metric, if it has one.
    pub vector_index: Option<Oid>,
}

#[derive(Default)]
struct Cache {
    indexes: HashMap<String, Rc<Index>>,
    leaves: HashMap<Oid, HashMap<String, LeafEntry>>,
    /// Root and namespace of each leaf above.
    owners: HashMap<Oid, (Oid, String)>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The index of that name, if it was met.
pub fn index(name: &str) -> Option<Rc<Index>> {
    CACHE.with_borrow(|cache| cache.indexes.get(name).cloned())
}

pub fn remember_index(index: Index) -> Rc<Index> {
    let index = Rc::new(index);
    CACHE.with_borrow_mut(|cache| cache.indexes.insert(index.name.clone(), Rc::clone(&index)));
    index
}

/// The leaf of a namespace, if it was met.
pub fn leaf(root: Oid, namespace: &str) -> Option<LeafEntry> {
    CACHE.with_borrow(|cache| cache.leaves.get(&root)?.get(namespace).copied())
}

pub fn remember_leaf(root: Oid, namespace: &str, entry: LeafEntry) {
    CACHE.with_borrow_mut(|cache| {
        if cache.owners.len() >= MAX_LEAVES {
            cache.leaves.clear();
            cache.owners.clear();
        }
        cache
            .owners
            .insert(entry.leaf, (root, namespace.to_owned()));
        let leaves = cache.leaves.entry(root).or_default();
        leaves.insert(namespace.to_owned(), entry);
    });
}

/// PostgreSQL says that a relation (or, None, any relation) may have changed. Called from within PostgreSQL: no borrow
/// of the cache is ever held across a call into it.
pub fn forget(relation: Option<Oid>) {
    CACHE.with_borrow_mut(|cache| {
        let Some(oid) = relation else {
            *cache = Cache::default();
            return;
        };
        if let Some((root, namespace)) = cache.owners.remove(&oid)
            && let Some(leaves) = cache.leaves.get_mut(&root)
        {
            leaves.remove(&namespace);
        }
        // A root changes when a bucket is made or it is altered; its leaves go by their own OIDs.
        cache.indexes.retain(|_, index| index.root != oid);
    });
}
