//! Copying a namespace: its records as one snapshot sees them, into a table without indexes that becomes the new leaf when all are there. So the indexes
//! are built, not filled row by row.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::locks::{lock_namespace, lock_root};
use super::record::Record;
use super::{
    Leaf, Reached, denied, limits, make_room, may, partition, reach, read, sql, unknown, write,
};
use crate::error::Error;
use crate::metric::Metric;
use crate::pg::access::{self, Privilege};
use crate::pg::heap;
use crate::pg::leaf::{self, COLUMNS, RecordReader};
use crate::pg::relation::{self, LockMode, Relation};
use crate::pg::stop_point;
use crate::pg::transaction::{self, WriteSnapshot};
use crate::pg::writer::{NewRecord, Writer};
use crate::stop_point::StopPoint;

/// Records read before they are written together.
const BATCH: usize = 256;

/// A namespace, of an index and with its canonical name.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub index: &'a Index,
    pub namespace: &'a str,
}

/// Copies all records of a namespace that the caller may see to a new one, of the same index or another of its dimension. Answers how many. Needs SELECT on
/// the one, and INSERT on the index of the other.
pub fn copy_namespace(from: Place<'_>, to: Place<'_>) -> Result<u64, Error> {
    if from.index.dimension != to.index.dimension {
        return Err(Error::DimensionMismatch {
            expected: to.index.dimension,
            actual: from.index.dimension,
        });
    }
    if !access::has_privileges(to.index.root, &[Privilege::Insert]) {
        return Err(denied(to.index));
    }
    lock_root(from.index)?;
    lock_root(to.index)?;
    partition::prepare(to.index)?;
    // Names before leaves: who renames the source to this name has both, and waits for the leaf.
    lock_namespace(to.index, to.namespace)?;
    let select = [Privilege::Select];
    let source = reach(from.index, from.namespace, LockMode::AccessShare, &select)?;
    if matches!(source, Reached::Missing) {
        return Err(unknown(from.index, from.namespace));
    }
    make_room(to.index, to.namespace)?;
    let plainly = may(to.index, None, &[Privilege::Insert])
        && !relation::has_triggers_or_rules(to.index.root);
    let (Reached::Direct(leaf), true) = (source, plainly) else {
        return copy_by_sql(from, to);
    };
    let table = partition::create_detached(to.index)?;
    let target = Relation::try_open(table, LockMode::AccessExclusive)
        .filter(|target| leaf::is_leaf(target) && target.is_plain(COLUMNS));
    let Some(target) = target else {
        partition::drop_leaf(to.index, table)?;
        return copy_by_sql(from, to);
    };
    let copied = copy_rows(&leaf, to, &target)?;
    stop_point::after(StopPoint::RowsCopied);
    drop(target);
    partition::attach_leaf(to.index, table, to.namespace)?;
    catalog::insert_namespace(to.index.root, to.namespace, table)?;
    limits::check_new(to.index, to.namespace)?;
    Ok(copied)
}

fn copy_by_sql(from: Place<'_>, to: Place<'_>) -> Result<u64, Error> {
    partition::create_leaf(to.index, to.namespace)?;
    transaction::increment_command();
    let copied = sql::copy(from, to)?;
    limits::check_new(to.index, to.namespace)?;
    Ok(copied)
}

fn copy_rows(leaf: &Leaf, to: Place<'_>, target: &Relation) -> Result<u64, Error> {
    // An upsert would have refused what the other metric takes.
    let checks_zeros = to.index.metric == Metric::Cosine;
    let reader = RecordReader::new(&leaf.relation);
    let snapshot = WriteSnapshot::push();
    let mut writer = Writer::open(target, to.namespace, None, snapshot.get());
    let mut batch: Vec<Record> = Vec::with_capacity(BATCH);
    let mut copied = 0;
    heap::scan(&leaf.relation, snapshot.get(), |_, row| {
        let record = Record::from_stored(&reader.read(row)?, read::ALL)?;
        if checks_zeros && let Some(values) = &record.values {
            write::check_vector(to.index, values)?;
        }
        batch.push(record);
        if batch.len() == BATCH {
            append(&mut writer, &mut batch);
        }
        copied += 1;
        Ok(())
    })?;
    append(&mut writer, &mut batch);
    writer.finish();
    drop(snapshot);
    transaction::increment_command();
    Ok(copied)
}

fn append(writer: &mut Writer<'_>, batch: &mut Vec<Record>) {
    let records: Vec<_> = batch
        .iter()
        .map(|record| NewRecord {
            id: &record.id,
            values: record.values.as_deref(),
            metadata: record.metadata.as_deref(),
        })
        .collect();
    writer.append(&records);
    batch.clear();
}
