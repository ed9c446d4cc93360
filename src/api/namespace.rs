//! Namespaces: create, describe, list, delete.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required, token, token_after};
use crate::error::Error;
use crate::namespace::catalog::NamespaceRow;
use crate::namespace::copy::{Place, copy_namespace};
use crate::namespace::read::Usage;
use crate::namespace::rename::rename_namespace;
use crate::namespace::{self, Dropped, catalog, limits, read, unknown};
use crate::pg::json::JsonbOut;
use crate::pg::regclass::Regclass;
use crate::pg::relation;
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use crate::pg::transaction;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::{default, name, pg_extern};
use serde_json::json;

#[pg_extern(volatile, parallel_unsafe)]
fn pc_create_namespace(index: Option<&str>, namespace: Option<&str>) -> JsonbOut {
    let create = || -> Result<JsonbOut, Error> {
        transaction::begin_write(c"pc_create_namespace()");
        let index = namespace::index(required(index, "index")?)?;
        let name = namespace_name(namespace)?;
        if !namespace::create_namespace(&index, &name)? {
            return Err(Error::DuplicateNamespace {
                index: index.name.clone(),
                namespace: name.into_owned(),
            });
        }
        let row = catalog::find_namespace(index.root, &name)?;
        let row = row.ok_or_else(|| unknown(&index, &name))?;
        // Not by the caller's rights: who may create it need not be able to read it.
        let usage = read::empty_usage(&row);
        Ok(model(&row, usage))
    };
    create().or_report()
}

#[pg_extern(stable, parallel_safe)]
fn pc_describe_namespace(index: Option<&str>, namespace: Option<&str>) -> JsonbOut {
    let describe = || -> Result<JsonbOut, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let name = namespace_name(namespace)?;
        let row = catalog::find_namespace(index.root, &name)?;
        let row = row.ok_or_else(|| unknown(&index, &name))?;
        if !namespace::may_list(&index, &row)? {
            return Err(unknown(&index, &name));
        }
        let usage = read::usage(&index, &row)?.ok_or_else(|| unknown(&index, &name))?;
        Ok(model(&row, usage))
    };
    describe().or_report()
}

#[pg_extern(stable, parallel_safe)]
#[expect(
    clippy::type_complexity,
    reason = "the columns must stand here, where their SQL is made from"
)]
fn pc_list_namespaces(
    index: Option<&str>,
    prefix: default!(Option<&str>, "''"),
    limit: default!(Option<i64>, "100"),
    pagination_token: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(record_count, i64),
        name!(bytes, i64),
        name!(relation, Regclass),
        name!(created_at, Option<TimestampWithTimeZone>),
        name!(next_token, Option<String>),
    ),
> {
    let list = || -> Result<_, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let page = super::argument::limit(limit)?;
        let after = token(pagination_token)?;
        let (rows, more) =
            read::visible_namespaces(&index, prefix.unwrap_or_default(), after.as_deref(), page)?;
        let next = rows
            .last()
            .filter(|_| more)
            .map(|last| token_after(&last.name));
        let last = rows.len().saturating_sub(1);
        let mut listed = Vec::with_capacity(rows.len());
        for (number, row) in rows.into_iter().enumerate() {
            let token = next.clone().filter(|_| number == last);
            // A namespace dropped meanwhile is left out, unless it carries the token.
            let usage = read::usage(&index, &row)?;
            if usage.is_some() || token.is_some() {
                listed.push((row, usage.unwrap_or_default(), token));
            }
        }
        Ok(listed)
    };
    let listed = list().or_report();
    TableIterator::new(listed.into_iter().map(|(row, usage, token)| {
        let created_at = TimestampWithTimeZone::try_from(row.created_at).ok();
        let (records, bytes) = (usage.records as i64, usage.bytes as i64);
        (
            row.name,
            records,
            bytes,
            Regclass(row.leaf),
            created_at,
            token,
        )
    }))
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_delete_namespace(index: Option<&str>, namespace: Option<&str>) -> bool {
    let delete = || -> Result<bool, Error> {
        transaction::begin_write(c"pc_delete_namespace()");
        let index = namespace::index(required(index, "index")?)?;
        let name = namespace_name(namespace)?;
        let dropped = namespace::drop_namespace(&index, &name)?;
        limits::forget(&index, &name)?;
        Ok(matches!(dropped, Dropped::Records(_)))
    };
    delete().or_report()
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_rename_namespace(
    index: Option<&str>,
    namespace: Option<&str>,
    new_name: Option<&str>,
) -> JsonbOut {
    let rename = || -> Result<JsonbOut, Error> {
        transaction::begin_write(c"pc_rename_namespace()");
        let index = namespace::index(required(index, "index")?)?;
        let from = namespace_name(Some(required(namespace, "namespace")?))?;
        let to = namespace_name(Some(required(new_name, "new_name")?))?;
        rename_namespace(&index, &from, &to)?;
        let row = catalog::find_namespace(index.root, &to)?;
        let row = row.ok_or_else(|| unknown(&index, &to))?;
        Ok(JsonbOut::from_text(
            &json!({"name": row.name, "relation": relation::qualified_name(row.leaf)}).to_string(),
        ))
    };
    rename().or_report()
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_copy_namespace(
    index: Option<&str>,
    namespace: Option<&str>,
    new_name: Option<&str>,
    to_index: default!(Option<&str>, "NULL"),
) -> i64 {
    let copy = || -> Result<u64, Error> {
        transaction::begin_write(c"pc_copy_namespace()");
        let index = namespace::index(required(index, "index")?)?;
        let from = namespace_name(Some(required(namespace, "namespace")?))?;
        let to = namespace_name(Some(required(new_name, "new_name")?))?;
        let to_index = match to_index {
            Some(name) => namespace::index(name)?,
            None => index.clone(),
        };
        copy_namespace(
            Place {
                index: &index,
                namespace: &from,
            },
            Place {
                index: &to_index,
                namespace: &to,
            },
        )
    };
    copy().or_report() as i64
}

fn model(row: &NamespaceRow, usage: Usage) -> JsonbOut {
    let model = json!({
        "name": row.name,
        "record_count": usage.records,
        "bytes": usage.bytes,
        "relation": relation::qualified_name(row.leaf),
    });
    JsonbOut::from_text(&model.to_string())
}
