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

use super::bucket::bucket_for;
use super::catalog::{self, Index};
use super::gone;
use super::rights::Change;
use crate::am;
use crate::error::Error;
use crate::metric::Metric;
use crate::pg::access::Privilege;
use crate::pg::relation::{self, LockMode, Oid, Relation};
use crate::pg::{access, drop_locks, extension, statistics, stop_point, transaction};
use crate::stop_point::StopPoint::{self, *};
use pgrx::Spi;
use std::ffi::CStr;

/// Schema of buckets and leaves.
pub const DATA_SCHEMA: &CStr = c"conifer_data";

/// The largest tuple target there is: the vector stays inline as long as the row fits a page.
const LEAF_OPTIONS: &str = "toast_tuple_target = 8160";

/// What a table to be attached takes over.
pub const LIKE_ROOT: &str = "INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING CONSTRAINTS";

/// Creates the root table in the caller's current schema, with the caller's rights.
pub fn create_root(name: &str, dimension: usize, metric: Metric) -> Result<Oid, Error> {
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
    // to TOAST before it. Of a row whose vector does not fit, ids would go to TOAST even before that, unless they are MAIN too.
    run(
        RootCreated,
        &format!(
            "CREATE TABLE {root} (
            namespace conifer.namespace_name,
            id conifer.record_id,
            \"values\" {vector},
            metadata pg_catalog.jsonb
        ) PARTITION BY HASH (namespace)"
        ),
    )?;
    run(RootStored, &format!(
        "ALTER TABLE {root} ALTER COLUMN namespace SET STORAGE MAIN, ALTER COLUMN id SET STORAGE MAIN,
             ALTER COLUMN \"values\" SET STORAGE MAIN"
    ))?;
    run(
        RootIdIndex,
        &format!("CREATE UNIQUE INDEX ON {root} (namespace, id)"),
    )?;
    // Every leaf gets one of its own. Metadata is included so that a record whose metadata changes gets a new entry.
    let class = format!("{}.{}", extension::schema()?, am::operator_class(metric));
    run(
        RootVectorIndex,
        &format!("CREATE INDEX ON {root} USING conifer (\"values\" {class}) INCLUDE (metadata)"),
    )?;
    relation::lookup(&c_string(&schema), &c_string(name))
}

/// Is a table a bucket or leaf of the index now? The catalog names also what was detached since, and may be part of another's table.
pub fn is_part(index: &Index, table: Oid) -> bool {
    let root = Some(index.root);
    let parent = relation::parent(table);
    parent == root || parent.and_then(relation::parent) == root
}

/// Tables dropped by one statement: PostgreSQL looks at no interrupt meanwhile, and compares each object of many with all others.
const DROPPED_TOGETHER: usize = 16;

/// Drops the root with the caller's rights, and before it all its buckets and leaves.
pub fn drop_root(index: &Index) -> Result<(), Error> {
    let root = index.root;
    // Who makes a bucket needs the root's lock, who makes a leaf the bucket's: no more come once these are had.
    drop_locks::lock_all_for_drop([root]);
    let buckets = catalog::buckets_of(root)?;
    drop_locks::lock_all_for_drop(buckets.iter().copied());
    let mut leaves = Vec::new();
    catalog::each_namespace(root, "", None, |row| {
        leaves.push(row.leaf);
        true
    })?;
    drop_locks::lock_all_for_drop(leaves.iter().copied());
    stop_point::after(RootLocked);
    for mut tables in [leaves, buckets] {
        // One that was detached is a table of its own.
        tables.retain(|table| is_part(index, *table));
        for group in tables.chunks(DROPPED_TOGETHER) {
            pgrx::check_for_interrupts!();
            drop_tables(index, group)?;
        }
    }
    match relation::qualified_name(root) {
        Some(name) => run(RootDropped, &format!("DROP TABLE {name}"))?,
        None => return Ok(()),
    }
    // The event trigger has removed the catalog rows, unless event triggers are off or it looked by an older snapshot.
    catalog::forget_root(root)
}

/// Creates the leaf of a namespace and its catalog row, with the rights of its bucket's owner. The caller holds the lock
/// on the namespace's name.
pub fn create_leaf(index: &Index, namespace: &str) -> Result<Oid, Error> {
    let bucket = bucket_for(index, namespace, LockMode::AccessExclusive)?;
    let bucket_name = relation::qualified_name(bucket).ok_or_else(|| gone(index))?;
    let (number_name, leaf_name) = new_name(index, "")?;
    as_owner(index, bucket, || {
        run(
            LeafCreated,
            &format!(
                "CREATE TABLE {leaf_name} PARTITION OF {bucket_name} FOR VALUES IN ({}) USING heap
             WITH ({LEAF_OPTIONS})",
                literal(namespace)
            ),
        )?;
        take_over_identity(index, &leaf_name)
    })?;
    let leaf = relation::lookup(DATA_SCHEMA, &c_string(&number_name))?;
    take_off_scans(leaf, 0);
    catalog::insert_namespace(index.root, namespace, leaf)?;
    Ok(leaf)
}

/// A table like a leaf, but without indexes and outside the index: for [`attach_leaf`] when it has been filled.
pub fn create_detached(index: &Index) -> Result<Oid, Error> {
    let root = relation::qualified_name(index.root).ok_or_else(|| gone(index))?;
    let (number_name, name) = new_name(index, "")?;
    as_owner(index, index.root, || {
        run(
            DetachedCreated,
            &format!(
                "CREATE TABLE {name} (LIKE {root} {LIKE_ROOT}) USING heap WITH ({LEAF_OPTIONS})"
            ),
        )?;
        take_over_identity(index, &name)
    })?;
    relation::lookup(DATA_SCHEMA, &c_string(&number_name))
}

/// A leaf has REPLICA IDENTITY FULL if the root has: PostgreSQL does not hand that down, and of a published table nothing could be updated or deleted.
fn take_over_identity(index: &Index, leaf_name: &str) -> Result<(), Error> {
    if relation::is_identified_by_whole_rows(index.root) {
        spi(Spi::run(&format!(
            "ALTER TABLE {leaf_name} REPLICA IDENTITY FULL"
        )))?;
    }
    Ok(())
}

/// Makes a table the leaf of a namespace: its indexes are built. It is locked, its bucket only against other DDL.
pub fn attach_leaf(index: &Index, leaf: Oid, namespace: &str) -> Result<(), Error> {
    let bucket = bucket_for(index, namespace, LockMode::ShareUpdateExclusive)?;
    let names = relation::qualified_name(bucket).zip(relation::qualified_name(leaf));
    let (bucket_name, name) = names.ok_or_else(|| gone(index))?;
    as_owner(index, bucket, || {
        run(
            LeafAttached,
            &format!(
                "ALTER TABLE {bucket_name} ATTACH PARTITION {name} FOR VALUES IN ({})",
                literal(namespace)
            ),
        )
    })?;
    take_off_scans(leaf, 0);
    Ok(())
}

/// Building indexes scans the table, which is nobody's query.
fn take_off_scans(leaf: Oid, pending: i64) {
    if let Some(leaf) = Relation::try_open(leaf, LockMode::AccessShare) {
        statistics::take_off_scans(&leaf, pending);
    }
}

/// Makes a leaf that of another namespace. The caller holds the locks on both names and on moving leaves of the index: who moves one from bucket to bucket
/// locks both.
pub fn move_leaf(index: &Index, leaf: Oid, namespace: &str) -> Result<(), Error> {
    drop_locks::lock_for_drop(leaf);
    let bucket = relation::parent(leaf).ok_or_else(|| gone(index))?;
    adopt(index, bucket, index.root)?;
    adopt(index, leaf, bucket)?;
    let names = relation::qualified_name(bucket).zip(relation::qualified_name(leaf));
    let (bucket_name, name) = names.ok_or_else(|| gone(index))?;
    let pending = Relation::try_open(leaf, LockMode::AccessShare)
        .map_or(0, |leaf| statistics::pending_scans(&leaf));
    as_owner(index, bucket, || {
        run(
            LeafDetached,
            &format!("ALTER TABLE {bucket_name} DETACH PARTITION {name}"),
        )?;
        // A new type writes all rows anew and builds the indexes, but forgets how the column is stored.
        run(
            LeafRewritten,
            &format!(
                "ALTER TABLE {name} ALTER COLUMN namespace TYPE conifer.namespace_name
                 USING {}::pg_catalog.text, ALTER COLUMN namespace SET STORAGE MAIN",
                literal(namespace)
            ),
        )
    })?;
    attach_leaf(index, leaf, namespace)?;
    take_off_scans(leaf, pending);
    Ok(())
}

/// Drops a leaf, with the rights of its owner. Its disk space goes back when the transaction commits.
pub fn drop_leaf(index: &Index, leaf: Oid) -> Result<(), Error> {
    match relation::qualified_name(leaf) {
        Some(name) => as_owner(index, leaf, || {
            run(LeafDropped, &format!("DROP TABLE {name}"))
        }),
        None => Ok(()),
    }
}

/// Empties a leaf, with the rights of its owner. Its disk space goes back when the transaction commits.
pub fn truncate_leaf(index: &Index, leaf: Oid) -> Result<(), Error> {
    match relation::qualified_name(leaf) {
        Some(name) => as_owner(index, leaf, || {
            run(LeafTruncated, &format!("TRUNCATE TABLE ONLY {name}"))
        }),
        None => Ok(()),
    }
}

/// Drops leaves or buckets together, each with the rights of its owner.
pub fn drop_tables(index: &Index, tables: &[Oid]) -> Result<(), Error> {
    let mut of_owner: Vec<(Oid, Oid)> = tables
        .iter()
        .filter_map(|table| Some((relation::owner(*table)?, *table)))
        .collect();
    of_owner.sort_unstable_by_key(|(owner, _)| owner.to_u32());
    for group in of_owner.chunk_by(|one, other| one.0 == other.0) {
        let names = group
            .iter()
            .filter_map(|(_, table)| relation::qualified_name(*table));
        let names: Vec<_> = names.collect();
        as_owner(index, group[0].1, || {
            run(BatchDropped, &format!("DROP TABLE {}", names.join(", ")))
        })?;
    }
    Ok(())
}

/// Grants rights on a leaf to a role or takes them back, with the rights of its owner.
pub fn change_rights(
    index: &Index,
    leaf: Oid,
    role: &str,
    privileges: &[Privilege],
    change: Change,
) -> Result<(), Error> {
    let name = relation::qualified_name(leaf).ok_or_else(|| gone(index))?;
    let privileges: Vec<_> = privileges
        .iter()
        .map(|privilege| privilege.name())
        .collect();
    let privileges = privileges.join(", ");
    // No role can have this name.
    let role = if role == "public" {
        "PUBLIC".into()
    } else {
        quote(role)
    };
    as_owner(index, leaf, || {
        spi(Spi::run(&match change {
            Change::Grant => format!("GRANT {privileges} ON TABLE {name} TO {role}"),
            Change::Revoke => format!("REVOKE {privileges} ON TABLE {name} FROM {role}"),
        }))
    })
}

/// Works on a table with the rights of its owner, who may be another than the root's: ALTER TABLE … OWNER TO does not
/// reach partitions, and [`adopt`] only what is made or moved.
pub fn as_owner<T>(
    index: &Index,
    table: Oid,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let owner = relation::owner(table).ok_or_else(|| gone(index))?;
    grant_data_schema(owner)?;
    access::as_role(owner, work)
}

/// Gives a bucket or leaf, which is locked in ACCESS EXCLUSIVE mode, to the root's owner, who may have got the root from another: what is made in it from now on is
/// not to be the former owner's, and one role must own all that is taken apart and put together.
pub fn adopt(index: &Index, table: Oid, parent: Oid) -> Result<(), Error> {
    let owner = relation::owner(index.root).ok_or_else(|| gone(index))?;
    if relation::owner(table) == Some(owner) {
        return Ok(());
    }
    // One that was detached is not the root's any more.
    if relation::parent(table) != Some(parent) {
        return Err(gone(index));
    }
    relation::change_owner(table, owner);
    Ok(())
}

/// An unused name in the data schema: bare and quoted with its schema.
///
/// PostgreSQL shortens the names of indexes, which end in the columns', to 63 bytes: what is cut off must not be the number, or each new one would have to be
/// told from all there are.
pub fn new_name(index: &Index, kind: &str) -> Result<(String, String), Error> {
    const INDEX_BYTES: usize = 30;
    let index_part = &index.name[..index.name.len().min(INDEX_BYTES)];
    loop {
        let number = crate::pg::catalog::next_value(catalog::RELATION_NUMBER)?;
        let name = format!("{index_part}_{kind}{number}");
        // A restored dump may bring names of its own.
        if relation::find(DATA_SCHEMA, &c_string(&name)).is_none() {
            let quoted = format!("conifer_data.{}", quote(&name));
            return Ok((name, quoted));
        }
    }
}

/// Prepares for making leaves of an index whose root is locked. Comes before other locks are taken: who is the first to make one for a new owner
/// keeps the next waiting.
pub fn prepare(index: &Index) -> Result<(), Error> {
    grant_data_schema(relation::owner(index.root).ok_or_else(|| gone(index))?)
}

/// Lets the owner of an index create its leaves: rights on the data schema, granted by the schema's owner. One at a time: two GRANTs at once would change one
/// row of pg_namespace, which PostgreSQL refuses.
fn grant_data_schema(owner: Oid) -> Result<(), Error> {
    if access::may_create_in(DATA_SCHEMA, owner) {
        return Ok(());
    }
    let class = relation::lookup(extension::CATALOG_SCHEMA, catalog::INDEXES)?;
    transaction::lock_name(class, transaction::name_hash(&[DATA_SCHEMA.to_bytes()]));
    transaction::accept_invalidations();
    if access::may_create_in(DATA_SCHEMA, owner) {
        return Ok(()); // granted while we waited
    }
    let role = access::role_name(owner);
    access::as_role(data_schema_owner(owner), || {
        spi(Spi::run(&format!(
            "GRANT USAGE, CREATE ON SCHEMA conifer_data TO {role}"
        )))
    })
}

/// The owner of the schema of buckets and leaves, who created the extension.
fn data_schema_owner(otherwise: Oid) -> Oid {
    access::schema_owner(DATA_SCHEMA).unwrap_or(otherwise)
}

/// Runs one statement that answers no rows: that step of an operation. PostgreSQL's own errors pass through as they are.
pub fn run(step: StopPoint, statement: &str) -> Result<(), Error> {
    spi(Spi::run(statement))?;
    stop_point::after(step);
    Ok(())
}

fn spi<T>(result: Result<T, pgrx::spi::SpiError>) -> Result<T, Error> {
    result.map_err(|error| Error::Corrupted {
        what: error.to_string(),
    })
}

pub fn c_string(name: &str) -> std::ffi::CString {
    crate::pg::catalog::c_name(name)
}

fn quote(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}

fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}
