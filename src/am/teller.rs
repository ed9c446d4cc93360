//! Ordinary indexes of a table that tell which rows may pass a filter: B-tree indexes on the numbers of fields, a GIN index on all metadata.
#![forbid(unsafe_code)]

use super::reckoning::{TOLD_BY_BTREE, TOLD_BY_GIN};
use crate::filter::Filter;
use crate::pg::btree;
use crate::pg::gin::{self, Matching};
use crate::pg::relation::Relation;

/// The least and the largest number, as far as there are bounds.
type Bounds = (Option<f64>, Option<f64>);

/// The indexes that may be asked about one filter, and what they are to be asked.
pub struct Tellers<'t> {
    table: &'t Relation,
    numbers: Vec<(Relation, Bounds)>,
    words: Option<(Relation, String)>,
}

impl<'t> Tellers<'t> {
    /// Of a table, for a filter on one of its columns; None if it has no such index.
    #[must_use]
    pub fn of(table: &'t Relation, filter: &Filter, column: i16) -> Option<Self> {
        let spans = filter.spans();
        let numbers = spans.iter().filter_map(|span| {
            let index = btree::index_on(table, column, span.field)?;
            Some((index, (span.from, span.to)))
        });
        let numbers: Vec<_> = numbers.collect();
        let asked = filter.jsonpath();
        let words = asked.and_then(|asked| Some((gin::index_on(table, column)?, asked)));
        (!numbers.is_empty() || words.is_some()).then_some(Self {
            table,
            numbers,
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
        if self.numbers.is_empty() {
            TOLD_BY_GIN
        } else {
            TOLD_BY_BTREE
        }
    }

    /// The rows that may pass, in no order, by the first B-tree index that finds no more than `most`; and its name. It stops there.
    #[must_use]
    pub fn by_number(&self, most: usize) -> Option<Matching> {
        let mut numbers = self.numbers.iter();
        numbers.find_map(|(index, bounds)| btree::matching(self.table, index, *bounds, most))
    }

    /// The rows that may pass, by the GIN index if it finds no more than `most`; and its name. It has been read then, however many there are.
    #[must_use]
    pub fn by_words(&self, most: usize) -> Option<Matching> {
        let (index, asked) = self.words.as_ref()?;
        gin::matching(index, asked, most)
    }

    /// The rows that may pass, by the first index that finds no more than `most`; and its name. The GIN index is asked last.
    #[must_use]
    pub fn matching(&self, most: usize) -> Option<Matching> {
        self.by_number(most).or_else(|| self.by_words(most))
    }
}
