//! Reading records of one namespace by id, in the order of ids, or just counting them.
#![forbid(unsafe_code)]

use super::catalog::{self, Index, NamespaceRow};
use super::record::{Parts, Record};
use super::{Leaf, Reached, may_list, open_leaf, pin, reach, sql, usage};
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::heap::{self, Snapshot};
use crate::pg::leaf::{self, RecordReader};
use crate::pg::probe::Probe;
use crate::pg::relation::{LockMode, Relation};
use crate::pg::statistics;
use crate::pg::uncached::UncachedTable;

pub(super) const ALL: Parts = Parts {
    values: true,
    metadata: true,
};

/// The records of these ids, each once, in the order given; ids that are not there are left out.
pub fn fetch(index: &Index, namespace: &str, ids: &[&str]) -> Result<Vec<Record>, Error> {
    let mut seen = std::collections::HashSet::new();
    let ids: Vec<&str> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
    let leaf = match reach(
        index,
        namespace,
        LockMode::AccessShare,
        &[Privilege::Select],
    )? {
        Reached::Missing => return Ok(Vec::new()),
        Reached::Sql => return sql::fetch(index, namespace, &ids),
        Reached::Direct(leaf) => leaf,
    };
    let reader = RecordReader::new(&leaf.relation);
    let mut probe = open_probe(&leaf, namespace)?;
    let mut records = Vec::new();
    for id in ids {
        pgrx::check_for_interrupts!();
        let found = probe.find(id, |_, row| Record::from_stored(&reader.read(row)?, ALL));
        records.extend(found.transpose()?);
    }
    probe.finish();
    statistics::count_fetched(&leaf.relation, records.len());
    Ok(records)
}

/// Up to `limit` ids that begin with `prefix` and come after `after`, in C order, and whether there are more.
pub fn list(
    index: &Index,
    namespace: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<String>, bool), Error> {
    let leaf = match reach(
        index,
        namespace,
        LockMode::AccessShare,
        &[Privilege::Select],
    )? {
        Reached::Missing => return Ok((Vec::new(), false)),
        Reached::Sql => {
            let mut ids = sql::list(index, namespace, prefix, after, limit.saturating_add(1))?;
            let more = ids.len() > limit;
            ids.truncate(limit);
            return Ok((ids, more));
        }
        Reached::Direct(leaf) => leaf,
    };
    let reader = RecordReader::new(&leaf.relation);
    let mut probe = open_probe(&leaf, namespace)?;
    let (from, inclusive) = match after {
        Some(after) if after >= prefix => (after, false),
        _ => (prefix, true),
    };
    let (mut ids, mut more) = (Vec::new(), false);
    probe.walk(from, inclusive, |row| {
        let stored = reader.read(row)?;
        let begins = stored.id.starts_with(prefix);
        more = begins && ids.len() == limit;
        if begins && !more {
            ids.push(stored.id.into_owned());
        }
        Ok(begins && !more)
    })?;
    probe.finish();
    Ok((ids, more))
}

pub(super) fn open_probe<'l>(leaf: &'l Leaf, namespace: &str) -> Result<Probe<'l>, Error> {
    Ok(Probe::open(
        &leaf.relation,
        namespace,
        leaf.id_index,
        Snapshot::active(),
    ))
}

/// Up to `limit` namespaces the caller may see whose names begin with `prefix` and come after `after`, and whether there
/// are more.
pub fn visible_namespaces(
    index: &Index,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<NamespaceRow>, bool), Error> {
    if let Some(name) = pin::pinned()? {
        let is_asked = name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after);
        let row = catalog::find_namespace(index.root, &name)?.filter(|_| is_asked);
        return Ok(match row {
            Some(row) if may_list(index, &row)? => (vec![row], false),
            _ => (Vec::new(), false),
        });
    }
    let (mut rows, mut more, mut failure) = (Vec::new(), false, None);
    catalog::each_namespace(index.root, prefix, after, |row| {
        match may_list(index, &row) {
            Ok(false) => return true,
            Ok(true) => {}
            Err(error) => {
                failure = Some(error);
                return false;
            }
        }
        more = rows.len() == limit;
        if !more {
            rows.push(row);
        }
        !more
    })?;
    failure.map_or(Ok((rows, more)), Err)
}

/// What a namespace takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub records: u64,
    /// On disk: the leaf, its indexes and its TOAST table.
    pub bytes: u64,
    /// Of the leaf alone.
    pub table_bytes: u64,
}

/// Counts a namespace's records and bytes, holding its lock no longer than that takes; None if it is gone. This backend's caches keep nothing of it.
pub fn usage(index: &Index, row: &NamespaceRow) -> Result<Option<Usage>, Error> {
    let Some(table) = UncachedTable::lock(row.leaf) else {
        return Ok(None);
    };
    table.check_reach()?;
    let (table_bytes, bytes) = (table.bytes(), table.total_bytes());
    let records = if access::has_row_security(index.root) {
        sql::count(index, &row.name, None)?
    } else {
        let snapshot = Snapshot::active();
        match table.count(snapshot) {
            Some(records) => records,
            None => match Relation::try_open(row.leaf, LockMode::AccessShare) {
                Some(relation) if leaf::is_leaf(&relation) => heap::count(&relation, snapshot),
                _ => sql::count(index, &row.name, None)?,
            },
        }
    };
    Ok(Some(Usage {
        records,
        bytes,
        table_bytes,
    }))
}

/// What a namespace made in this command takes.
pub fn empty_usage(row: &NamespaceRow) -> Usage {
    let bytes = Relation::try_open(row.leaf, LockMode::AccessShare)
        .map_or(0, |relation| relation.total_bytes());
    Usage {
        bytes,
        ..Usage::default()
    }
}

/// Pinecone's price of a query.
pub fn read_units(index: &Index, namespace: &str) -> Result<f64, Error> {
    let leaf = open_leaf(index, namespace, LockMode::AccessShare)?;
    let bytes = leaf.map_or(0, |leaf| leaf.relation.total_bytes());
    Ok(usage::query_units(bytes))
}
