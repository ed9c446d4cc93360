//! Renaming a namespace. Its leaf stays the same table, with its rights, settings and indexes; its rows are written anew with the new name, which
//! rebuilds the indexes as well.
#![forbid(unsafe_code)]

use super::catalog::{self, Index};
use super::limits::Limits;
use super::locks::{lock_moving, lock_namespaces, lock_root};
use super::remove::check_may_drop;
use super::{denied, make_room, partition, unknown};
use crate::error::Error;
use crate::pg::access::{self, Privilege};
use crate::pg::stop_point;
use crate::stop_point::StopPoint;

/// Gives a namespace another name (both canonical). Needs what dropping the one and making the other does. Whoever waits for the namespace meanwhile finds
/// none of the old name.
pub fn rename_namespace(index: &Index, from: &str, to: &str) -> Result<(), Error> {
    check_may_drop(index, catalog::find_namespace(index.root, from)?)?;
    if !access::has_privileges(index.root, &[Privilege::Insert]) {
        return Err(denied(index));
    }
    lock_root(index)?;
    partition::prepare(index)?;
    lock_moving(index)?;
    lock_namespaces(index, [from, to])?;
    let row = check_may_drop(index, catalog::find_namespace(index.root, from)?)?;
    let row = row
        .filter(|row| partition::is_part(index, row.leaf))
        .ok_or_else(|| unknown(index, from))?;
    make_room(index, to)?;
    partition::move_leaf(index, row.leaf, to)?;
    catalog::rename_namespace(&row, to)?;
    // They are the tenant's, not the name's.
    let limits = catalog::find_limits(index.root, from)?;
    if limits != Limits::default() {
        catalog::set_limits(index.root, from, Limits::default())?;
        catalog::set_limits(index.root, to, limits)?;
        stop_point::after(StopPoint::LimitsMoved);
    }
    Ok(())
}
