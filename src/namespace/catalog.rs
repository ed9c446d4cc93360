//! The catalog of indexes, buckets and namespaces (sql/catalog.sql) as Rust values.
#![forbid(unsafe_code)]

use super::limits::Limits;
use crate::error::Error;
use crate::metric::Metric;
use crate::pg::catalog::{Key, Row, Table, Value};
use crate::pg::relation::{LockMode, Oid};
use crate::pg::statistics::Activity;
use crate::pg::stop_point;
use crate::stop_point::StopPoint;
use std::ffi::CStr;

pub const INDEXES: &CStr = c"indexes";
pub const BUCKETS: &CStr = c"buckets";
pub const NAMESPACES: &CStr = c"namespaces";
pub const LIMITS: &CStr = c"limits";
pub const RESETS: &CStr = c"usage_resets";
pub const RELATION_NUMBER: &CStr = c"relation_number";

const INDEXES_NAME: &CStr = c"indexes_name";
const INDEXES_ROOT: &CStr = c"indexes_root";
const BUCKETS_KEY: &CStr = c"buckets_root_remainder";
const NAMESPACES_KEY: &CStr = c"namespaces_root_namespace";
const RESETS_KEY: &CStr = c"usage_resets_leaf";
const LIMITS_KEY: &CStr = c"limits_root_namespace";

/// What never changes of an index.
#[derive(Clone, Debug)]
pub struct Index {
    /// The partitioned table under the index's name.
    pub root: Oid,
    pub name: String,
    pub dimension: usize,
    pub metric: Metric,
}

/// An index's whole catalog row.
pub struct IndexRow {
    pub index: Index,
    /// JSON text.
    pub spec: String,
    pub deletion_protection: String,
    /// JSON text.
    pub tags: String,
    row: Row,
}

/// A namespace's catalog row.
pub struct NamespaceRow {
    pub name: String,
    pub leaf: Oid,
    /// Microseconds since 2000-01-01 UTC.
    pub created_at: i64,
    row: Row,
}

impl IndexRow {
    fn from_row(row: Row) -> Result<IndexRow, Error> {
        Ok(IndexRow {
            index: Index {
                root: row.oid(1),
                name: row.text(2),
                dimension: row.int(3) as usize,
                metric: Metric::parse(&row.text(4))?,
            },
            spec: row.json(5).unwrap_or_default(),
            deletion_protection: row.text(6),
            tags: row.json(7).unwrap_or_default(),
            row,
        })
    }
}

/// The index of that name.
pub fn find_index(name: &str) -> Result<Option<IndexRow>, Error> {
    Table::open(INDEXES, LockMode::AccessShare)?
        .find(INDEXES_NAME, &[Key::Equal(2, Value::Text(name))])
        .map(IndexRow::from_row)
        .transpose()
}

/// The index whose root it is, if it is one. Asked of any table, in any database.
pub fn find_root(table: Oid) -> Result<Option<IndexRow>, Error> {
    Table::open(INDEXES, LockMode::AccessShare)?
        .find(INDEXES_ROOT, &[Key::Equal(1, Value::Oid(table))])
        .map(IndexRow::from_row)
        .transpose()
}

/// All indexes in the order of their names.
pub fn all_indexes() -> Result<Vec<IndexRow>, Error> {
    let mut rows = Vec::new();
    Table::open(INDEXES, LockMode::AccessShare)?.each(INDEXES_NAME, &[], |row| {
        rows.push(IndexRow::from_row(row));
        true
    });
    rows.into_iter().collect()
}

/// Writes the row of a new index.
pub fn insert_index(
    index: &Index,
    spec: &str,
    deletion_protection: &str,
    tags: &str,
) -> Result<(), Error> {
    Table::open(INDEXES, LockMode::RowExclusive)?.insert(&[
        Value::Oid(index.root),
        Value::Text(&index.name),
        Value::Int(index.dimension as i32),
        Value::Text(index.metric.name()),
        Value::Json(spec),
        Value::Text(deletion_protection),
        Value::Json(tags),
        Value::Now,
    ]);
    stop_point::after(StopPoint::IndexRow);
    Ok(())
}

/// Changes what may change of an index. The caller holds the lock on its name.
pub fn configure_index(row: &IndexRow, deletion_protection: &str, tags: &str) -> Result<(), Error> {
    Table::open(INDEXES, LockMode::RowExclusive)?.update(
        &row.row,
        &[
            (6, Value::Text(deletion_protection)),
            (7, Value::Json(tags)),
        ],
    );
    Ok(())
}

/// The bucket of a root for a remainder of the namespace's hash.
pub fn find_bucket(root: Oid, remainder: i32) -> Result<Option<Oid>, Error> {
    let keys = [
        Key::Equal(1, Value::Oid(root)),
        Key::Equal(2, Value::Int(remainder)),
    ];
    let row = Table::open(BUCKETS, LockMode::AccessShare)?.find(BUCKETS_KEY, &keys);
    Ok(row.map(|row| row.oid(3)))
}

/// The buckets of a root.
pub fn buckets_of(root: Oid) -> Result<Vec<Oid>, Error> {
    let keys = [Key::Equal(1, Value::Oid(root))];
    let mut buckets = Vec::new();
    Table::open(BUCKETS, LockMode::AccessShare)?.each(BUCKETS_KEY, &keys, |row| {
        buckets.push(row.oid(3));
        true
    });
    Ok(buckets)
}

pub fn insert_bucket(root: Oid, remainder: i32, bucket: Oid) -> Result<(), Error> {
    Table::open(BUCKETS, LockMode::RowExclusive)?.insert(&[
        Value::Oid(root),
        Value::Int(remainder),
        Value::Oid(bucket),
    ]);
    stop_point::after(StopPoint::BucketRow);
    Ok(())
}

/// A namespace of an index, by its canonical name.
pub fn find_namespace(root: Oid, namespace: &str) -> Result<Option<NamespaceRow>, Error> {
    let keys = [
        Key::Equal(1, Value::Oid(root)),
        Key::Equal(2, Value::Text(namespace)),
    ];
    let row = Table::open(NAMESPACES, LockMode::AccessShare)?.find(NAMESPACES_KEY, &keys);
    Ok(row.map(namespace_row))
}

/// The namespaces of an index in C order, from the first whose name begins with `prefix` and lies after `after`, until
/// `each` answers false.
pub fn each_namespace(
    root: Oid,
    prefix: &str,
    after: Option<&str>,
    mut each: impl FnMut(NamespaceRow) -> bool,
) -> Result<(), Error> {
    let start = match after {
        Some(after) if after >= prefix => Key::After(2, after),
        _ => Key::From(2, prefix),
    };
    let keys = [Key::Equal(1, Value::Oid(root)), start];
    Table::open(NAMESPACES, LockMode::AccessShare)?.each(NAMESPACES_KEY, &keys, |row| {
        let row = namespace_row(row);
        row.name.starts_with(prefix) && each(row)
    });
    Ok(())
}

pub fn insert_namespace(root: Oid, namespace: &str, leaf: Oid) -> Result<(), Error> {
    Table::open(NAMESPACES, LockMode::RowExclusive)?.insert(&[
        Value::Oid(root),
        Value::Text(namespace),
        Value::Oid(leaf),
        Value::Now,
    ]);
    stop_point::after(StopPoint::LeafRow);
    Ok(())
}

/// Gives a namespace's row another name. The caller holds the locks on both.
pub fn rename_namespace(namespace: &NamespaceRow, name: &str) -> Result<(), Error> {
    Table::open(NAMESPACES, LockMode::RowExclusive)?
        .update(&namespace.row, &[(2, Value::Text(name))]);
    stop_point::after(StopPoint::RenamedRow);
    Ok(())
}

/// Removes a namespace's row. The caller holds the lock on its name.
pub fn delete_namespace(namespace: &NamespaceRow) -> Result<(), Error> {
    Table::open(NAMESPACES, LockMode::RowExclusive)?.delete(&namespace.row);
    Ok(())
}

fn namespace_row(row: Row) -> NamespaceRow {
    NamespaceRow {
        name: row.text(2),
        leaf: row.oid(3),
        created_at: row.timestamp(4),
        row,
    }
}

/// The limits set for that name, if any.
pub fn find_limits(root: Oid, namespace: &str) -> Result<Limits, Error> {
    let keys = limits_key(root, namespace);
    let row = Table::open(LIMITS, LockMode::AccessShare)?.find(LIMITS_KEY, &keys);
    Ok(row.map_or_else(Limits::default, |row| Limits {
        records: row.bigint(3),
        bytes: row.bigint(4),
    }))
}

/// Sets limits, or removes them. The caller holds the lock on the name.
pub fn set_limits(root: Oid, namespace: &str, limits: Limits) -> Result<(), Error> {
    let table = Table::open(LIMITS, LockMode::RowExclusive)?;
    if let Some(row) = table.find(LIMITS_KEY, &limits_key(root, namespace)) {
        table.delete(&row);
    }
    if limits != Limits::default() {
        table.insert(&[
            Value::Oid(root),
            Value::Text(namespace),
            Value::Bigint(limits.records),
            Value::Bigint(limits.bytes),
        ]);
    }
    Ok(())
}

/// The counts of a leaf when its usage was last reset, and when that was.
pub fn find_reset(leaf: Oid) -> Result<Option<(Activity, i64)>, Error> {
    let keys = [Key::Equal(1, Value::Oid(leaf))];
    let row = Table::open(RESETS, LockMode::AccessShare)?.find(RESETS_KEY, &keys);
    Ok(row.map(|row| {
        let count = |number| row.bigint(number).unwrap_or_default();
        let activity = Activity {
            scans: count(2),
            fetched: count(3),
            inserted: count(4),
            updated: count(5),
            deleted: count(6),
            last_scan: None,
        };
        (activity, row.timestamp(7))
    }))
}

/// Writes them down. The caller has locked out others who do.
pub fn set_reset(leaf: Oid, activity: Activity) -> Result<(), Error> {
    let table = Table::open(RESETS, LockMode::RowExclusive)?;
    if let Some(row) = table.find(RESETS_KEY, &[Key::Equal(1, Value::Oid(leaf))]) {
        table.delete(&row);
    }
    table.insert(&[
        Value::Oid(leaf),
        Value::Bigint(Some(activity.scans)),
        Value::Bigint(Some(activity.fetched)),
        Value::Bigint(Some(activity.inserted)),
        Value::Bigint(Some(activity.updated)),
        Value::Bigint(Some(activity.deleted)),
        Value::Now,
    ]);
    Ok(())
}

fn limits_key(root: Oid, namespace: &str) -> [Key<'_>; 2] {
    [
        Key::Equal(1, Value::Oid(root)),
        Key::Equal(2, Value::Text(namespace)),
    ]
}

/// Removes every row of a root that is gone.
pub fn forget_root(root: Oid) -> Result<(), Error> {
    let keys = [Key::Equal(1, Value::Oid(root))];
    for (table, index) in [
        (NAMESPACES, NAMESPACES_KEY),
        (BUCKETS, BUCKETS_KEY),
        (LIMITS, LIMITS_KEY),
        (INDEXES, INDEXES_ROOT),
    ] {
        let table = Table::open(table, LockMode::RowExclusive)?;
        let mut rows = Vec::new();
        table.each(index, &keys, |row| {
            rows.push(row);
            true
        });
        rows.iter().for_each(|row| table.delete(row));
    }
    Ok(())
}
