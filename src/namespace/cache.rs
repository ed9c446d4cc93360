//! What this backend remembers of indexes and leaves, so that a query on a tenant it has met lately reads no catalog.
//!
//! PostgreSQL tells every backend which relations changed (relcache invalidation); an entry goes when its root or its
//! leaf is named. An entry is a guess all the same: who uses it opens the leaf under a lock, which reads pending
//! invalidations, and looks whether the entry is still there ([`super::open_leaf`]).
#![forbid(unsafe_code)]

use super::catalog::Index;
use super::limits::Limits;
use crate::pg::relation::Oid;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Leaves remembered at most: past it those go that were met first and not used again (second chance). With what PostgreSQL's caches hold of it, and of
/// its indexes, a leaf takes some 15 KB.
const MAX_LEAVES: usize = 1024;

/// Where a namespace's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafEntry {
    pub leaf: Oid,
    /// Its unique (namespace, id) index, if it has the usual one.
    pub id_index: Option<Oid>,
    /// Its vector index of the index's metric, if it has one.
    pub vector_index: Option<Oid>,
    /// What it may hold, once that was asked.
    pub limits: Option<Limits>,
}

#[derive(Default)]
struct Cache {
    indexes: HashMap<String, Rc<Index>>,
    leaves: HashMap<Oid, HashMap<String, LeafEntry>>,
    /// Root and namespace of each leaf above.
    owners: HashMap<Oid, Owner>,
    /// The leaves above, and some forgotten meanwhile, in the order they were met or had their second chance.
    turns: VecDeque<Oid>,
}

struct Owner {
    root: Oid,
    namespace: String,
    /// Since the leaf's last turn.
    is_used: bool,
}

impl Cache {
    /// Forgets one leaf.
    fn remove(&mut self, leaf: Oid) -> Option<LeafEntry> {
        let owner = self.owners.remove(&leaf)?;
        self.leaves.get_mut(&owner.root)?.remove(&owner.namespace)
    }

    /// Forgets the leaf whose turn it is, unless it was used.
    fn next_turn(&mut self) -> Option<LeafEntry> {
        let leaf = self.turns.pop_front()?;
        let owner = self.owners.get_mut(&leaf)?;
        if std::mem::take(&mut owner.is_used) {
            self.turns.push_back(leaf);
            return None;
        }
        self.remove(leaf)
    }
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
    CACHE.with_borrow_mut(|cache| {
        let entry = *cache.leaves.get(&root)?.get(namespace)?;
        if let Some(owner) = cache.owners.get_mut(&entry.leaf) {
            owner.is_used = true;
        }
        Some(entry)
    })
}

/// The limits of a namespace whose leaf was met, if they were asked for.
pub fn limits(root: Oid, namespace: &str) -> Option<Limits> {
    CACHE.with_borrow(|cache| cache.leaves.get(&root)?.get(namespace)?.limits)
}

/// Remembers them, if the leaf was met.
pub fn remember_limits(root: Oid, namespace: &str, limits: Limits) {
    CACHE.with_borrow_mut(|cache| {
        let leaves = cache.leaves.get_mut(&root);
        if let Some(entry) = leaves.and_then(|leaves| leaves.get_mut(namespace)) {
            entry.limits = Some(limits);
        }
    });
}

/// Remembers a leaf. Answers those that have gone cold, which are forgotten here: it is for the caller to let go of what else is held of them.
#[must_use]
pub fn remember_leaf(root: Oid, namespace: &str, entry: LeafEntry) -> Vec<LeafEntry> {
    CACHE.with_borrow_mut(|cache| {
        let mut cold = Vec::new();
        while cache.turns.len() >= MAX_LEAVES {
            cold.extend(cache.next_turn());
        }
        let owner = Owner {
            root,
            namespace: namespace.to_owned(),
            is_used: false,
        };
        if cache.owners.insert(entry.leaf, owner).is_none() {
            cache.turns.push_back(entry.leaf);
        }
        let leaves = cache.leaves.entry(root).or_default();
        leaves.insert(namespace.to_owned(), entry);
        cold
    })
}

/// PostgreSQL says that a relation (or, None, any relation) may have changed. Called from within PostgreSQL: no borrow
/// of the cache is ever held across a call into it.
pub fn forget(relation: Option<Oid>) {
    CACHE.with_borrow_mut(|cache| {
        let Some(oid) = relation else {
            *cache = Cache::default();
            return;
        };
        cache.remove(oid);
        // A root changes when a bucket is made, it is altered, or limits are set for all its namespaces; its leaves go by their own OIDs.
        if let Some(leaves) = cache.leaves.get_mut(&oid) {
            leaves.values_mut().for_each(|entry| entry.limits = None);
        }
        cache.indexes.retain(|_, index| index.root != oid);
    });
}
