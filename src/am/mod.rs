//! The access method `conifer`: what PostgreSQL asks of an index, answered by the algorithm of [`crate::index`].
//!
//! ```text
//! CREATE INDEX ─► build      INSERT ─► mod::insert      VACUUM ─► vacuum      top-k ─► search      conifer_check ─► check
//! ```
#![forbid(unsafe_code)]

mod ask;
mod build;
pub mod check;
mod reckoning;
pub mod search;
mod source;
pub mod teller;
mod vacuum;

use crate::error::Error;
use crate::filter::signature;
use crate::guc;
use crate::index::insert::{self, Encoder};
use crate::index::plan::Limits;
use crate::index::state::IndexState;
use crate::layout::entry::EntryTid;
use crate::layout::meta::Meta;
use crate::metric::Metric;
use crate::pg::heap::Tid;
use crate::pg::index_am::{Built, IndexAm, IndexRow};
use crate::pg::index_build::IndexBuild;
use crate::pg::index_relation;
use crate::pg::index_vacuum::IndexVacuum;
use crate::pg::memory::maintenance_work_mem;
use crate::pg::operator::{FunctionId, OperatorFunctions};
use crate::pg::relation::{LockMode, Oid, Relation};
use crate::storage::{self, PgPages};
use std::cell::RefCell;
use std::ffi::CStr;

/// The rotation's seed, the same for every index: so a query is rotated once for many, and indexes of one dimension share it.
const SEED: u64 = 0x0c0f_1fe5_1dea_5eed;

/// The metrics of the operator classes, and the operators they order by.
const OPERATORS: [(Metric, &CStr); 3] = [
    (Metric::Euclidean, c"<->"),
    (Metric::DotProduct, c"<#>"),
    (Metric::Cosine, c"<=>"),
];

thread_local! {
    static FUNCTIONS: OperatorFunctions<3> =
        const { OperatorFunctions::new(c"vector", [OPERATORS[0].1, OPERATORS[1].1, OPERATORS[2].1]) };
    static ENCODER: RefCell<Encoder> = RefCell::default();
}

/// The access method.
pub struct Conifer;

impl IndexAm for Conifer {
    const PHASES: &'static [&'static CStr] = build::PHASES;

    fn build(build: &mut IndexBuild) -> Result<Built, Error> {
        build::build(build)
    }

    fn empty_page(index: &Relation) -> Result<Vec<u8>, Error> {
        Ok(new_meta(index)?.new_page())
    }

    fn insert(index: &Relation, tid: Tid, row: IndexRow) -> Result<(), Error> {
        let Some(key) = row.key else {
            return Ok(()); // nothing is near to NULL
        };
        let pages = PgPages::new(index);
        let mut state = state(&pages)?;
        let signature = signature_of(row)?;
        ENCODER.with_borrow_mut(|encoder| {
            key.with_elements(&mut Vec::new(), |vector| {
                insert::insert(
                    &pages,
                    &mut state,
                    encoder,
                    vector,
                    entry_tid(tid),
                    signature,
                )
            })?
        })
    }

    fn remove(vacuum: &mut IndexVacuum, is_dead: &mut dyn FnMut(Tid) -> bool) -> Result<(), Error> {
        vacuum::remove(vacuum, is_dead)
    }

    fn clean_up(vacuum: &mut IndexVacuum) -> Result<(), Error> {
        vacuum::clean_up(vacuum)
    }

    fn is_valid_family(family: Oid) -> bool {
        metric_of_family(family).is_some()
    }
}

/// What indexes are laid out by here.
fn limits() -> Limits {
    Limits {
        tree_rows: guc::tree_rows(),
        memory: maintenance_work_mem(),
    }
}

/// What is known of an index as of now.
pub(super) fn state(pages: &PgPages<'_>) -> Result<IndexState, Error> {
    storage::state(pages, || new_meta(pages.index()))
}

/// The same, read whatever is known of it.
pub(super) fn read_state(pages: &PgPages<'_>) -> Result<IndexState, Error> {
    let state = IndexState::read(pages)?;
    state.meta.check_like(&new_meta(pages.index())?)?;
    Ok(state)
}

/// The metric of an index, by its operator class.
pub fn metric(index: &Relation) -> Option<Metric> {
    metric_of_family(index.key_family())
}

/// The index of this access method on a column of a table that orders by a metric, if there is one that has all rows.
pub fn index_on(table: &Relation, column: i16, wanted: Metric) -> Option<Oid> {
    let lock = LockMode::AccessShare;
    table.index_list().into_iter().find(|&oid| {
        Relation::try_open_any(oid, lock).is_some_and(|index| {
            let index = index.unlock_on_drop(lock);
            index.is_conifer_index()
                && index.is_valid_index()
                && !index.is_partial_index()
                && index.key_column() == column
                && metric(&index) == Some(wanted)
        })
    })
}

/// The operator class of a metric, by name.
pub fn operator_class(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "vector_cosine_ops",
        Metric::DotProduct => "vector_ip_ops",
        Metric::Euclidean => "vector_l2_ops",
    }
}

fn metric_of_family(family: Oid) -> Option<Metric> {
    let functions: [FunctionId; 3] = FUNCTIONS.with(OperatorFunctions::get)?;
    let function = index_relation::ordering_function(family)?;
    let at = functions.iter().position(|known| *known == function)?;
    Some(OPERATORS[at].0)
}

/// The meta body of a new index, or why there can be none.
fn new_meta(index: &Relation) -> Result<Meta, Error> {
    let metric = metric(index).ok_or(Error::Unsupported {
        what: "operator classes of other extensions",
    })?;
    let included = index.included_columns();
    let is_metadata =
        included.len() <= 1 && (2..=index.column_count()).all(|at| index.is_jsonb(at));
    if !is_metadata {
        return Err(Error::IndexShape {
            problem: "a conifer index includes at most one column, of type jsonb",
        });
    }
    if index.key_column() == 0 || included.contains(&0) {
        return Err(Error::IndexShape {
            problem: "a conifer index is on columns, not on expressions",
        });
    }
    match usize::try_from(index.column_modifier(1)) {
        Ok(dimension) if dimension > 0 => Ok(Meta::new(dimension, metric, SEED)),
        _ => Err(Error::ColumnWithoutDimensions),
    }
}

/// The signature of a row's metadata. Of what cannot be read as metadata all bits: it may match anything.
fn signature_of(row: IndexRow) -> Result<u64, Error> {
    Ok(match row.included {
        None => 0,
        Some(metadata) => metadata
            .with_payload(|payload| signature::of_metadata(Some(payload)))
            .unwrap_or(u64::MAX),
    })
}

/// A place of the heap as entries have it.
pub fn entry_tid(tid: Tid) -> EntryTid {
    EntryTid {
        block: tid.block,
        offset: tid.offset,
    }
}

/// The same backwards.
pub fn heap_tid(tid: EntryTid) -> Tid {
    Tid {
        block: tid.block,
        offset: tid.offset,
    }
}
