//! Locks on names, in PostgreSQL's lock table until the transaction ends: whoever makes, moves or removes what a name stands for holds its lock.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::gone;
use crate::error::Error;
use crate::pg::relation::{self, LockMode};
use crate::pg::{extension, transaction};
use std::ffi::CStr;

pub fn lock_namespace(index: &Index, namespace: &str) -> Result<(), Error> {
    let root = index.root.to_u32().to_ne_bytes();
    lock(catalog::NAMESPACES, &[&root, namespace.as_bytes()])
}

/// Locks a root as readers do, before the buckets and leaves of it that whoever drops the index would wait for.
pub fn lock_root(index: &Index) -> Result<(), Error> {
    if relation::lock(index.root, LockMode::AccessShare) {
        Ok(())
    } else {
        Err(gone(index))
    }
}

/// One leaf of an index moves at a time.
pub fn lock_moving(index: &Index) -> Result<(), Error> {
    let root = index.root.to_u32().to_ne_bytes();
    lock(catalog::BUCKETS, &[&root])
}

/// In the same order whoever locks them.
pub fn lock_namespaces(index: &Index, mut names: [&str; 2]) -> Result<(), Error> {
    let root = index.root.to_u32().to_ne_bytes();
    names.sort_unstable_by_key(|name| transaction::name_hash(&[&root, name.as_bytes()]));
    names
        .iter()
        .try_for_each(|name| lock_namespace(index, name))
}

pub fn lock_index(name: &str) -> Result<(), Error> {
    lock(catalog::INDEXES, &[name.as_bytes()])
}

fn lock(table: &CStr, name: &[&[u8]]) -> Result<(), Error> {
    let class = relation::lookup(extension::CATALOG_SCHEMA, table)?;
    transaction::lock_name(class, transaction::name_hash(name));
    Ok(())
}
