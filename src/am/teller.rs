//! Ordinary indexes of a table that tell which rows may pass a filter: B-tree indexes on fields, a GIN index on all metadata.
#![forbid(unsafe_code)]

use super::reckoning::{TOLD_BY_BTREE, TOLD_BY_GIN};
use crate::filter::Filter;
use crate::filter::search_argument::{SearchArgument, Wanted, key_of_string};
use crate::pg::btree::{self, FieldIndex, FieldKeys, Keys};
use crate::pg::gin::{self, Matching};
use crate::pg::relation::Relation;

/// The indexes that may be asked about one filter, and what they are to be asked.
pub struct Tellers<'t> {
    table: &'t Relation,
    fields: Vec<FieldIndex>,
    words: Option<(Relation, String)>,
}

impl<'t> Tellers<'t> {
    /// Of a table, for a filter on one of its columns; None if it has no such index.
    #[must_use]
    pub fn of(table: &'t Relation, filter: &Filter, column: i16) -> Option<Self> {
        let arguments = filter.search_arguments().into_iter();
        let asked: Vec<_> = arguments.map(field_keys).collect();
        let fields = if asked.is_empty() {
            Vec::new()
        } else {
            btree::indexes_on(table, column, &asked)
        };
        let path = filter.jsonpath();
        let words = path.and_then(|path| Some((gin::index_on(table, column)?, path)));
        (!fields.is_empty() || words.is_some()).then_some(Self {
            table,
            fields,
            words,
        })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Relation {
        self.table
    }

    /// What being told of a row costs, in the units of [`super::reckoning`].
    #[must_use]
    pub fn cost(&self) -> f64 {
        if self.fields.is_empty() {
            TOLD_BY_GIN
        } else {
            TOLD_BY_BTREE
        }
    }

    /// The rows that may pass, in no order, by the first B-tree index that finds no more than `most`; and its name. It stops there.
    #[must_use]
    pub fn by_field(&self, most: usize) -> Option<Matching> {
        let mut fields = self.fields.iter();
        fields.find_map(|index| btree::matching(self.table, index, most))
    }

    /// The rows that may pass, by the first index that finds no more than `most`; and its name. The GIN index, which is asked last, has been read then,
    /// however many there are.
    #[must_use]
    pub fn matching(&self, most: usize) -> Option<Matching> {
        self.by_field(most).or_else(|| {
            let (index, asked) = self.words.as_ref()?;
            gin::matching(index, asked, most)
        })
    }
}

/// What a B-tree index on fields is asked for a search argument.
fn field_keys(argument: SearchArgument<'_>) -> FieldKeys<'_> {
    let keys = match argument.wanted {
        Wanted::Number { from, to } => Keys::Between(from, to),
        Wanted::String(strings) => {
            let keys = strings.into_iter().map(key_of_string);
            Keys::OneOf(keys.map(Box::from).collect())
        }
    };
    FieldKeys {
        field: argument.field,
        keys,
    }
}
