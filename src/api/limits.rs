//! Limits on namespaces.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required};
use crate::error::Error;
use crate::namespace::limits::{self, ALL_NAMESPACES, Limits};
use crate::namespace::{self, pin};
use crate::pg::report::OrReport;
use crate::pg::transaction;
use pgrx::{default, pg_extern};

#[pg_extern(volatile, parallel_unsafe)]
fn pc_set_limits(
    index: Option<&str>,
    namespace: default!(Option<&str>, "NULL"),
    max_records: default!(Option<i64>, "NULL"),
    max_bytes: default!(Option<i64>, "NULL"),
) {
    let set = || -> Result<(), Error> {
        transaction::begin_write(c"pc_set_limits()");
        let index = namespace::index(required(index, "index")?)?;
        let limits = Limits {
            records: check(max_records, "max_records")?,
            bytes: check(max_bytes, "max_bytes")?,
        };
        match namespace {
            Some(_) => limits::set(&index, &namespace_name(namespace)?, limits),
            None => {
                pin::check_unpinned()?;
                limits::set(&index, ALL_NAMESPACES, limits)
            }
        }
    };
    set().or_report();
}

fn check(limit: Option<i64>, what: &'static str) -> Result<Option<i64>, Error> {
    match limit {
        Some(limit) if limit < 0 => Err(Error::InvalidArgument {
            what,
            value: limit.to_string(),
            hint: "A limit is 0 or more, or NULL for none.".into(),
        }),
        limit => Ok(limit),
    }
}
