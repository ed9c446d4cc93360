//! Writing records of one namespace: upsert, update, delete by id. Each call is all or nothing.
#![forbid(unsafe_code)]

use super::catalog::Index;
use super::limits::{self, Written};
use super::record::MetadataChange;
use super::{Leaf, Reached, reach, reach_or_create, sql};
use crate::error::Error;
use crate::metric::Metric;
use crate::pg::access::Privilege;
use crate::pg::leaf::{RecordReader, StoredRecord};
use crate::pg::probe::Probe;
use crate::pg::relation::LockMode;
use crate::pg::transaction::{self, WriteSnapshot};
use crate::pg::writer::{NewRecord, Outcome, Writer};

/// What an upsert needs: it inserts, it replaces, and it looks which of the two.
const UPSERT: [Privilege; 3] = [Privilege::Select, Privilege::Insert, Privilege::Update];
pub const UPDATE: [Privilege; 2] = [Privilege::Select, Privilege::Update];
pub const DELETE: [Privilege; 2] = [Privilege::Select, Privilege::Delete];

/// Refuses a vector the index cannot hold.
pub fn check_vector(index: &Index, vector: &[f32]) -> Result<(), Error> {
    if vector.len() != index.dimension {
        return Err(Error::DimensionMismatch {
            expected: index.dimension,
            actual: vector.len(),
        });
    }
    if index.metric == Metric::Cosine && vector.iter().all(|&element| element == 0.0) {
        return Err(Error::ZeroVector);
    }
    Ok(())
}

/// Inserts or replaces checked records; of several with one id the last counts. Answers how many were written.
pub fn upsert(index: &Index, namespace: &str, records: Vec<NewRecord<'_>>) -> Result<u64, Error> {
    if records.is_empty() {
        return Ok(0);
    }
    let records = last_of_each_id(records);
    let reached = reach_or_create(index, namespace, &UPSERT)?;
    limits::within(index, namespace, || match reached {
        Reached::Direct(leaf) => upsert_directly(&leaf, namespace, &records),
        _ => Ok(Written {
            records: sql::upsert(index, namespace, &records)?,
            inserted: true,
        }),
    })
}

fn upsert_directly(
    leaf: &Leaf,
    namespace: &str,
    records: &[NewRecord<'_>],
) -> Result<Written, Error> {
    let snapshot = WriteSnapshot::push();
    let mut writer = open_writer(leaf, namespace, &snapshot)?;
    writer.upsert_all(namespace, leaf.id_index, records)?;
    let inserted = writer.inserted() > 0;
    writer.finish();
    drop(snapshot);
    transaction::increment_command();
    Ok(Written {
        records: records.len() as u64,
        inserted,
    })
}

/// In the order of ids: two batches that share ids then lock them in one order and do not deadlock.
fn last_of_each_id(mut records: Vec<NewRecord<'_>>) -> Vec<NewRecord<'_>> {
    records.reverse(); // the sort is stable and dedup keeps the first
    sort_by_id(&mut records, |record| record.id);
    records.dedup_by_key(|record| record.id);
    records
}

/// A stable sort that can be interrupted: a batch may have millions.
fn sort_by_id<T>(items: &mut [T], id: impl for<'t> Fn(&'t T) -> &'t str) {
    const BETWEEN_LOOKS: u32 = 8192;
    let mut compared = 0u32;
    items.sort_by(|a, b| {
        compared = compared.wrapping_add(1);
        if compared.is_multiple_of(BETWEEN_LOOKS) {
            pgrx::check_for_interrupts!();
        }
        id(a).cmp(id(b))
    });
}

/// Replaces the vector and changes the metadata of a record. Answers 1, or 0 if there is no such record.
pub fn update(
    index: &Index,
    namespace: &str,
    id: &str,
    vector: Option<&[f32]>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    let reached = reach(index, namespace, LockMode::RowExclusive, &UPDATE)?;
    limits::within_bytes(index, namespace, || match reached {
        Reached::Missing => Ok(0),
        Reached::Sql => sql::update(index, namespace, id, vector, change),
        Reached::Direct(leaf) => update_directly(&leaf, namespace, id, vector, change),
    })
}

fn update_directly(
    leaf: &Leaf,
    namespace: &str,
    id: &str,
    vector: Option<&[f32]>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    let snapshot = WriteSnapshot::push();
    leaf.relation.check_replica_identity(true);
    let mut writer = open_writer(leaf, namespace, &snapshot)?;
    let reader = RecordReader::new(&leaf.relation);
    let mut buffers = Buffers::default();
    let written = match find(leaf, namespace, id, &snapshot)? {
        None => 0,
        Some(tid) => {
            let outcome = writer.update(tid, |row| {
                let stored = reader.read(row)?;
                if stored.id != id {
                    return Ok(None); // renamed by a concurrent UPDATE
                }
                buffers.fill(&stored, vector, change)?;
                Ok(Some(buffers.record()))
            })?;
            u64::from(outcome == Outcome::Done)
        }
    };
    writer.finish();
    drop(snapshot);
    transaction::increment_command();
    Ok(written)
}

/// The new version of an updated record.
#[derive(Default)]
pub struct Buffers {
    id: String,
    values: Option<Vec<f32>>,
    metadata: Option<Vec<u8>>,
}

impl Buffers {
    /// From the old version, its vector replaced if there is another.
    pub fn fill(
        &mut self,
        stored: &StoredRecord<'_>,
        vector: Option<&[f32]>,
        change: &MetadataChange<'_>,
    ) -> Result<(), Error> {
        (*stored.id).clone_into(&mut self.id);
        self.values = match vector {
            Some(vector) => Some(vector.to_vec()),
            None => stored.with_values(<[f32]>::to_vec)?,
        };
        self.metadata = stored.with_metadata(|old| change.apply(old))?;
        Ok(())
    }

    /// To be written.
    pub fn record(&self) -> NewRecord<'_> {
        NewRecord {
            id: &self.id,
            values: self.values.as_deref(),
            metadata: self.metadata.as_deref(),
        }
    }
}

/// Deletes the records of these ids. Answers how many there were.
pub fn delete(index: &Index, namespace: &str, mut ids: Vec<&str>) -> Result<u64, Error> {
    sort_by_id(&mut ids, |id| *id);
    ids.dedup();
    let leaf = match reach(index, namespace, LockMode::RowExclusive, &DELETE)? {
        Reached::Missing => return Ok(0),
        Reached::Sql => return sql::delete(index, namespace, &ids),
        Reached::Direct(leaf) => leaf,
    };
    let snapshot = WriteSnapshot::push();
    leaf.relation.check_replica_identity(false);
    let mut writer = open_writer(&leaf, namespace, &snapshot)?;
    let reader = RecordReader::new(&leaf.relation);
    let mut deleted = 0;
    for id in ids {
        pgrx::check_for_interrupts!();
        if let Some(tid) = find(&leaf, namespace, id, &snapshot)? {
            let outcome = writer.delete(tid, |row| Ok(reader.read(row)?.id == id))?;
            deleted += u64::from(outcome == Outcome::Done);
        }
    }
    writer.finish();
    drop(snapshot);
    transaction::increment_command();
    Ok(deleted)
}

pub(super) fn open_writer<'r>(
    leaf: &'r Leaf,
    namespace: &str,
    snapshot: &'r WriteSnapshot,
) -> Result<Writer<'r>, Error> {
    Ok(Writer::open(
        &leaf.relation,
        namespace,
        Some(leaf.id_index),
        snapshot.get(),
    ))
}

fn find(
    leaf: &Leaf,
    namespace: &str,
    id: &str,
    snapshot: &WriteSnapshot,
) -> Result<Option<crate::pg::heap::Tid>, Error> {
    let mut probe = Probe::open(&leaf.relation, namespace, leaf.id_index, snapshot.get());
    let found = probe.find(id, |tid, _| tid);
    probe.finish();
    Ok(found)
}
