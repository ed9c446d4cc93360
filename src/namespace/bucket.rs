//! Buckets: the tables between an index's root and its leaves. Found and made here, for the first leaf of each.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::gone;
use super::partition::{DATA_SCHEMA, LIKE_ROOT, adopt, as_owner, c_string, new_name, run};
use crate::error::Error;
use crate::pg::relation::{self, LockMode, Oid};
use crate::pg::{extension, transaction};
use crate::stop_point::StopPoint::{BucketAttached, BucketCreated};

/// Hash partitions of a root.
const BUCKET_COUNT: u64 = 1024;

/// The bucket a namespace belongs to, made if it is the first there. It is locked as what is to be done with it will, so that it cannot go meanwhile.
pub fn bucket_for(index: &Index, namespace: &str, lock: LockMode) -> Result<Oid, Error> {
    let bucket = locked_or_new_bucket(index, remainder_of(namespace), lock)?;
    adopt(index, bucket, index.root)?;
    Ok(bucket)
}

fn locked_or_new_bucket(index: &Index, remainder: i32, lock: LockMode) -> Result<Oid, Error> {
    if let Some(bucket) = locked_bucket(index, remainder, lock)? {
        return Ok(bucket);
    }
    let class = relation::lookup(extension::CATALOG_SCHEMA, catalog::BUCKETS)?;
    let root = index.root.to_u32().to_ne_bytes();
    transaction::lock_name(
        class,
        transaction::name_hash(&[&root, &remainder.to_ne_bytes()]),
    );
    match locked_bucket(index, remainder, lock)? {
        Some(bucket) => Ok(bucket), // made while we waited
        None => create_bucket(index, remainder),
    }
}

/// Made apart and attached: ATTACH locks the root no further than against other DDL, where CREATE TABLE … PARTITION OF
/// would keep every reader of the root out until the first upsert's transaction ends.
fn create_bucket(index: &Index, remainder: i32) -> Result<Oid, Error> {
    if !relation::lock(index.root, LockMode::ShareUpdateExclusive) {
        return Err(gone(index));
    }
    let root = relation::qualified_name(index.root).ok_or_else(|| gone(index))?;
    let (number_name, bucket) = new_name(index, "b")?;
    as_owner(index, index.root, || {
        run(
            BucketCreated,
            &format!(
                "CREATE TABLE {bucket} (LIKE {root} {LIKE_ROOT}) PARTITION BY LIST (namespace)"
            ),
        )?;
        run(
            BucketAttached,
            &format!(
                "ALTER TABLE {root} ATTACH PARTITION {bucket}
             FOR VALUES WITH (MODULUS {BUCKET_COUNT}, REMAINDER {remainder})"
            ),
        )
    })?;
    let bucket = relation::lookup(DATA_SCHEMA, &c_string(&number_name))?;
    catalog::insert_bucket(index.root, remainder, bucket)?;
    Ok(bucket)
}

fn remainder_of(namespace: &str) -> i32 {
    (transaction::partition_hash(namespace) % BUCKET_COUNT) as i32
}

fn locked_bucket(index: &Index, remainder: i32, lock: LockMode) -> Result<Option<Oid>, Error> {
    let Some(bucket) = catalog::find_bucket(index.root, remainder)? else {
        return Ok(None);
    };
    let is_adopted = relation::owner(bucket) == relation::owner(index.root);
    let lock = if is_adopted {
        lock
    } else {
        LockMode::AccessExclusive
    };
    Ok(relation::lock(bucket, lock).then_some(bucket))
}
