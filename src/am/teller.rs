//! Ordinary indexes of a table that tell which rows may pass a filter: B-tree indexes on fields, a GIN index on all metadata.
#![forbid(unsafe_code)]

use super::reckoning::{Reckoning, TOLD_BY_BTREE, TOLD_BY_GIN};
use crate::filter::Filter;
use crate::filter::search_argument::{Bound, SearchArgument, Wanted, key_of_string};
use crate::pg::btree::{self, FieldColumn, FieldKeys, Keys};
use crate::pg::gin::{self, Matching};
use crate::pg::memory::work_mem;
use crate::pg::relation::{LockMode, Oid, Relation};
use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;

/// What a row that an ordinary index tells takes of work_mem: its place in a list and in a set.
const BYTES_TOLD: usize = 32;

/// Tables remembered at most; past it all are forgotten, and looked at again when used.
const MOST_KNOWN: usize = 16_384;

/// Such indexes of a table on one of its columns.
#[derive(Default)]
struct Known {
    column: i16,
    fields: Vec<(Oid, Vec<FieldColumn>)>,
    words: Option<Oid>,
}

thread_local! {
    /// By their tables.
    static KNOWN: RefCell<HashMap<Oid, Vec<Rc<Known>>>> = RefCell::default();
    /// How often something was forgotten.
    static FORGOTTEN: Cell<u64> = const { Cell::new(0) };
}

/// Forgets a table whose description has changed, as it does when it gets or loses an index (or, None, all).
pub fn forget(relation: Option<Oid>) {
    FORGOTTEN.set(FORGOTTEN.get() + 1);
    KNOWN.with_borrow_mut(|known| match relation {
        Some(oid) => drop(known.remove(&oid)),
        None => known.clear(),
    });
}

/// The indexes that may be asked about one filter.
pub struct Tellers<'t> {
    table: &'t Relation,
    filter: &'t Filter,
    known: Rc<Known>,
    asked: Vec<FieldKeys<'t>>,
    /// What a GIN index is asked, once that is wanted.
    path: OnceCell<Option<String>>,
    rows: f64,
}

impl<'t> Tellers<'t> {
    /// Of a table of so many pages, for a filter on one of its columns; None if it has no such index.
    #[must_use]
    pub fn of(table: &'t Relation, pages: u32, filter: &'t Filter, column: i16) -> Option<Self> {
        let known = known(table, column);
        if known.fields.is_empty() && known.words.is_none() {
            return None;
        }
        let asked = if known.fields.is_empty() {
            Vec::new()
        } else {
            filter
                .search_arguments()
                .into_iter()
                .map(field_keys)
                .collect()
        };
        Some(Self {
            table,
            filter,
            known,
            asked,
            path: OnceCell::new(),
            // Nothing may have counted them yet; there is hardly a page without one.
            rows: table.rows_counted().max(f64::from(pages)),
        })
    }

    /// How many rows the table has, about.
    #[must_use]
    pub fn rows(&self) -> f64 {
        self.rows
    }

    /// All rows that may pass, in the order of their places, and the name of the index that told them: if a B-tree index does, and they are so few that
    /// they are sooner all looked at than searched for the `k` nearest.
    #[must_use]
    pub fn few(&self, k: usize) -> Option<Matching> {
        let reckoning = Reckoning {
            rows: self.rows,
            k: k as f64,
        };
        // It costs a B-tree little to tell that it knows more than this.
        let (index, mut rows) = self.by_field(reckoning.few().min(most_told()))?;
        rows.sort_unstable();
        Some((index, rows))
    }

    /// The rows that may pass, in no order, by the first B-tree index that finds no more than `most`; and its name. It stops there.
    fn by_field(&self, most: usize) -> Option<Matching> {
        let known = self.known.fields.iter();
        let mut indexes: Vec<_> = known
            .map(|(index, columns)| (*index, btree::keys_for(columns, &self.asked)))
            .filter(|(_, keys)| !keys.is_empty())
            .collect();
        indexes.sort_by_key(|(_, keys)| Reverse(keys.len()));
        indexes
            .iter()
            .find_map(|(index, keys)| btree::matching(self.table, *index, keys, most))
    }

    /// What being told of a row costs, in the units of [`super::reckoning`]; None if no index can tell.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        let mut fields = self.known.fields.iter();
        if fields.any(|(_, columns)| !btree::keys_for(columns, &self.asked).is_empty()) {
            return Some(TOLD_BY_BTREE);
        }
        self.words().map(|_| TOLD_BY_GIN)
    }

    /// The GIN index and what it is asked, if it can be.
    fn words(&self) -> Option<(Oid, &str)> {
        let index = self.known.words?;
        let path = self.path.get_or_init(|| self.filter.jsonpath());
        Some((index, path.as_deref()?))
    }

    /// The rows that may pass, by the first index that finds no more than `most`; and its name. The GIN index, which is asked last, has been read then,
    /// however many there are.
    #[must_use]
    pub fn matching(&self, most: usize) -> Option<Matching> {
        let most = most.min(most_told());
        self.by_field(most).or_else(|| {
            let (index, path) = self.words()?;
            gin::matching(index, path, most)
        })
    }
}

/// What fits into work_mem.
fn most_told() -> usize {
    work_mem() / BYTES_TOLD
}

/// What a B-tree index on fields is asked for a search argument.
fn field_keys(argument: SearchArgument<'_>) -> FieldKeys<'_> {
    let keys = match argument.wanted {
        Wanted::Number { from, to } => {
            let bound = |bound: Bound| (bound.number, bound.included);
            Keys::Between(from.map(bound), to.map(bound))
        }
        Wanted::String(strings) => Keys::OneOf(strings.into_iter().map(key_of_string).collect()),
    };
    FieldKeys {
        field: argument.field,
        keys,
    }
}

/// The indexes of an open table on one of its columns: looked for once.
fn known(table: &Relation, column: i16) -> Rc<Known> {
    let remembered = KNOWN.with_borrow(|known| {
        let of_table = known.get(&table.oid())?;
        of_table
            .iter()
            .find(|known| known.column == column)
            .cloned()
    });
    if let Some(known) = remembered {
        return known;
    }
    let before = FORGOTTEN.get();
    let mut found = Known {
        column,
        ..Known::default()
    };
    for oid in table.index_list() {
        let lock = LockMode::AccessShare;
        let Some(index) = Relation::try_open_any(oid, lock) else {
            continue;
        };
        let index = index.unlock_on_drop(lock);
        let columns = btree::field_columns(&index, column);
        if !columns.is_empty() {
            found.fields.push((oid, columns));
        } else if found.words.is_none() && gin::is_gin_on(&index, column) {
            found.words = Some(oid);
        }
    }
    let found = Rc::new(found);
    if FORGOTTEN.get() != before {
        return found; // an index may have come after the table was asked for its own
    }
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known
            .entry(table.oid())
            .or_default()
            .push(Rc::clone(&found));
    });
    found
}
