//! Records of one namespace by what their metadata says: counted, read in pages, tallied by a field, changed, deleted.
//!
//! A write that finds a row changed by a transaction that committed meanwhile looks at its newest version, and leaves it
//! alone if that no longer passes the filter, as PostgreSQL's own UPDATE and DELETE do.
#![forbid(unsafe_code)]

use super::catalog::Index;
use super::record::{MetadataChange, Record};
use super::search::matches;
use super::tally::Tally;
use super::write::{self, Buffers};
use super::{Leaf, Reached, limits, reach, read, sql};
use crate::am::teller::Tellers;
use crate::error::Error;
use crate::filter::Filter;
use crate::pg::access::Privilege;
use crate::pg::heap::fetch::Fetcher;
use crate::pg::heap::{self, Snapshot, Tid};
use crate::pg::id_sort::IdSort;
use crate::pg::json::{JsonbArg, JsonbOut};
use crate::pg::leaf::{METADATA, RecordReader, StoredRecord};
use crate::pg::relation::LockMode;
use crate::pg::transaction::{self, WriteSnapshot};
use crate::pg::writer::{Outcome, Writer};

/// What reading needs.
pub const READ: [Privilege; 1] = [Privilege::Select];

/// A filter, understood, beside its stored form, which a statement takes.
pub struct Condition<'a> {
    filter: Filter,
    stored: JsonbArg<'a>,
}

impl<'a> Condition<'a> {
    /// Parses it.
    pub fn new(stored: JsonbArg<'a>) -> Result<Self, Error> {
        let filter = Filter::parse(stored.payload())?;
        Ok(Self { filter, stored })
    }

    /// The same for what is about to change records: `{}`, which all pass, is refused.
    pub fn selective(stored: JsonbArg<'a>) -> Result<Self, Error> {
        let condition = Self::new(stored)?;
        if condition.filter.is_empty() {
            return Err(Error::ArgumentsDisagree {
                problem: "an empty filter matches every record".into(),
                hint: "Name a field in the filter. To delete all records of a namespace, give delete_all => true.",
            });
        }
        Ok(condition)
    }

    /// As an argument of a statement.
    pub fn to_datum(&self) -> JsonbOut {
        JsonbOut::from_payload(self.stored.payload())
    }

    fn holds(&self, stored: &StoredRecord<'_>) -> Result<bool, Error> {
        stored.with_metadata(|payload| matches(&self.filter, payload))
    }
}

/// How many records pass the filter, or there are. `privileges` are what the caller needs: to read, and what the count is for.
pub fn count(
    index: &Index,
    namespace: &str,
    condition: Option<&Condition<'_>>,
    privileges: &[Privilege],
) -> Result<u64, Error> {
    let leaf = match reach(index, namespace, LockMode::AccessShare, privileges)? {
        Reached::Missing => return Ok(0),
        Reached::Sql => return sql::count(index, namespace, condition),
        Reached::Direct(leaf) => leaf,
    };
    let snapshot = Snapshot::active();
    match condition {
        Some(condition) if !condition.filter.is_empty() => {
            let mut records = 0;
            each(&leaf, snapshot, Some(condition), |_, _| {
                records += 1;
                Ok(())
            })?;
            Ok(records)
        }
        _ => Ok(heap::count(&leaf.relation, snapshot)),
    }
}

/// Up to `limit` records that pass and whose ids come after `after`, in C order of ids, and whether there are more.
pub fn page(
    index: &Index,
    namespace: &str,
    condition: &Condition<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Record>, bool), Error> {
    let leaf = match reach(index, namespace, LockMode::AccessShare, &READ)? {
        Reached::Missing => return Ok((Vec::new(), false)),
        Reached::Sql => {
            let mut records = sql::page_matching(index, namespace, condition, after, limit + 1)?;
            let more = records.len() > limit;
            records.truncate(limit);
            return Ok((records, more));
        }
        Reached::Direct(leaf) => leaf,
    };
    let reader = RecordReader::new(&leaf.relation);
    let mut probe = read::open_probe(&leaf, namespace)?;
    let (mut records, mut more) = (Vec::new(), false);
    probe.walk(after.unwrap_or_default(), after.is_none(), |row| {
        let stored = reader.read(row)?;
        if condition.holds(&stored)? {
            more = records.len() == limit;
            if !more {
                records.push(Record::from_stored(&stored, read::ALL)?);
            }
        }
        Ok(!more)
    })?;
    probe.finish();
    Ok((records, more))
}

/// Up to `limit` values of a field as JSON, each with how many of the records that pass have it; see [`Tally::top`] for their order.
pub fn facets(
    index: &Index,
    namespace: &str,
    field: &str,
    condition: Option<&Condition<'_>>,
    limit: usize,
) -> Result<Vec<(String, u64)>, Error> {
    let mut tally = Tally::new(field);
    match reach(index, namespace, LockMode::AccessShare, &READ)? {
        Reached::Missing => {}
        Reached::Sql => {
            sql::each_metadata(index, namespace, condition, |metadata| tally.add(metadata))?
        }
        Reached::Direct(leaf) => {
            each(&leaf, Snapshot::active(), condition, |_, stored| {
                stored.with_metadata(|metadata| tally.add(metadata))
            })?;
        }
    }
    tally.top(limit)
}

/// Changes the metadata of the records that pass. Answers how many.
pub fn update(
    index: &Index,
    namespace: &str,
    condition: &Condition<'_>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    let reached = reach(index, namespace, LockMode::RowExclusive, &write::UPDATE)?;
    limits::within_bytes(index, namespace, || match reached {
        Reached::Missing => Ok(0),
        Reached::Sql => sql::update_matching(index, namespace, condition, change),
        Reached::Direct(leaf) => update_directly(&leaf, namespace, condition, change),
    })
}

fn update_directly(
    leaf: &Leaf,
    namespace: &str,
    condition: &Condition<'_>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    leaf.relation.check_replica_identity(true);
    let reader = RecordReader::new(&leaf.relation);
    let mut new = Buffers::default();
    write_passing(leaf, namespace, condition, |writer, tid| {
        writer.update(tid, |row| {
            let stored = reader.read(row)?;
            if !condition.holds(&stored)? {
                return Ok(None);
            }
            new.fill(&stored, None, change)?;
            Ok(Some(new.record()))
        })
    })
}

/// Deletes the records that pass. Answers how many.
pub fn delete(index: &Index, namespace: &str, condition: &Condition<'_>) -> Result<u64, Error> {
    let leaf = match reach(index, namespace, LockMode::RowExclusive, &write::DELETE)? {
        Reached::Missing => return Ok(0),
        Reached::Sql => return sql::delete_matching(index, namespace, condition),
        Reached::Direct(leaf) => leaf,
    };
    leaf.relation.check_replica_identity(false);
    let reader = RecordReader::new(&leaf.relation);
    write_passing(&leaf, namespace, condition, |writer, tid| {
        writer.delete(tid, |row| condition.holds(&reader.read(row)?))
    })
}

/// Writes the rows that pass as one command, which sees what came before it and nothing of its own. In the order of ids, as batches
/// by id are written: two writers of the same records wait for each other and do not deadlock. Answers how many were written.
fn write_passing(
    leaf: &Leaf,
    namespace: &str,
    condition: &Condition<'_>,
    mut write: impl FnMut(&mut Writer<'_>, Tid) -> Result<Outcome, Error>,
) -> Result<u64, Error> {
    let snapshot = WriteSnapshot::push();
    let mut passing = IdSort::begin();
    each(leaf, snapshot.get(), Some(condition), |place, stored| {
        passing.put(&stored.id, place);
        Ok(())
    })?;
    let mut writer = write::open_writer(leaf, namespace, &snapshot)?;
    let mut written = 0;
    passing.each(|place| {
        written += u64::from(write(&mut writer, place)? == Outcome::Done);
        Ok::<(), Error>(())
    })?;
    writer.finish();
    drop(snapshot);
    transaction::increment_command();
    Ok(written)
}

/// Shows every record that passes and where it lies. Rows may be written meanwhile: new versions are not seen, and versions that
/// the snapshot sees stay where they are.
fn each(
    leaf: &Leaf,
    snapshot: Snapshot<'_>,
    condition: Option<&Condition<'_>>,
    mut show: impl FnMut(Tid, &StoredRecord<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (table, reader) = (&leaf.relation, RecordReader::new(&leaf.relation));
    let mut look_at = |tid, row: &[u8]| {
        let stored = reader.read(row)?;
        match condition {
            Some(condition) if !condition.holds(&stored)? => Ok(()),
            _ => show(tid, &stored),
        }
    };
    // One row of a page costs about as much to read by its place as all of them one after the other.
    let pages = table.blocks();
    let matching = condition.and_then(|asked| {
        let tellers = Tellers::of(table, pages, &asked.filter, METADATA)?;
        tellers.matching(pages as usize)
    });
    match matching {
        Some((_, mut places)) => {
            places.sort_unstable();
            Fetcher::new(table, pages, snapshot).fetch(&places, |_, tid, row| look_at(tid, row))
        }
        None => heap::scan(table, snapshot, look_at),
    }
}
