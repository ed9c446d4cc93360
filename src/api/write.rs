//! Writing records: upsert, update, delete.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required, texts};
use super::filter::metadata_change;
use crate::error::Error;
use crate::namespace::by_filter::{self, Condition};
use crate::namespace::catalog::Index;
use crate::namespace::{self, Dropped, sql, write};
use crate::pg::access;
use crate::pg::array::VectorArrayArg;
use crate::pg::json::{JsonbArg, JsonbArrayArg, JsonbOut};
use crate::pg::report::OrReport;
use crate::pg::transaction;
use crate::pg::vector_datum::VectorArg;
use crate::pg::writer::NewRecord;
use crate::record::{json, jsonb, metadata, rules};
use crate::vector::parse_text;
use pgrx::{Array, default, pg_extern};

#[pg_extern(name = "pc_upsert", volatile, parallel_unsafe)]
fn pc_upsert_json(
    index: Option<&str>,
    namespace: Option<&str>,
    vectors: Option<JsonbArg<'_>>,
) -> i64 {
    let upsert = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_upsert()");
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let vectors = required(vectors, "vectors")?;
        let texts = texts_of_records(vectors)?;
        let parsed = match &texts {
            Texts::Whole(text) => json::parse_records(text)?,
            Texts::Each(texts) => {
                let texts = interruptible(texts.iter()).zip(1..);
                let records = texts.map(|(text, position)| json::parse_record(position, text));
                records.collect::<Result<_, Error>>()?
            }
        };
        let metadata: Vec<Option<JsonbOut>> = interruptible(parsed.iter())
            .map(|record| record.metadata.map(JsonbOut::from_text))
            .collect();
        let records = parsed
            .iter()
            .zip(&metadata)
            .map(|(record, metadata)| NewRecord {
                id: &record.id,
                values: Some(&record.values),
                metadata: metadata.as_ref().map(JsonbOut::payload),
            })
            .collect();
        checked_upsert(&index, &namespace, records)
    };
    upsert().or_report() as i64
}

/// The JSON of an upsert as text.
enum Texts {
    /// One record, or what is no record.
    Whole(String),
    /// The elements of an array.
    Each(Vec<String>),
}

/// An array is taken apart before it is made text, so that the call can be interrupted.
fn texts_of_records(vectors: JsonbArg<'_>) -> Result<Texts, Error> {
    Ok(match jsonb::parse(vectors.payload())? {
        jsonb::Value::Array(array) => {
            let elements = interruptible(0..array.len());
            Texts::Each(
                elements
                    .map(|number| vectors.element_text(number))
                    .collect(),
            )
        }
        _ => Texts::Whole(vectors.to_text()),
    })
}

/// The same items, with a look at interrupts before each.
fn interruptible<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.inspect(|_| {
        pgrx::check_for_interrupts!();
    })
}

#[pg_extern(name = "pc_upsert", volatile, parallel_unsafe)]
fn pc_upsert_one(
    index: Option<&str>,
    namespace: Option<&str>,
    id: Option<&str>,
    vector: Option<VectorArg<'_>>,
    metadata: default!(Option<JsonbArg<'_>>, "NULL"),
) -> i64 {
    let upsert = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_upsert()");
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let vector = required(vector, "vector")?;
        let record = NewRecord {
            id: required(id, "id")?,
            values: Some(vector.elements()),
            metadata: metadata.map(JsonbArg::payload),
        };
        checked_upsert(&index, &namespace, vec![record])
    };
    upsert().or_report() as i64
}

/// The same with vector and metadata as text: what untyped literals resolve to. With the two typed forms alone
/// PostgreSQL could not choose between a vector and an array of vectors.
#[pg_extern(name = "pc_upsert", volatile, parallel_unsafe)]
fn pc_upsert_text(
    index: Option<&str>,
    namespace: Option<&str>,
    id: Option<&str>,
    vector: Option<&str>,
    metadata: default!(Option<&str>, "NULL"),
) -> i64 {
    let upsert = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_upsert()");
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let vector = parse_text(required(vector, "vector")?, None)?;
        let metadata = metadata.map(JsonbOut::from_text);
        let record = NewRecord {
            id: required(id, "id")?,
            values: Some(&vector),
            metadata: metadata.as_ref().map(JsonbOut::payload),
        };
        checked_upsert(&index, &namespace, vec![record])
    };
    upsert().or_report() as i64
}

#[pg_extern(name = "pc_upsert", volatile, parallel_unsafe)]
fn pc_upsert_arrays(
    index: Option<&str>,
    namespace: Option<&str>,
    ids: Option<Array<'_, &str>>,
    vectors: Option<VectorArrayArg<'_>>,
    metadata: default!(Option<JsonbArrayArg<'_>>, "NULL"),
) -> i64 {
    let upsert = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_upsert()");
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let (ids, vectors) = (required(ids, "ids")?, required(vectors, "vectors")?);
        same_length("vectors", vectors.len(), ids.len())?;
        if let Some(metadata) = &metadata {
            same_length("metadata", metadata.len(), ids.len())?;
        }
        let mut records = Vec::with_capacity(ids.len());
        for (i, id) in interruptible(ids.iter().enumerate()) {
            let record = || -> Result<_, Error> {
                Ok(NewRecord {
                    id: required(id, "id")?,
                    values: Some(required(vectors.get(i), "vector")?),
                    metadata: metadata.as_ref().and_then(|metadata| metadata.get(i)),
                })
            };
            records.push(record().map_err(|error| of_record(i, id, error))?);
        }
        checked_upsert(&index, &namespace, records)
    };
    upsert().or_report() as i64
}

#[pg_extern(volatile, parallel_unsafe)]
#[expect(
    clippy::too_many_arguments,
    reason = "the named arguments of Pinecone's update"
)]
fn pc_update(
    index: Option<&str>,
    namespace: Option<&str>,
    id: default!(Option<&str>, "NULL"),
    vector: default!(Option<VectorArg<'_>>, "NULL"),
    set_metadata: default!(Option<JsonbArg<'_>>, "NULL"),
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
    remove_metadata: default!(Option<Array<'_, &str>>, "NULL"),
    dry_run: default!(Option<bool>, "false"),
) -> i64 {
    let update = || -> Result<u64, Error> {
        let dry_run = dry_run.unwrap_or(false);
        if !dry_run {
            transaction::begin_write(c"pc_update()");
        }
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let change = metadata_change(set_metadata, remove_metadata)?;
        if vector.is_none() && change.is_none() && !dry_run {
            return Err(Error::ArgumentsDisagree {
                problem: "nothing to update".into(),
                hint: "Give vector, set_metadata or remove_metadata.",
            });
        }
        match (id, filter) {
            (Some(_), None) if dry_run => Err(Error::ArgumentsDisagree {
                problem: "dry_run needs a filter".into(),
                hint: "It counts the records that a filter matches.",
            }),
            (Some(id), None) => {
                rules::check_id(id)?;
                if let Some(vector) = vector {
                    write::check_vector(&index, &vector)?;
                }
                let vector = vector.map(VectorArg::elements);
                write::update(&index, &namespace, id, vector, &change)
            }
            (None, Some(_)) if vector.is_some() => Err(Error::ArgumentsDisagree {
                problem: "a vector cannot be given to all records that a filter matches".into(),
                hint: "Give an id with the vector, or metadata to change with the filter.",
            }),
            (None, Some(filter)) => {
                let condition = Condition::selective(filter)?;
                if dry_run {
                    return by_filter::count(&index, &namespace, Some(&condition), &write::UPDATE);
                }
                by_filter::update(&index, &namespace, &condition, &change)
            }
            (id, _) => {
                let problem = match id {
                    Some(_) => "id and filter exclude each other",
                    None => "neither id nor filter to update by",
                };
                Err(Error::ArgumentsDisagree {
                    problem: problem.into(),
                    hint: "Give the id of a record, or a filter.",
                })
            }
        }
    };
    update().or_report() as i64
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_delete(
    index: Option<&str>,
    namespace: Option<&str>,
    ids: default!(Option<Array<'_, &str>>, "NULL"),
    delete_all: default!(Option<bool>, "false"),
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
) -> i64 {
    let delete = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_delete()");
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        match (ids, delete_all.unwrap_or(false), filter) {
            (Some(ids), false, None) => write::delete(&index, &namespace, texts(&ids, "id")?),
            (None, true, None) => delete_namespace(&index, &namespace),
            (None, false, Some(filter)) => {
                by_filter::delete(&index, &namespace, &Condition::selective(filter)?)
            }
            (ids, delete_all, filter) => {
                let problem = if ids.is_none() && !delete_all && filter.is_none() {
                    "nothing to delete"
                } else {
                    "ids, delete_all and filter exclude each other"
                };
                Err(Error::ArgumentsDisagree {
                    problem: problem.into(),
                    hint: "Give ids, or a filter, or delete_all => true.",
                })
            }
        }
    };
    delete().or_report() as i64
}

/// The whole leaf goes, unless row security leaves the caller only some of its records.
fn delete_namespace(index: &Index, namespace: &str) -> Result<u64, Error> {
    if access::has_row_security(index.root) {
        return sql::delete_all(index, namespace);
    }
    match namespace::delete_all(index, namespace)? {
        Dropped::Missing => Ok(0),
        Dropped::Records(records) => Ok(records),
    }
}

/// Checks every record before the first is written.
fn checked_upsert(
    index: &Index,
    namespace: &str,
    records: Vec<NewRecord<'_>>,
) -> Result<u64, Error> {
    for (i, record) in interruptible(records.iter().enumerate()) {
        let check = || -> Result<(), Error> {
            rules::check_id(record.id)?;
            write::check_vector(index, record.values.unwrap_or_default())?;
            record.metadata.map_or(Ok(()), metadata::check_jsonb)
        };
        check().map_err(|error| of_record(i, Some(record.id), error))?;
    }
    write::upsert(index, namespace, records)
}

fn of_record(i: usize, id: Option<&str>, error: Error) -> Error {
    Error::Record {
        position: i + 1,
        id: id.map(str::to_owned),
        source: Box::new(error),
    }
}

fn same_length(what: &'static str, actual: usize, expected: usize) -> Result<(), Error> {
    if actual == expected {
        return Ok(());
    }
    Err(Error::ArgumentsDisagree {
        problem: format!("{what} has length {actual}, ids has length {expected}"),
        hint: "The arrays go together element by element.",
    })
}
