//! Functions that take a filter: does metadata pass it, which records do, how many, with which values.
#![forbid(unsafe_code)]

use super::argument::{
    bounded_limit, namespace as namespace_name, required, texts, token, token_after,
};
use super::query::columns;
use crate::error::Error;
use crate::filter::Filter;
use crate::filter::estimate::Sample;
use crate::namespace::by_filter::{self, Condition};
use crate::namespace::record::MetadataChange;
use crate::namespace::{self, search};
use crate::pg::call_site::CallSite;
use crate::pg::json::{JsonbArg, JsonbOut};
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use crate::pg::selectivity::{SupportAnswer, SupportRequest};
use crate::pg::text::TextOut;
use crate::pg::vector_datum::VectorOut;
use pgrx::{Array, default, name, pg_extern};

/// Does the metadata pass the filter? NULL is the metadata of a record without any.
#[pg_extern(immutable, parallel_safe, cost = 10, support = pc_matches_support)]
fn pc_matches(
    metadata: Option<JsonbArg<'_>>,
    filter: Option<JsonbArg<'_>>,
    mut call_site: CallSite<'_>,
) -> bool {
    let mut matches = || -> Result<bool, Error> {
        let filter = required(filter, "filter")?.payload();
        call_site.with(filter, Filter::parse, |filter| {
            search::matches(filter, metadata.map(JsonbArg::payload))
        })?
    };
    matches().or_report()
}

/// What filters compare of a metadata field: for B-tree indexes, which queries under a filter use.
#[pg_extern(immutable, parallel_safe, strict, cost = 2)]
fn pc_number(metadata: JsonbArg<'_>, field: &str) -> Option<f64> {
    Filter::number(metadata.payload(), field.as_bytes()).or_report()
}

/// The string that filters compare of a metadata field: for B-tree indexes, which queries under a filter use.
#[pg_extern(immutable, parallel_safe, strict, cost = 2)]
fn pc_string(metadata: JsonbArg<'_>, field: &str) -> Option<TextOut> {
    let string = Filter::string(metadata.payload(), field.as_bytes()).or_report();
    string.map(TextOut::from_bytes)
}

/// For the planner: what share of the rows pc_matches lets through.
#[pg_extern(immutable, parallel_safe, strict)]
fn pc_matches_support(request: SupportRequest<'_>) -> SupportAnswer {
    request.selectivity(|column, filter| {
        let sample = Sample {
            nulls: column.nulls,
            common: column.common,
            others: column.others,
        };
        // What is no filter is told of when it is asked about a row.
        Filter::parse(filter).ok()?.selectivity(&sample).ok()
    })
}

/// What pc_update makes of metadata, for use in any SQL.
#[pg_extern(immutable, parallel_safe)]
fn pc_merge_metadata(
    metadata: Option<JsonbArg<'_>>,
    set_metadata: default!(Option<JsonbArg<'_>>, "NULL"),
    remove_metadata: default!(Option<Array<'_, &str>>, "NULL"),
) -> Option<JsonbOut> {
    let merge = || -> Result<Option<JsonbOut>, Error> {
        let change = metadata_change(set_metadata, remove_metadata)?;
        let merged = change.apply(metadata.map(JsonbArg::payload))?;
        Ok(merged.map(|payload| JsonbOut::from_payload(&payload)))
    };
    merge().or_report()
}

/// What the arguments of an update say is to become of metadata.
pub fn metadata_change<'a>(
    set: Option<JsonbArg<'a>>,
    remove: Option<Array<'_, &str>>,
) -> Result<MetadataChange<'a>, Error> {
    let remove = remove.map(|keys| -> Result<Vec<String>, Error> {
        let keys = texts(&keys, "metadata field")?;
        Ok(keys.into_iter().map(str::to_owned).collect())
    });
    MetadataChange::new(set, remove.transpose()?)
}

#[pg_extern(stable, parallel_safe)]
fn pc_count(
    index: Option<&str>,
    namespace: Option<&str>,
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
) -> i64 {
    let count = || -> Result<u64, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let condition = filter.map(Condition::new).transpose()?;
        by_filter::count(&index, &namespace, condition.as_ref(), &by_filter::READ)
    };
    count().or_report() as i64
}

#[pg_extern(stable, parallel_safe)]
#[expect(
    clippy::type_complexity,
    reason = "pg_extern reads the columns where they stand"
)]
fn pc_fetch_by_metadata(
    index: Option<&str>,
    namespace: Option<&str>,
    filter: Option<JsonbArg<'_>>,
    limit: default!(Option<i64>, "100"),
    pagination_token: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(id, String),
        name!(values, Option<VectorOut>),
        name!(metadata, Option<JsonbOut>),
        name!(next_token, Option<String>),
    ),
> {
    let fetch = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let condition = Condition::new(required(filter, "filter")?)?;
        let after = token(pagination_token)?;
        let limit = bounded_limit(limit)?;
        by_filter::page(&index, &namespace, &condition, after.as_deref(), limit)
    };
    let (records, more) = fetch().or_report();
    let mut left = records.len();
    TableIterator::new(records.into_iter().map(move |record| {
        left -= 1;
        let next = (more && left == 0).then(|| token_after(&record.id));
        let (id, values, metadata) = columns(record);
        (id, values, metadata, next)
    }))
}

#[pg_extern(stable, parallel_safe)]
fn pc_facets(
    index: Option<&str>,
    namespace: Option<&str>,
    field: Option<&str>,
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
    limit: default!(Option<i64>, "100"),
) -> TableIterator<'static, (name!(value, JsonbOut), name!(count, i64))> {
    let facets = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let field = required(field, "field")?;
        let condition = filter.map(Condition::new).transpose()?;
        let limit = bounded_limit(limit)?;
        by_filter::facets(&index, &namespace, field, condition.as_ref(), limit)
    };
    let rows = facets().or_report();
    TableIterator::new(
        rows.into_iter()
            .map(|(value, count)| (JsonbOut::from_text(&value), count as i64)),
    )
}
