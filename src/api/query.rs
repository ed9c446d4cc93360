//! Reading records: query, fetch, list.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required, texts, token, token_after};
use crate::error::Error;
use crate::filter::Filter;
use crate::metric::Scorer;
use crate::namespace::catalog::Index;
use crate::namespace::read;
use crate::namespace::record::{Match, Parts, Query, Record};
use crate::namespace::search;
use crate::namespace::{self, write};
use crate::pg::json::{JsonbArg, JsonbOut};
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use crate::pg::vector_datum::{VectorArg, VectorOut};
use crate::record::response::{self, Response};
use crate::record::rules;
use pgrx::{Array, default, name, pg_extern};
use std::rc::Rc;

/// The arguments pc_query and pc_query_json share.
struct Arguments<'a> {
    index: Option<&'a str>,
    namespace: Option<&'a str>,
    vector: Option<VectorArg<'a>>,
    id: Option<&'a str>,
    wanted: Wanted<'a>,
}

/// What all queries want besides a place and a vector.
struct Wanted<'a> {
    top_k: Option<i32>,
    filter: Option<JsonbArg<'a>>,
    include_values: Option<bool>,
    include_metadata: Option<bool>,
}

/// The same, checked.
struct Checked<'a> {
    k: usize,
    filter: Option<Filter>,
    filter_jsonb: Option<&'a [u8]>,
    parts: Parts,
}

impl<'a> Wanted<'a> {
    fn check(&self) -> Result<Checked<'a>, Error> {
        let k = rules::check_top_k(required(self.top_k, "top_k")?.into())?;
        let filter = self.filter.map(|filter| Filter::parse(filter.payload()));
        Ok(Checked {
            k,
            filter: filter.transpose()?,
            filter_jsonb: self.filter.map(JsonbArg::payload),
            parts: Parts {
                values: self.include_values.unwrap_or(false),
                metadata: self.include_metadata.unwrap_or(false),
            },
        })
    }
}

impl Checked<'_> {
    fn query(&self, index: &Index, vector: &[f32]) -> Result<Query<'_>, Error> {
        write::check_vector(index, vector)?;
        Ok(Query {
            scorer: Scorer::new(index.metric, vector),
            k: self.k,
            filter: self.filter.as_ref(),
            filter_jsonb: self.filter_jsonb,
            parts: self.parts,
        })
    }
}

/// What a query found, and where.
struct Answer {
    index: Rc<Index>,
    namespace: String,
    matches: Vec<Match>,
}

impl Arguments<'_> {
    fn answer(self) -> Result<Answer, Error> {
        let index = namespace::index(required(self.index, "index")?)?;
        let namespace = namespace_name(self.namespace)?;
        let wanted = self.wanted.check()?;
        let stored;
        let vector = match (self.vector, self.id) {
            (Some(vector), None) => Some(vector.elements()),
            (None, Some(id)) => {
                rules::check_id(id)?;
                stored = read::fetch(&index, &namespace, &[id])?
                    .pop()
                    .and_then(|record| record.values);
                stored.as_deref()
            }
            (vector, _) => {
                let problem = match vector {
                    Some(_) => "vector and id exclude each other",
                    None => "neither vector nor id to query by",
                };
                return Err(Error::ArgumentsDisagree {
                    problem: problem.into(),
                    hint: "Give a vector, or the id of a stored record.",
                });
            }
        };
        // Neighbours of a record that is not there: none.
        let matches = match vector {
            Some(vector) => search::top_k(&index, &namespace, &wanted.query(&index, vector)?)?,
            None => Vec::new(),
        };
        Ok(Answer {
            index,
            namespace: namespace.into_owned(),
            matches,
        })
    }
}

#[pg_extern(stable, parallel_safe)]
#[expect(
    clippy::too_many_arguments,
    reason = "the named arguments of Pinecone's query"
)]
fn pc_query(
    index: Option<&str>,
    namespace: Option<&str>,
    vector: default!(Option<VectorArg<'_>>, "NULL"),
    top_k: default!(Option<i32>, "10"),
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
    include_values: default!(Option<bool>, "false"),
    include_metadata: default!(Option<bool>, "false"),
    id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(id, String),
        name!(score, f32),
        name!(values, Option<VectorOut>),
        name!(metadata, Option<JsonbOut>),
    ),
> {
    let arguments = Arguments {
        index,
        namespace,
        vector,
        id,
        wanted: Wanted {
            top_k,
            filter,
            include_values,
            include_metadata,
        },
    };
    let matches = arguments.answer().or_report().matches;
    TableIterator::new(matches.into_iter().map(|found| {
        let (id, values, metadata) = columns(found.record);
        (id, found.score, values, metadata)
    }))
}

#[pg_extern(stable, parallel_safe)]
#[expect(
    clippy::too_many_arguments,
    reason = "the named arguments of Pinecone's query"
)]
fn pc_query_json(
    index: Option<&str>,
    namespace: Option<&str>,
    vector: default!(Option<VectorArg<'_>>, "NULL"),
    top_k: default!(Option<i32>, "10"),
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
    include_values: default!(Option<bool>, "false"),
    include_metadata: default!(Option<bool>, "false"),
    id: default!(Option<&str>, "NULL"),
) -> JsonbOut {
    let arguments = Arguments {
        index,
        namespace,
        vector,
        id,
        wanted: Wanted {
            top_k,
            filter,
            include_values,
            include_metadata,
        },
    };
    let respond = || -> Result<JsonbOut, Error> {
        let answer = arguments.answer()?;
        let metadata: Vec<Option<String>> = answer
            .matches
            .iter()
            .map(|found| {
                found
                    .record
                    .metadata
                    .as_deref()
                    .map(|bytes| JsonbOut::from_payload(bytes).to_text())
            })
            .collect();
        let matches: Vec<response::Match<'_>> = answer
            .matches
            .iter()
            .zip(&metadata)
            .map(|(found, metadata)| response::Match {
                id: &found.record.id,
                score: found.score,
                values: found.record.values.as_deref(),
                metadata: metadata.as_deref(),
            })
            .collect();
        let response = Response {
            matches: &matches,
            namespace: &answer.namespace,
            read_units: read::read_units(&answer.index, &answer.namespace)?,
        };
        Ok(JsonbOut::from_text(&response.to_json()))
    };
    respond().or_report()
}

#[pg_extern(stable, parallel_safe)]
#[expect(
    clippy::too_many_arguments,
    reason = "those of pc_query, and which namespaces"
)]
#[expect(
    clippy::type_complexity,
    reason = "the columns must stand here, where their SQL is made from"
)]
fn pc_query_namespaces(
    index: Option<&str>,
    namespaces: default!(Option<Array<'_, &str>>, "NULL"),
    vector: default!(Option<VectorArg<'_>>, "NULL"),
    top_k: default!(Option<i32>, "10"),
    filter: default!(Option<JsonbArg<'_>>, "NULL"),
    include_values: default!(Option<bool>, "false"),
    include_metadata: default!(Option<bool>, "false"),
    prefix: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(namespace, String),
        name!(id, String),
        name!(score, f32),
        name!(values, Option<VectorOut>),
        name!(metadata, Option<JsonbOut>),
    ),
> {
    let wanted = Wanted {
        top_k,
        filter,
        include_values,
        include_metadata,
    };
    let query = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let names = namespaces_asked(&index, namespaces.as_ref(), prefix)?;
        let wanted = wanted.check()?;
        let query = wanted.query(&index, required(vector, "vector")?.elements())?;
        let found = search::top_k_of_all(&index, &names, &query)?;
        Ok(found
            .into_iter()
            .map(move |(place, found)| (names[place].clone(), found)))
    };
    let found = query().or_report();
    TableIterator::new(found.map(|(namespace, found)| {
        let (id, values, metadata) = columns(found.record);
        (namespace, id, found.score, values, metadata)
    }))
}

/// A record as the columns of a table.
pub(super) fn columns(record: Record) -> (String, Option<VectorOut>, Option<JsonbOut>) {
    let values = record.values.map(|values| VectorOut::from_slice(&values));
    let metadata = record.metadata;
    let metadata = metadata.map(|metadata| JsonbOut::from_payload(&metadata));
    (record.id, values, metadata)
}

/// Canonical names, each once, in C order: those given, or all that the caller may list whose names begin with the prefix.
fn namespaces_asked(
    index: &Index,
    namespaces: Option<&Array<'_, &str>>,
    prefix: Option<&str>,
) -> Result<Vec<String>, Error> {
    let problem = match (namespaces, prefix) {
        (Some(names), None) => {
            let names = texts(names, "namespace")?.into_iter();
            let names = names.map(|name| Ok(namespace_name(Some(name))?.into_owned()));
            let mut names = names.collect::<Result<Vec<String>, Error>>()?;
            names.sort_unstable();
            names.dedup();
            return Ok(names);
        }
        (None, Some(prefix)) => {
            let (rows, _) = read::visible_namespaces(index, prefix, None, usize::MAX)?;
            return Ok(rows.into_iter().map(|row| row.name).collect());
        }
        (Some(_), Some(_)) => "namespaces and prefix exclude each other",
        (None, None) => "neither namespaces nor a prefix to query in",
    };
    Err(Error::ArgumentsDisagree {
        problem: problem.into(),
        hint: "Give an array of names, or what the names begin with: '' for all.",
    })
}

#[pg_extern(stable, parallel_safe)]
fn pc_fetch(
    index: Option<&str>,
    namespace: Option<&str>,
    ids: Option<Array<'_, &str>>,
) -> TableIterator<
    'static,
    (
        name!(id, String),
        name!(values, Option<VectorOut>),
        name!(metadata, Option<JsonbOut>),
    ),
> {
    let fetch = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let ids = required(ids, "ids")?;
        read::fetch(&index, &namespace_name(namespace)?, &texts(&ids, "id")?)
    };
    TableIterator::new(fetch().or_report().into_iter().map(columns))
}

#[pg_extern(stable, parallel_safe)]
fn pc_list(
    index: Option<&str>,
    namespace: Option<&str>,
    prefix: default!(Option<&str>, "''"),
    limit: default!(Option<i64>, "100"),
    pagination_token: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(id, String), name!(next_token, Option<String>))> {
    let list = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let namespace = namespace_name(namespace)?;
        let after = token(pagination_token)?;
        let prefix = prefix.unwrap_or_default();
        let page = super::argument::limit(limit)?;
        let (ids, more) = read::list(&index, &namespace, prefix, after.as_deref(), page)?;
        let next = ids.last().filter(|_| more).map(|last| token_after(last));
        let last = ids.len().saturating_sub(1);
        Ok(ids
            .into_iter()
            .enumerate()
            .map(move |(number, id)| (id, next.clone().filter(|_| number == last))))
    };
    TableIterator::new(list().or_report())
}
