//! Which rows a B-tree index on fields of metadata has: its columns are `pc_number(column, 'field')` and `pc_string(column, 'field')`.

mod keys;

use super::compat;
use super::gin::Matching;
use super::heap::{Snapshot, Tid};
use super::operator::{FunctionId, NamedFunction};
use super::relation::{LockMode, Relation};
use super::{pg_list, planner_tree, varlena};
use keys::ScanKeys;
use pgrx::pg_sys::{self, NodeTag};

/// The operator families of `float8` and `text` under B-tree; built-in ones keep their OIDs for ever (pg_opfamily.dat).
const FLOAT_FAMILY: u32 = 1970;
const TEXT_FAMILY: u32 = 1994;

thread_local! {
    static NUMBER: NamedFunction = const { NamedFunction::of_jsonb_and_text(c"pc_number") };
    static STRING: NamedFunction = const { NamedFunction::of_jsonb_and_text(c"pc_string") };
}

/// What the rows are to have in a field.
#[derive(Clone, Debug)]
pub struct FieldKeys<'f> {
    /// Its name.
    pub field: &'f [u8],
    pub keys: Keys,
}

/// What `pc_number` or `pc_string` of the field is to be; or NaN or an empty string, which stand for lists.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Between two numbers, both included.
    Between(Option<f64>, Option<f64>),
    /// One of these strings.
    OneOf(Vec<Box<[u8]>>),
}

/// An index, and what is asked of its first columns.
pub struct FieldIndex {
    index: Relation,
    keys: Vec<Keys>,
}

/// The B-tree indexes of a table, on all rows, whose first columns are fields of a column for which there are keys: first those with the most of them.
pub fn indexes_on(table: &Relation, column: i16, asked: &[FieldKeys<'_>]) -> Vec<FieldIndex> {
    let functions = [&NUMBER, &STRING].map(|function| function.with(NamedFunction::get));
    let [Some(number), Some(string)] = functions else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for oid in table.index_list() {
        let Some(index) = Relation::try_open_any(oid, LockMode::AccessShare) else {
            continue;
        };
        if !index.is_of_all_rows(pg_sys::BTREE_AM_OID) {
            continue;
        }
        let keys = keys_of(&index, (number, string), column, asked);
        if !keys.is_empty() {
            found.push(FieldIndex { index, keys });
        }
    }
    found.sort_by_key(|index| std::cmp::Reverse(index.keys.len()));
    found
}

/// The keys for the first columns of an index; behind a range a further column would tell little.
fn keys_of(
    index: &Relation,
    (number, string): (FunctionId, FunctionId),
    column: i16,
    asked: &[FieldKeys<'_>],
) -> Vec<Keys> {
    let mut keys = Vec::new();
    while index.is_expression(keys.len()) {
        // SAFETY: the expressions of the index's entry are not freed while nothing else is called; all columns so far are expressions, in their order.
        let expression = unsafe { pg_list::member(index.expressions(), keys.len()) };
        let family = index.family_of(keys.len()).to_u32();
        let next = expression.and_then(|expression| {
            let (function, field) = field_of(expression, column)?;
            asked.iter().find_map(|asked| {
                let fits = match asked.keys {
                    Keys::Between(..) => function == number && family == FLOAT_FAMILY,
                    Keys::OneOf(_) => function == string && family == TEXT_FAMILY,
                };
                (fits && asked.field == field).then_some(&asked.keys)
            })
        });
        let Some(next) = next else {
            break;
        };
        keys.push(next.clone());
        if keys::is_range(next) {
            break;
        }
    }
    keys
}

/// The function of a column and a constant name that an expression calls, and the name.
fn field_of<'e>(expression: *mut pg_sys::Expr, column: i16) -> Option<(FunctionId, &'e [u8])> {
    let (function, of, named) = planner_tree::call_of_two(expression)?;
    // SAFETY: nodes are of the type that their tags say; whoever asks knows the functions, whose second argument is of type text: a constant of it
    // holds a varlena if it is not NULL, which lives as long as the expression.
    unsafe {
        if (*of).type_ != NodeTag::T_Var || (*named).type_ != NodeTag::T_Const {
            return None;
        }
        let (of, named) = (&*of.cast::<pg_sys::Var>(), &*named.cast::<pg_sys::Const>());
        if of.varattno != column || named.constisnull || named.consttype != pg_sys::TEXTOID {
            return None;
        }
        let field = varlena::plain_bytes(named.constvalue).get(pg_sys::VARHDRSZ..)?;
        Some((function, field))
    }
}

/// The places of the rows of a table that hold the keys of an index, and of those with a list in place of one, in no order: they are to be looked at
/// again. None if they are more than `most`.
pub fn matching(table: &Relation, index: &FieldIndex, most: usize) -> Option<Matching> {
    let mut found = Vec::new();
    let mut keys = ScanKeys::of(&index.index, &index.keys);
    let mut all = true;
    keys.each(|keys| all = all && collect(table, &index.index, keys, most, &mut found));
    all.then(|| (index.index.name(), found))
}

/// Places asked for under one guard.
const BATCH: usize = 64;

/// Adds the places of the rows that hold all keys; false if there would be more than `most`.
#[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
fn collect(
    table: &Relation,
    index: &Relation,
    keys: &mut [pg_sys::ScanKeyData],
    most: usize,
    found: &mut Vec<Tid>,
) -> bool {
    let count = keys.len() as i32;
    // SAFETY: table and index are open and locked, the keys are of the types of the index's columns; the active snapshot outlives the scan, and
    // the keys do. The guarded closure owns nothing that would have to be dropped, and the vector it fills has room.
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
        found.len() <= most
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
