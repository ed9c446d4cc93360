//! Indexes: create, describe, list, configure, delete, statistics.
#![forbid(unsafe_code)]

use super::argument::required;
use crate::error::Error;
use crate::metric::Metric;
use crate::namespace::catalog::{self, IndexRow};
use crate::namespace::{self, breadth, read};
use crate::pg::json::{JsonbArg, JsonbOut};
use crate::pg::regclass::Regclass;
use crate::pg::relation;
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use crate::pg::transaction;
use crate::record::rules;
use pgrx::{default, name, pg_extern};
use serde_json::{Map, Value, json};

#[pg_extern(volatile, parallel_unsafe)]
fn pc_create_index(
    name: Option<&str>,
    dimension: Option<i32>,
    metric: default!(Option<&str>, "'cosine'"),
    spec: default!(Option<JsonbArg<'_>>, "'{\"serverless\": {}}'"),
    deletion_protection: default!(Option<&str>, "'disabled'"),
    tags: default!(Option<JsonbArg<'_>>, "'{}'"),
) -> JsonbOut {
    let create = || -> Result<JsonbOut, Error> {
        transaction::begin_write(c"pc_create_index()");
        let name = required(name, "name")?;
        rules::check_index_name(name)?;
        let dimension = rules::check_dimension(required(dimension, "dimension")?.into())?;
        let metric = Metric::parse(required(metric, "metric")?)?;
        let spec = required(spec, "spec")?.to_text();
        check_spec(&spec)?;
        let deletion_protection = required(deletion_protection, "deletion_protection")?;
        rules::check_deletion_protection(deletion_protection)?;
        let tags = merge_tags("{}", &required(tags, "tags")?.to_text())?;
        let row =
            namespace::create_index(name, dimension, metric, &spec, deletion_protection, &tags)?;
        model(&row)
    };
    create().or_report()
}

#[pg_extern(stable, parallel_safe)]
fn pc_describe_index(name: Option<&str>) -> JsonbOut {
    let describe = || model(&namespace::index_row(required(name, "name")?)?);
    describe().or_report()
}

#[pg_extern(stable, parallel_safe)]
fn pc_list_indexes() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(dimension, i32),
        name!(metric, String),
        name!(deletion_protection, String),
        name!(tags, JsonbOut),
        name!(relation, Regclass),
    ),
> {
    let rows = catalog::all_indexes().or_report();
    TableIterator::new(rows.into_iter().map(|row| {
        (
            row.index.name,
            row.index.dimension as i32,
            row.index.metric.name().to_owned(),
            row.deletion_protection,
            JsonbOut::from_text(&row.tags),
            Regclass(row.index.root),
        )
    }))
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_configure_index(
    name: Option<&str>,
    deletion_protection: default!(Option<&str>, "NULL"),
    tags: default!(Option<JsonbArg<'_>>, "NULL"),
) -> JsonbOut {
    let configure = || -> Result<JsonbOut, Error> {
        transaction::begin_write(c"pc_configure_index()");
        let name = required(name, "name")?;
        let row = namespace::configure_index(name, |row| {
            let protection = deletion_protection.unwrap_or(&row.deletion_protection);
            rules::check_deletion_protection(protection)?;
            let tags = match tags {
                Some(tags) => merge_tags(&row.tags, &tags.to_text())?,
                None => row.tags.clone(),
            };
            Ok((protection.to_owned(), tags))
        })?;
        model(&row)
    };
    configure().or_report()
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_delete_index(name: Option<&str>) -> bool {
    let delete = || -> Result<bool, Error> {
        transaction::begin_write(c"pc_delete_index()");
        namespace::drop_index(required(name, "name")?)?;
        Ok(true)
    };
    delete().or_report()
}

/// For the procedure pc_delete_index_in_batches. Declared in sql/functions.sql, as it is in a schema of its own.
#[pg_extern(volatile, parallel_unsafe, sql = false)]
fn delete_some_namespaces(name: Option<&str>, most: Option<i32>) -> i32 {
    let delete = || -> Result<usize, Error> {
        transaction::begin_write(c"pc_delete_index_in_batches()");
        let most = most.map(|most| match usize::try_from(most) {
            Ok(most) if most > 0 => Ok(most),
            _ => Err(Error::InvalidArgument {
                what: "batch_size",
                value: most.to_string(),
                hint: "A batch has at least 1 namespace; NULL leaves the size to what the lock table has room for.".into(),
            }),
        });
        breadth::drop_some(required(name, "name")?, most.transpose()?)
    };
    delete().or_report() as i32
}

/// What a plan for any namespace comes to. Declared in sql/functions.sql.
#[pg_extern(volatile, parallel_unsafe, sql = false)]
fn refuse_generic_plan() -> bool {
    Err(breadth::refuse_generic_plan()).or_report()
}

#[pg_extern(stable, parallel_safe)]
fn pc_describe_index_stats(index: Option<&str>) -> JsonbOut {
    let describe = || -> Result<JsonbOut, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let (mut namespaces, mut records, mut bytes) = (Map::new(), 0, 0);
        for row in read::visible_namespaces(&index, "", None, usize::MAX)?.0 {
            let Some(usage) = read::usage(&index, &row)? else {
                continue; // dropped meanwhile
            };
            records += usage.records;
            bytes += usage.bytes;
            namespaces.insert(
                row.name,
                json!({"record_count": usage.records, "bytes": usage.bytes}),
            );
        }
        let stats = json!({
            "namespaces": namespaces,
            "total_record_count": records,
            "bytes": bytes,
            "dimension": index.dimension,
            "metric": index.metric.name(),
            "vector_type": "dense",
        });
        Ok(JsonbOut::from_text(&stats.to_string()))
    };
    describe().or_report()
}

/// The index model, as Pinecone describes an index; `relation` is the table to use in SQL.
fn model(row: &IndexRow) -> Result<JsonbOut, Error> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let model = json!({
        "name": row.index.name,
        "dimension": row.index.dimension,
        "metric": row.index.metric.name(),
        "vector_type": "dense",
        "spec": parse(&row.spec),
        "deletion_protection": row.deletion_protection,
        "tags": parse(&row.tags),
        "status": {"ready": true, "state": "Ready"},
        "relation": relation::qualified_name(row.index.root),
    });
    Ok(JsonbOut::from_text(&model.to_string()))
}

/// `{"serverless": {…}}`: what the hosted service asks there (cloud, region) is kept and has no effect.
fn check_spec(spec: &str) -> Result<(), Error> {
    let parsed: Map<String, Value> = serde_json::from_str(spec).unwrap_or_default();
    let is_serverless = parsed.len() == 1 && parsed.get("serverless").is_some_and(Value::is_object);
    if is_serverless {
        return Ok(());
    }
    Err(Error::InvalidArgument {
        what: "spec",
        value: spec.into(),
        hint: "A spec is {\"serverless\": {…}}.".into(),
    })
}

/// Tags added to those there; an empty value removes one.
fn merge_tags(old: &str, new: &str) -> Result<String, Error> {
    let mut tags = rules::parse_tags(old)?;
    tags.extend(rules::parse_tags(new)?);
    tags.retain(|_, value| !value.is_empty());
    Ok(json!(tags).to_string())
}
