//! Which rows a B-tree index on fields of metadata has: its columns are `pc_number(column, 'field')` and `pc_string(column, 'field')`.

mod keys;

use super::compat;
use super::gin::Matching;
use super::heap::{Snapshot, Tid};
use super::operator::{FunctionId, NamedFunction};
use super::relation::{LockMode, Oid, Relation};
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

/// A column of such an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldColumn {
    /// The field's name.
    field: Box<[u8]>,
    is_number: bool,
}

/// What the rows are to have in a field.
#[derive(Clone, Debug)]
pub struct FieldKeys<'f> {
    /// Its name.
    pub field: &'f [u8],
    pub keys: Keys<'f>,
}

/// What `pc_number` or `pc_string` of the field is to be; or NaN or an empty string, which stand for lists.
#[derive(Clone, Debug)]
pub enum Keys<'f> {
    /// Between two bounds, each a number and whether it is included.
    Between(Option<Bound>, Option<Bound>),
    /// One of these strings.
    OneOf(Vec<&'f [u8]>),
}

/// A number, and whether it is included.
pub type Bound = (f64, bool);

/// The first columns of a B-tree index on all rows, valid or not, as far as they are fields of that column of the table; none if it is another index.
pub fn field_columns(index: &Relation, column: i16) -> Vec<FieldColumn> {
    let functions = [&NUMBER, &STRING].map(|function| function.with(NamedFunction::get));
    let [Some(number), Some(string)] = functions else {
        return Vec::new();
    };
    let mut columns = Vec::new();
    while index.is_of_all_rows(pg_sys::BTREE_AM_OID) && index.is_expression(columns.len()) {
        let place = columns.len();
        // SAFETY: a list of nodes in the index's own entry of the relation cache, which stays as it is while nothing else is called. All columns
        // so far are expressions, in their order.
        let expression = unsafe { pg_list::member(index.expressions(), place) };
        let Some((function, field)) =
            expression.and_then(|expression| field_of(expression, column))
        else {
            break;
        };
        let is_number = match (function, index.family_of(place).to_u32()) {
            (function, FLOAT_FAMILY) if function == number => true,
            (function, TEXT_FAMILY) if function == string => false,
            _ => break,
        };
        columns.push(FieldColumn {
            field: field.into(),
            is_number,
        });
    }
    columns
}

/// The keys for the first columns of an index; behind a range a further column would tell little.
pub fn keys_for<'k>(columns: &[FieldColumn], asked: &'k [FieldKeys<'k>]) -> Vec<&'k Keys<'k>> {
    let mut found = Vec::new();
    for column in columns {
        let fits = |asked: &&FieldKeys<'_>| {
            *asked.field == *column.field
                && matches!(asked.keys, Keys::Between(..)) == column.is_number
        };
        let Some(asked) = asked.iter().find(fits) else {
            break;
        };
        found.push(&asked.keys);
        if keys::is_range(&asked.keys) {
            break;
        }
    }
    found
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

/// The places of the rows of a table that hold keys for the first columns of an index, and of those with a list in place of one, in no order: they are
/// to be looked at again. None if they are more than `most`, or queries may not go by the index.
pub fn matching(table: &Relation, index: Oid, keys: &[&Keys<'_>], most: usize) -> Option<Matching> {
    let lock = LockMode::AccessShare;
    let index = Relation::try_open_any(index, lock)?.unlock_on_drop(lock);
    if !index.is_usable() {
        return None;
    }
    let mut found = Vec::new();
    let mut all = true;
    ScanKeys::of(&index, keys)
        .each(|keys| all = all && collect(table, &index, keys, most, &mut found));
    all.then(|| (index.name(), found))
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
