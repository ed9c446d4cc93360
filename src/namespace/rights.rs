//! Rights on single namespaces: those on the leaf, which PostgreSQL keeps and checks.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::locks::lock_namespace;
use super::{denied, partition, unknown};
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::relation::{self, LockMode};

/// NAMEDATALEN, without the zero at the end.
const MAX_ROLE_BYTES: usize = 63;

/// What becomes of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Grant,
    Revoke,
}

/// The rights of these names, of any case; `ALL` is all there are.
pub fn parse(names: &[&str]) -> Result<Vec<Privilege>, Error> {
    let mut found = Vec::new();
    for name in names {
        match name.to_ascii_uppercase().as_str() {
            "ALL" => found.extend(Privilege::ALL),
            upper => {
                let mut all = Privilege::ALL.into_iter();
                let privilege = all.find(|privilege| privilege.name() == upper);
                found.push(privilege.ok_or_else(|| Error::InvalidArgument {
                    what: "privilege",
                    value: (*name).into(),
                    hint: "The privileges on a namespace are SELECT, INSERT, UPDATE, DELETE and ALL."
                        .into(),
                })?);
            }
        }
    }
    Ok(found)
}

/// Grants rights on a namespace to a role (`public` is everybody), or takes them back. Owners of the index only.
pub fn change(
    index: &Index,
    namespace: &str,
    role: &str,
    privileges: &[Privilege],
    change: Change,
) -> Result<(), Error> {
    if !access::owns(index.root) {
        return Err(denied(index));
    }
    // GRANT would take the beginning of a longer one for the name of another role.
    if role.is_empty() || role.len() > MAX_ROLE_BYTES {
        return Err(Error::InvalidArgument {
            what: "role",
            value: role.into(),
            hint: "The name of a role has 1 to 63 bytes; public is everybody.".into(),
        });
    }
    lock_namespace(index, namespace)?; // two GRANTs at once would change one row of pg_class
    let row = catalog::find_namespace(index.root, namespace)?;
    let row = row
        .filter(|row| relation::lock(row.leaf, LockMode::AccessShare))
        .filter(|row| partition::is_part(index, row.leaf))
        .ok_or_else(|| unknown(index, namespace))?;
    if privileges.is_empty() {
        return Ok(());
    }
    partition::change_rights(index, row.leaf, role, privileges, change)
}
