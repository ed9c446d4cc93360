//! What namespaces did and take.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required};
use crate::error::Error;
use crate::namespace::catalog::{Index, NamespaceRow};
use crate::namespace::usage;
use crate::namespace::{self, catalog, read, unknown};
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use crate::pg::transaction;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::{default, name, pg_extern};

#[pg_extern(volatile, parallel_safe)]
#[expect(
    clippy::type_complexity,
    reason = "the columns must stand here, where their SQL is made from"
)]
fn pc_usage(
    index: Option<&str>,
    namespace: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(namespace, String),
        name!(queries, i64),
        name!(records_fetched, i64),
        name!(read_units, f64),
        name!(records_upserted, i64),
        name!(records_deleted, i64),
        name!(write_units, f64),
        name!(record_count, i64),
        name!(bytes, i64),
        name!(max_records, Option<i64>),
        name!(max_bytes, Option<i64>),
        name!(last_access, Option<TimestampWithTimeZone>),
        name!(since, Option<TimestampWithTimeZone>),
    ),
> {
    let accounts = || -> Result<Vec<_>, Error> {
        let index = namespace::index(required(index, "index")?)?;
        let mut accounts = Vec::new();
        for row in asked(&index, namespace)? {
            pgrx::check_for_interrupts!();
            if let Some(account) = usage::account(&index, &row)? {
                accounts.push((row.name, account));
            }
        }
        Ok(accounts)
    };
    let accounts = accounts().or_report().into_iter();
    TableIterator::new(accounts.map(|(name, account)| {
        (
            name,
            account.activity.scans,
            account.activity.fetched,
            account.read_units(),
            account.activity.inserted + account.activity.updated,
            account.activity.deleted,
            account.write_units(),
            account.size.records as i64,
            account.size.bytes as i64,
            account.limits.records,
            account.limits.bytes,
            account.activity.last_scan.and_then(timestamp),
            account.since.and_then(timestamp),
        )
    }))
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_reset_usage(index: Option<&str>, namespace: default!(Option<&str>, "NULL")) {
    let reset = || -> Result<(), Error> {
        transaction::begin_write(c"pc_reset_usage()");
        let index = namespace::index(required(index, "index")?)?;
        usage::begin_reset(&index)?;
        for row in asked(&index, namespace)? {
            pgrx::check_for_interrupts!();
            usage::reset(&row)?;
        }
        Ok(())
    };
    reset().or_report();
}

/// The namespace of that name, or all; those that the caller may see.
fn asked(index: &Index, namespace: Option<&str>) -> Result<Vec<NamespaceRow>, Error> {
    if namespace.is_none() {
        return Ok(read::visible_namespaces(index, "", None, usize::MAX)?.0);
    }
    let name = namespace_name(namespace)?;
    match catalog::find_namespace(index.root, &name)? {
        Some(row) if namespace::may_list(index, &row)? => Ok(vec![row]),
        _ => Err(unknown(index, &name)),
    }
}

fn timestamp(microseconds: i64) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(microseconds).ok()
}
