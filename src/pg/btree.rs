//! Which rows a B-tree index on `pc_number(column, 'field')` has between two numbers.

use super::compat;
use super::gin::Matching;
use super::heap::{Snapshot, Tid};
use super::operator::{FunctionId, NamedFunction};
use super::relation::{LockMode, Oid, Relation};
use super::{pg_list, planner_tree, varlena};
use pgrx::pg_sys::{self, NodeTag};

/// The operator family of `float8` under B-tree; built-in ones keep their OIDs for ever (pg_opfamily.dat).
const FAMILY: u32 = 1970;

thread_local! {
    static NUMBER: NamedFunction = const { NamedFunction::of_jsonb_and_text(c"pc_number") };
}

/// A B-tree index of a table on the number of that field of a column, of all rows, that queries may use.
pub fn index_on(table: &Relation, column: i16, field: &[u8]) -> Option<Relation> {
    let number = NUMBER.with(NamedFunction::get)?;
    table.index_list().into_iter().find_map(|oid| {
        let index = Relation::try_open_any(oid, LockMode::AccessShare)?;
        let is_on = index.is_of_all_rows(pg_sys::BTREE_AM_OID)
            && index.key_column() == 0
            && index.key_family() == Oid::from(FAMILY)
            && is_number_of(&index, number, column, field);
        is_on.then_some(index)
    })
}

/// Is the first expression of an index the number of that field?
fn is_number_of(index: &Relation, number: FunctionId, column: i16, field: &[u8]) -> bool {
    // SAFETY: the expressions are a copy of ours, in a list of nodes, as are a call's arguments.
    let arguments = unsafe {
        let expressions = pg_sys::RelationGetIndexExpressions(index.raw());
        pg_list::member(expressions, 0).and_then(planner_tree::call_of_two)
    };
    let Some((function, of, named)) = arguments else {
        return false;
    };
    // SAFETY: nodes are of the type that their tags say; a constant of type text, as the function's second argument is, holds a varlena
    // if it is not NULL.
    unsafe {
        if function != number || (*of).type_ != NodeTag::T_Var || (*named).type_ != NodeTag::T_Const
        {
            return false;
        }
        let (of, named) = (&*of.cast::<pg_sys::Var>(), &*named.cast::<pg_sys::Const>());
        of.varattno == column
            && !named.constisnull
            && varlena::plain_bytes(named.constvalue).get(pg_sys::VARHDRSZ..) == Some(field)
    }
}

/// The places of the rows of a table whose numbers lie between two bounds, both included, and of those with a list of numbers, in no order: they
/// are to be looked at again. None if they are more than `most`.
pub fn matching(
    table: &Relation,
    index: &Relation,
    (from, to): (Option<f64>, Option<f64>),
    most: usize,
) -> Option<Matching> {
    let mut found = Vec::new();
    let keys = [
        from.map(|from| {
            key(
                pg_sys::BTGreaterEqualStrategyNumber,
                pg_sys::F_FLOAT8GE,
                from,
            )
        }),
        to.map(|to| key(pg_sys::BTLessEqualStrategyNumber, pg_sys::F_FLOAT8LE, to)),
    ];
    collect(
        table,
        index,
        keys.into_iter().flatten().collect(),
        most,
        &mut found,
    )?;
    if to.is_some() {
        // In the order of float8 nothing is above NaN, which stands for the lists.
        let lists = key(pg_sys::BTEqualStrategyNumber, pg_sys::F_FLOAT8EQ, f64::NAN);
        collect(table, index, vec![lists], most, &mut found)?;
    }
    Some((index.name(), found))
}

fn key(strategy: u32, function: u32, bound: f64) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: the key is ours; the functions are built-in and compare two float8, which are passed by value.
    unsafe {
        pg_sys::ScanKeyInit(
            &raw mut key,
            1,
            strategy as pg_sys::StrategyNumber,
            pg_sys::Oid::from(function),
            pg_sys::Datum::from(bound.to_bits()),
        );
    }
    key
}

/// Places asked for under one guard.
const BATCH: usize = 64;

/// Adds the places of the rows that hold all keys; None if there would be more than `most`.
#[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
fn collect(
    table: &Relation,
    index: &Relation,
    mut keys: Vec<pg_sys::ScanKeyData>,
    most: usize,
    found: &mut Vec<Tid>,
) -> Option<()> {
    let count = keys.len() as i32;
    // SAFETY: table and index are open and locked, the index is of float8 in its first column; the active snapshot outlives the scan, and the
    // keys do. The guarded closure owns nothing that would have to be dropped, and the vector it fills has room.
    unsafe {
        let snapshot = Snapshot::active().raw();
        let scan = compat::index_beginscan(table.raw(), index.raw(), snapshot, count);
        pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
        let mut is_over = false;
        while !is_over && found.len() <= most {
            pgrx::check_for_interrupts!();
            found.reserve(BATCH);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for _ in 0..BATCH {
                    let tid = unguarded::index_getnext_tid(
                        scan,
                        pg_sys::ScanDirection::ForwardScanDirection,
                    );
                    is_over = tid.is_null();
                    if is_over {
                        break;
                    }
                    found.push(Tid::from_raw(*tid));
                }
            });
        }
        pg_sys::index_endscan(scan);
        (found.len() <= most).then_some(())
    }
}

/// Without pgrx's guard, for use inside a guarded closure only: one guard for many rows.
mod unguarded {
    use pgrx::pg_sys::{IndexScanDesc, ItemPointer, ScanDirection};

    unsafe extern "C-unwind" {
        pub(super) fn index_getnext_tid(
            scan: IndexScanDesc,
            direction: ScanDirection::Type,
        ) -> ItemPointer;
    }
}
