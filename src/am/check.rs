//! Looking an index over, and saying what is in it.
#![forbid(unsafe_code)]

use super::entry_tid;
use crate::error::Error;
use crate::index::check::{self, Census, Violation};
use crate::index::pages::ReadPages;
use crate::index::search::Effort;
use crate::layout::entry::EntryTid;
use crate::layout::meta::{GOALS, NEIGHBOURS};
use crate::layout::page::Kind;
use crate::pg::access;
use crate::pg::heap::fetch::Fetcher;
use crate::pg::heap::{Snapshot, Tid};
use crate::pg::index_build::IndexBuild;
use crate::pg::recovery;
use crate::pg::relation::{self, LockMode, Oid, Relation};
use crate::storage::{self, PgPages};
use std::collections::HashSet;

/// An index and its table, open.
struct Opened {
    heap: Relation,
    index: Relation,
}

/// Opens an index of this access method for its owner; its table first, as PostgreSQL locks them.
fn open(oid: Oid, heap_lock: LockMode) -> Result<Opened, Error> {
    let not_an_index = |name: String| Error::NotAnIndex { name };
    let table = {
        let Some(index) = Relation::try_open_any(oid, LockMode::AccessShare) else {
            return Err(not_an_index(oid.to_u32().to_string()));
        };
        let index = index.unlock_on_drop(LockMode::AccessShare);
        if !index.is_conifer_index() {
            return Err(not_an_index(index.name()));
        }
        if !access::owns(oid) {
            return Err(Error::NotOwner { name: index.name() });
        }
        index.table_of_index()
    };
    let gone = || not_an_index(oid.to_u32().to_string());
    let heap = Relation::try_open(table, heap_lock).ok_or_else(gone)?;
    let index = Relation::try_open_any(oid, LockMode::AccessShare).ok_or_else(gone)?;
    heap.check_reach()?;
    if !index.is_conifer_index() || index.table_of_index() != table {
        return Err(gone());
    }
    Ok(Opened { heap, index })
}

/// Everything that is wrong with an index. VACUUM waits meanwhile; queries and writers go on.
///
/// On a standby nothing keeps the primary's VACUUM from being replayed meanwhile, and its steps may look like damage from between two pages: there
/// a finding counts only if nothing was replayed.
///
/// Which rows belong in it is said by its owner's own code (the index's WHERE), which is not to run with the rights of a superuser who looks.
pub fn violations(oid: Oid) -> Result<Vec<Violation>, Error> {
    let Some(replayed) = recovery::replayed() else {
        return look_over_as_owner(&open(oid, LockMode::ShareUpdateExclusive)?);
    };
    let opened = open(oid, LockMode::AccessShare)?;
    let found = look_over_as_owner(&opened);
    match &found {
        Err(Error::Corrupted { .. }) => {}
        Ok(violations) if !violations.is_empty() => {}
        _ => return found,
    }
    if recovery::stands_still_since(replayed) {
        return found;
    }
    Err(Error::ReplayedMeanwhile {
        name: opened.index.name(),
    })
}

fn look_over_as_owner(opened: &Opened) -> Result<Vec<Violation>, Error> {
    let owner = relation::owner(opened.heap.oid()).unwrap_or_else(access::current_user);
    access::as_role(owner, || look_over(opened))
}

fn look_over(Opened { heap, index }: &Opened) -> Result<Vec<Violation>, Error> {
    let oid = index.oid();
    let mut violations = Vec::new();
    let mut entries: HashSet<EntryTid> = HashSet::new();
    let pages = PgPages::new(index);
    storage::forget(Some(oid));
    let mut nowhere = Vec::new();
    {
        let mut rows = Fetcher::new(heap, heap.blocks(), Snapshot::active());
        let mut build = IndexBuild::of_existing(reopened(heap)?, reopened(index)?);
        let mut missing = Vec::new();
        // Rows by a snapshot from before the index is read: each has its entry by then.
        let found = std::cell::RefCell::new(&mut entries);
        build.scan_after(
            &mut || {
                let mut state = super::read_state(&pages)?;
                let mut found = found.borrow_mut();
                check::check(&pages, &mut state, &mut violations, &mut |tid| {
                    found.insert(tid);
                })?;
                Ok(())
            },
            &mut |tid, row| {
                if row.key.is_some() && !found.borrow().contains(&entry_tid(tid)) {
                    missing.push(tid);
                }
                Ok(())
            },
        )?;
        for &entry in &entries {
            pages.pause();
            let tid = super::heap_tid(entry);
            if !rows.is_used(tid) {
                nowhere.push(tid);
            }
        }
        nowhere.sort_unstable();
        violations.extend(missing.into_iter().map(|tid| about(tid, "has no entry")));
    }
    violations.extend(
        nowhere
            .into_iter()
            .map(|tid| about(tid, "has an entry and is not there")),
    );
    Ok(violations)
}

fn about(tid: Tid, what: &str) -> Violation {
    Violation {
        block: None,
        message: format!("row ({},{}) {what}", tid.block, tid.offset),
    }
}

/// The same relation, opened once more.
fn reopened(relation: &Relation) -> Result<Relation, Error> {
    Relation::try_open_any(relation.oid(), LockMode::AccessShare).ok_or_else(|| Error::NotAnIndex {
        name: relation.name(),
    })
}

/// What an index is made of.
pub struct Inspection {
    /// `flat`, or `tree`.
    pub form: &'static str,
    /// Elements of a vector.
    pub dimension: usize,
    /// The metric's name.
    pub metric: &'static str,
    /// Lists of entries.
    pub lists: u64,
    /// Entries of a row in a tree's lists.
    pub copies: u32,
    /// Bits of a code.
    pub code_bits: usize,
    /// What its pages hold.
    pub census: Census,
    /// Entries that fit the list's pages.
    pub room: u64,
    /// Whether codes are relative to a centre of the rows.
    pub centred: bool,
    /// Rows when recall was learned; 0 if it was not.
    pub learned: u64,
    /// For each recall goal of [`GOALS`], what finding the ten nearest takes.
    pub efforts: [Effort; GOALS.len()],
    /// Bytes on disk.
    pub bytes: u64,
}

/// Looks through an index and says what is in it.
pub fn inspect(oid: Oid) -> Result<Inspection, Error> {
    let Opened { index, .. } = open(oid, LockMode::AccessShare)?;
    let pages = PgPages::new(&index);
    let mut state = super::read_state(&pages)?;
    let census = check::check(&pages, &mut state, &mut Vec::new(), &mut |_| {})?;
    let per_page = state.geometry.capacity(Kind::List).entries();
    Ok(Inspection {
        form: if state.tree.is_some() { "tree" } else { "flat" },
        dimension: state.meta.dimension as usize,
        metric: state.metric.name(),
        lists: census.lists,
        copies: state.meta.copies.max(1),
        code_bits: state.quantizer.code_bits(),
        room: census.list_pages * per_page as u64,
        centred: !state.centre.is_zero(),
        learned: state.meta.learned,
        efforts: GOALS.map(|goal| state.effort(NEIGHBOURS[0], goal)),
        bytes: u64::from(pages.blocks()) * crate::layout::PAGE as u64,
        census,
    })
}
