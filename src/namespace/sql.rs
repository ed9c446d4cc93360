//! The same operations as statements on the root table, with the caller's rights: the way taken where row security,
//! triggers, constraints, further columns or rights on single columns play a part. PostgreSQL plans and checks all of it.
//! Every name and operator is qualified: the caller's search path decides nothing.
#![forbid(unsafe_code)]

use super::by_filter::Condition;
use super::catalog::Index;
use super::copy::Place;
use super::gone;
use super::record::{MetadataChange, Query, Rank, Record};
use crate::error::Error;
use crate::pg::json::JsonbOut;
use crate::pg::relation::{LockMode, Oid, Relation};
use crate::pg::vector_datum::VectorOut;
use crate::pg::writer::NewRecord;
use crate::pg::{extension, relation, spi_row};
use pgrx::Spi;
use pgrx::datum::DatumWithOid;
use pgrx::spi::{SpiError, SpiHeapTupleData};
use std::collections::HashMap;

/// Rows read beyond k: the operator's f32 distances may order near ties otherwise than the exact scores do.
const SLACK: usize = 32;

/// Inserts or replaces the records one by one. Answers how many were written: a trigger may keep some out.
pub fn upsert(index: &Index, namespace: &str, records: &[NewRecord<'_>]) -> Result<u64, Error> {
    let root = root(index)?;
    let statement = format!(
        "INSERT INTO {root} (namespace, id, \"values\", metadata) VALUES ($1, $2, $3, $4)
         ON CONFLICT (namespace, id) DO UPDATE
         SET \"values\" = EXCLUDED.\"values\", metadata = EXCLUDED.metadata"
    );
    let mut written = 0;
    for record in records {
        pgrx::check_for_interrupts!();
        let values = record.values.map(VectorOut::from_slice);
        let metadata = record.metadata.map(JsonbOut::from_payload);
        written += execute(
            &statement,
            &[
                namespace.into(),
                record.id.into(),
                values.into(),
                metadata.into(),
            ],
        )?;
    }
    Ok(written)
}

/// Copies the records that the caller sees to a namespace that is there and empty, within an index with all columns it has. Answers how many.
pub fn copy(from: Place<'_>, to: Place<'_>) -> Result<u64, Error> {
    let (source, target) = (root(from.index)?, root(to.index)?);
    let mut columns = ["id", "\"values\"", "metadata"].map(String::from).to_vec();
    if from.index.root == to.index.root
        && let Some(root) = Relation::try_open(to.index.root, LockMode::AccessShare)
    {
        let further = root.columns_given().into_iter();
        columns.extend(
            further
                .skip(columns.len() + 1)
                .map(pgrx::spi::quote_identifier),
        );
    }
    let columns = columns.join(", ");
    execute(
        &format!(
            "INSERT INTO {target} (namespace, {columns})
             SELECT $2, {columns} FROM {source} WHERE namespace OPERATOR(pg_catalog.=) $1"
        ),
        &[from.namespace.into(), to.namespace.into()],
    )
}

/// Replaces the vector and changes metadata of one record.
pub fn update(
    index: &Index,
    namespace: &str,
    id: &str,
    vector: Option<&[f32]>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    let statement = format!(
        "UPDATE {} SET \"values\" = COALESCE($3, \"values\"), metadata = {}.pc_merge_metadata(metadata, $4, $5)
          WHERE namespace OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) $2",
        root(index)?,
        extension::schema()?
    );
    let values = vector.map(VectorOut::from_slice);
    execute(
        &statement,
        &[
            namespace.into(),
            id.into(),
            values.into(),
            change.set().into(),
            change.remove().into(),
        ],
    )
}

/// Changes the metadata of the records that pass.
pub fn update_matching(
    index: &Index,
    namespace: &str,
    condition: &Condition<'_>,
    change: &MetadataChange<'_>,
) -> Result<u64, Error> {
    let schema = extension::schema()?;
    let statement = format!(
        "UPDATE {} SET metadata = {schema}.pc_merge_metadata(metadata, $3, $4)
          WHERE namespace OPERATOR(pg_catalog.=) $1 AND {schema}.pc_matches(metadata, $2)",
        root(index)?
    );
    execute(
        &statement,
        &[
            namespace.into(),
            condition.to_datum().into(),
            change.set().into(),
            change.remove().into(),
        ],
    )
}

/// Deletes the records that pass.
pub fn delete_matching(
    index: &Index,
    namespace: &str,
    condition: &Condition<'_>,
) -> Result<u64, Error> {
    let statement = format!(
        "DELETE FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND {}.pc_matches(metadata, $2)",
        root(index)?,
        extension::schema()?
    );
    execute(&statement, &[namespace.into(), condition.to_datum().into()])
}

/// Deletes the records of these ids.
pub fn delete(index: &Index, namespace: &str, ids: &[&str]) -> Result<u64, Error> {
    let statement = format!(
        "DELETE FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) ANY ($2)",
        root(index)?
    );
    execute(&statement, &[namespace.into(), owned(ids).into()])
}

/// Deletes every record the caller may delete; the namespace stays.
pub fn delete_all(index: &Index, namespace: &str) -> Result<u64, Error> {
    let statement = format!(
        "DELETE FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1",
        root(index)?
    );
    execute(&statement, &[namespace.into()])
}

/// Deletes every record of a leaf, whose triggers fire. It stays.
pub fn empty_leaf(index: &Index, leaf: Oid) -> Result<u64, Error> {
    let leaf = relation::qualified_name(leaf).ok_or_else(|| gone(index))?;
    execute(&format!("DELETE FROM ONLY {leaf}"), &[])
}

/// The records of these ids, in the order of `ids`.
pub fn fetch(index: &Index, namespace: &str, ids: &[&str]) -> Result<Vec<Record>, Error> {
    let statement = format!(
        "SELECT id::pg_catalog.text, \"values\", metadata FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.=) ANY ($2)",
        root(index)?
    );
    let mut records = query_records(&statement, &[namespace.into(), owned(ids).into()])?;
    let places: HashMap<&str, usize> = ids
        .iter()
        .zip(0..)
        .map(|(id, place)| (*id, place))
        .collect();
    records.sort_by_key(|record| places.get(record.id.as_str()).copied());
    Ok(records)
}

/// Ids in C order.
pub fn list(
    index: &Index,
    namespace: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let statement = format!(
        "SELECT id::pg_catalog.text, NULL::{}, NULL::pg_catalog.jsonb FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND pg_catalog.starts_with(id, $2)
            AND ($3::pg_catalog.text IS NULL OR id OPERATOR(pg_catalog.>) $3 COLLATE pg_catalog.\"C\")
          ORDER BY id LIMIT $4",
        vector_type()?,
        root(index)?
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let records = query_records(
        &statement,
        &[namespace.into(), prefix.into(), after.into(), limit.into()],
    )?;
    Ok(records.into_iter().map(|record| record.id).collect())
}

/// Records that pass, in C order of ids.
pub fn page_matching(
    index: &Index,
    namespace: &str,
    condition: &Condition<'_>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Record>, Error> {
    let statement = format!(
        "SELECT id::pg_catalog.text, \"values\", metadata FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND {}.pc_matches(metadata, $2)
            AND ($3::pg_catalog.text IS NULL OR id OPERATOR(pg_catalog.>) $3 COLLATE pg_catalog.\"C\")
          ORDER BY id LIMIT $4",
        root(index)?,
        extension::schema()?
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let filter = condition.to_datum();
    query_records(
        &statement,
        &[namespace.into(), filter.into(), after.into(), limit.into()],
    )
}

/// Shows the metadata of each record that passes, some rows at a time.
pub fn each_metadata(
    index: &Index,
    namespace: &str,
    condition: Option<&Condition<'_>>,
    mut each: impl FnMut(Option<&[u8]>) -> Result<(), Error>,
) -> Result<(), Error> {
    const AT_ONCE: i64 = 1000;
    let (passes, arguments) = narrowed(namespace, condition)?;
    let statement = format!("SELECT metadata FROM {} WHERE {passes}", root(index)?);
    Spi::connect(|client| {
        let mut cursor = spi(client.try_open_cursor(&statement, &arguments))?;
        loop {
            pgrx::check_for_interrupts!();
            let rows = spi(cursor.fetch(AT_ONCE))?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                each(spi(spi_row::jsonb(&row, 1))?.as_deref())?;
            }
        }
    })
}

/// Records the caller may see, of those that pass.
pub fn count(
    index: &Index,
    namespace: &str,
    condition: Option<&Condition<'_>>,
) -> Result<u64, Error> {
    let (passes, arguments) = narrowed(namespace, condition)?;
    let statement = format!(
        "SELECT pg_catalog.count(*) FROM {} WHERE {passes}",
        root(index)?
    );
    // Not get_one_with_args, which takes a transaction id: a standby has none to give.
    let rows: Option<i64> = spi(Spi::connect(|client| {
        client
            .select(&statement, Some(1), &arguments)?
            .first()
            .get_one()
    }))?;
    Ok(rows.unwrap_or_default() as u64)
}

/// A WHERE clause for a namespace's records that pass, and its arguments.
fn narrowed<'a>(
    namespace: &'a str,
    condition: Option<&Condition<'_>>,
) -> Result<(String, Vec<DatumWithOid<'a>>), Error> {
    let mut passes = "namespace OPERATOR(pg_catalog.=) $1".to_owned();
    let mut arguments = vec![namespace.into()];
    if let Some(condition) = condition {
        passes += &format!(" AND {}.pc_matches(metadata, $2)", extension::schema()?);
        arguments.push(condition.to_datum().into());
    }
    Ok((passes, arguments))
}

/// Does the caller see any record there?
pub fn has_records(index: &Index, namespace: &str) -> Result<bool, Error> {
    let statement = format!(
        "SELECT FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 LIMIT 1",
        root(index)?
    );
    let arguments = [namespace.into()];
    spi(Spi::connect(|client| {
        let rows = client.select(&statement, Some(1), &arguments)?;
        Ok(!rows.is_empty())
    }))
}

/// The best records the caller may see with their keys, ordered by the operator and then exactly.
pub fn top_k(
    index: &Index,
    namespace: &str,
    query: &Query<'_>,
) -> Result<Vec<(f64, Record)>, Error> {
    let schema = extension::schema()?;
    let operator = index.metric.operator();
    let filter = match query.filter_jsonb {
        Some(_) => format!("AND {schema}.pc_matches(metadata, $4)"),
        None => String::new(),
    };
    let statement = format!(
        "SELECT id::pg_catalog.text, \"values\", metadata FROM {} WHERE namespace OPERATOR(pg_catalog.=) $1 AND \"values\" IS NOT NULL {filter}
          ORDER BY \"values\" OPERATOR({schema}.{operator}) $2, id LIMIT $3",
        root(index)?
    );
    let limit = (query.k + SLACK) as i64;
    let vector = VectorOut::from_slice(query.scorer.query());
    let mut arguments: Vec<DatumWithOid<'_>> = vec![namespace.into(), vector.into(), limit.into()];
    if let Some(filter) = query.filter_jsonb {
        arguments.push(JsonbOut::from_payload(filter).into());
    }
    let records = query_records(&statement, &arguments)?;
    let mut ranked: Vec<(Rank, f64, Record)> = records
        .into_iter()
        .map(|record| {
            let key = record
                .values
                .as_deref()
                .map_or(f64::NAN, |vector| query.scorer.exact(vector));
            (Rank::new(key), key, record)
        })
        .collect();
    ranked.sort_by(|a, b| (a.0, &a.2.id).cmp(&(b.0, &b.2.id)));
    ranked.truncate(query.k);
    Ok(ranked
        .into_iter()
        .map(|(_, key, mut record)| {
            record.values = record.values.filter(|_| query.parts.values);
            record.metadata = record.metadata.filter(|_| query.parts.metadata);
            (key, record)
        })
        .collect())
}

fn root(index: &Index) -> Result<String, Error> {
    relation::qualified_name(index.root).ok_or_else(|| Error::UnknownIndex {
        name: index.name.clone(),
    })
}

fn vector_type() -> Result<String, Error> {
    Ok(format!("{}.vector", extension::schema()?))
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn execute(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<u64, Error> {
    spi(Spi::connect_mut(|client| {
        client
            .update(statement, None, arguments)
            .map(|rows| rows.len() as u64)
    }))
}

/// Rows of (id, vector, metadata) by the active snapshot, as a stable function reads.
fn query_records(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<Vec<Record>, Error> {
    spi(Spi::connect(|client| {
        client
            .select(statement, None, arguments)?
            .map(record)
            .collect()
    }))
}

fn record(row: SpiHeapTupleData<'_>) -> Result<Record, SpiError> {
    let (id, values, metadata) = spi_row::columns(&row)?;
    Ok(Record {
        id,
        values,
        metadata,
    })
}

fn spi<T>(result: Result<T, SpiError>) -> Result<T, Error> {
    result.map_err(|error| Error::Corrupted {
        what: error.to_string(),
    })
}
