//! The tables behind an index: root (hash of the namespace, 1,024 ways) → bucket (list) → leaf. Made and dropped here.
//!
//! ```text
//! "multitenant-app"                    partitioned by hash (namespace)     made by pc_create_index
//!   └─ conifer_data."multitenant-app_b1"   partitioned by list (namespace)     made with its first leaf
//!        └─ conifer_data."multitenant-app_2"   one namespace's records             made by its first upsert
//! ```
//!
//! Two levels keep everything PostgreSQL does through a parent small: at 100,000 leaves a bucket has about 98. No leaf
//! owns a row of pg_constraint (the unique index is no constraint, NOT NULL comes from domains), since creating a
//! partition reads that whole catalog.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::gone;
use crate::error::Error;
use crate::pg::relation::{self, LockMode, Oid, Relation};
use crate::pg::{access, extension, transaction};
use pgrx::Spi;
use std::ffi::CStr;

/// Hash partitions of a root.
const BUCKET_COUNT: u64 = 1024;

/// Schema of buckets and leaves.
const DATA_SCHEMA: &CStr = c"conifer_data";

/// Creates the root table in the caller's current schema, with the caller's rights.
pub fn create_root(name: &str, dimension: usize) -> Result<Oid, Error> {
    let schema: Option<String> = spi(Spi::get_one(
        "SELECT pg_catalog.current_schema()::pg_catalog.text",
    ))?;
    let schema = schema.ok_or_else(|| Error::InvalidArgument {
        what: "search_path",
        value: String::new(),
        hint: "No schema has been selected to create the index in; set search_path.".into(),
    })?;
    if schema.starts_with("pg_temp_") {
        return Err(Error::InvalidArgument {
            what: "search_path",
            value: schema,
            hint: "An index cannot be temporary; put another schema first in search_path.".into(),
        });
    }
    let root = format!("{}.{}", quote(&schema), quote(name));
    let vector = format!("{}.vector({dimension})", extension::schema()?);
    // MAIN keeps the vector in the row where it fits, so that one page read gives row and distance; long metadata goes
    // to TOAST before it.
    run(&format!(
        "CREATE TABLE {root} (
            namespace conifer.namespace_name,
            id conifer.record_id,
            \"values\" {vector},
            metadata pg_catalog.jsonb
        ) PARTITION BY HASH (namespace)"
    ))?;
    run(&format!(
        "ALTER TABLE {root} ALTER COLUMN \"values\" SET STORAGE MAIN"
    ))?;
    run(&format!("CREATE UNIQUE INDEX ON {root} (namespace, id)"))?;
    relation::lookup(&c_string(&schema), &c_string(name))
}

/// Drops the root with all its buckets and leaves, with the caller's rights.
pub fn drop_root(root: Oid) -> Result<(), Error> {
    match relation::qualified_name(root) {
        Some(name) => run(&format!("DROP TABLE {name}")),
        None => Ok(()),
    }
}

/// Creates the leaf of a namespace and its catalog row, with the rights of the root's owner. The caller holds the lock
/// on the namespace's name.
pub fn create_leaf(index: &Index, namespace: &str) -> Result<Oid, Error> {
    let owner = relation::owner(index.root).ok_or_else(|| gone(index))?;
    grant_data_schema(owner)?;
    let bucket = bucket_for(index, namespace, owner)?;
    let (number_name, leaf_name) = new_name(index, "")?;
    // The largest tuple target there is: the vector stays inline as long as the row fits a page.
    access::as_role(owner, || {
        run(&format!(
            "CREATE TABLE {leaf_name} PARTITION OF {bucket} FOR VALUES IN ({}) USING heap
             WITH (toast_tuple_target = 8160)",
            literal(namespace)
        ))
    })?;
    let leaf = relation::lookup(DATA_SCHEMA, &c_string(&number_name))?;
    catalog::insert_namespace(index.root, namespace, leaf)?;
    Ok(leaf)
}

/// Drops a leaf, with the rights of the root's owner. Its disk space goes back when the transaction commits.
pub fn drop_leaf(index: &Index, leaf: Oid) -> Result<(), Error> {
    let owner = relation::owner(index.root).ok_or_else(|| gone(index))?;
    match relation::qualified_name(leaf) {
        Some(name) => access::as_role(owner, || run(&format!("DROP TABLE {name}"))),
        None => Ok(()),
    }
}

/// Quoted name of the bucket a namespace belongs to, made if it is the first there. The bucket is locked then as creating a
/// partition of it will, so that it cannot go meanwhile.
fn bucket_for(index: &Index, namespace: &str, owner: Oid) -> Result<String, Error> {
    let remainder = (transaction::partition_hash(namespace) % BUCKET_COUNT) as i32;
    if let Some(bucket) = locked_bucket(index, remainder)? {
        return Ok(bucket);
    }
    let class = relation::lookup(extension::CATALOG_SCHEMA, catalog::BUCKETS)?;
    let root = index.root.to_u32().to_ne_bytes();
    transaction::lock_name(
        class,
        transaction::name_hash(&[&root, &remainder.to_ne_bytes()]),
    );
    if let Some(bucket) = locked_bucket(index, remainder)? {
        return Ok(bucket); // made while we waited
    }
    let root_name = lock_parent(index.root).ok_or_else(|| gone(index))?;
    let (number_name, bucket_name) = new_name(index, "b")?;
    access::as_role(owner, || {
        run(&format!(
            "CREATE TABLE {bucket_name} PARTITION OF {root_name}
             FOR VALUES WITH (MODULUS {BUCKET_COUNT}, REMAINDER {remainder}) PARTITION BY LIST (namespace)"
        ))
    })?;
    let bucket = relation::lookup(DATA_SCHEMA, &c_string(&number_name))?;
    catalog::insert_bucket(index.root, remainder, bucket)?;
    Ok(bucket_name)
}

fn locked_bucket(index: &Index, remainder: i32) -> Result<Option<String>, Error> {
    Ok(catalog::find_bucket(index.root, remainder)?.and_then(lock_parent))
}

/// Locks a table of which a partition is to be made, until the transaction ends; its quoted name, None if it is gone.
fn lock_parent(parent: Oid) -> Option<String> {
    // Only the lock: CREATE TABLE refuses while the table is open here.
    drop(Relation::try_open(parent, LockMode::AccessExclusive)?);
    relation::qualified_name(parent)
}

/// An unused name in the data schema: bare and quoted with its schema.
fn new_name(index: &Index, kind: &str) -> Result<(String, String), Error> {
    loop {
        let number = crate::pg::catalog::next_value(catalog::RELATION_NUMBER)?;
        let name = format!("{}_{kind}{number}", index.name);
        // A restored dump may bring names of its own.
        if relation::find(DATA_SCHEMA, &c_string(&name)).is_none() {
            let quoted = format!("conifer_data.{}", quote(&name));
            return Ok((name, quoted));
        }
    }
}

/// Lets the owner of an index create its leaves: rights on the data schema, granted by the schema's owner.
fn grant_data_schema(owner: Oid) -> Result<(), Error> {
    if access::may_create_in(DATA_SCHEMA, owner) {
        return Ok(());
    }
    let role = access::role_name(owner);
    let schema_owner = access::schema_owner(DATA_SCHEMA).unwrap_or(owner);
    access::as_role(schema_owner, || {
        run(&format!(
            "GRANT USAGE, CREATE ON SCHEMA conifer_data TO {role}"
        ))
    })
}

/// Runs one statement that answers no rows. PostgreSQL's own errors pass through as they are.
fn run(statement: &str) -> Result<(), Error> {
    spi(Spi::run(statement))
}

fn spi<T>(result: Result<T, pgrx::spi::SpiError>) -> Result<T, Error> {
    result.map_err(|error| Error::Corrupted {
        what: error.to_string(),
    })
}

fn c_string(name: &str) -> std::ffi::CString {
    crate::pg::catalog::c_name(name)
}

fn quote(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}

fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}
