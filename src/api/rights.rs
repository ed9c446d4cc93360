//! Rights on single namespaces.
#![forbid(unsafe_code)]

use super::argument::{namespace as namespace_name, required, texts};
use crate::error::Error;
use crate::namespace;
use crate::namespace::rights::{self, Change};
use crate::pg::report::OrReport;
use crate::pg::transaction;
use pgrx::{Array, default, pg_extern};

#[pg_extern(volatile, parallel_unsafe)]
fn pc_grant(
    index: Option<&str>,
    namespace: Option<&str>,
    role: Option<&str>,
    privileges: default!(Option<Array<'_, &str>>, "'{SELECT,INSERT,UPDATE,DELETE}'"),
) {
    transaction::begin_write(c"pc_grant()");
    change(index, namespace, role, privileges, Change::Grant).or_report();
}

#[pg_extern(volatile, parallel_unsafe)]
fn pc_revoke(
    index: Option<&str>,
    namespace: Option<&str>,
    role: Option<&str>,
    privileges: default!(Option<Array<'_, &str>>, "'{SELECT,INSERT,UPDATE,DELETE}'"),
) {
    transaction::begin_write(c"pc_revoke()");
    change(index, namespace, role, privileges, Change::Revoke).or_report();
}

fn change(
    index: Option<&str>,
    namespace: Option<&str>,
    role: Option<&str>,
    privileges: Option<Array<'_, &str>>,
    change: Change,
) -> Result<(), Error> {
    let index = namespace::index(required(index, "index")?)?;
    let namespace = namespace_name(namespace)?;
    let role = required(role, "role")?;
    let privileges = required(privileges, "privileges")?;
    let privileges = rights::parse(&texts(&privileges, "privilege")?)?;
    rights::change(&index, &namespace, role, &privileges, change)
}
