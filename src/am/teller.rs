//! Ordinary indexes of a table that tell which rows may pass a filter: B-tree indexes on the numbers of fields, a GIN index on all metadata.
#![forbid(unsafe_code)]

use crate::filter::Filter;
use crate::pg::btree;
use crate::pg::gin::{self, Matching};
use crate::pg::relation::Relation;

/// The least and the largest number, as far as there are bounds.
type Bounds = (Option<f64>, Option<f64>);

/// The indexes that may be asked about one filter, and what they are to be asked.
#[derive(Default)]
pub struct Tellers {
    numbers: Vec<(Relation, Bounds)>,
    words: Option<(Relation, String)>,
}

impl Tellers {
    /// Of a table, for a filter on one of its columns.
    #[must_use]
    pub fn of(table: &Relation, filter: &Filter, column: i16) -> Self {
        let spans = filter.spans();
        let numbers = spans.iter().filter_map(|span| {
            let index = btree::index_on(table, column, span.field)?;
            Some((index, (span.from, span.to)))
        });
        let asked = filter.jsonpath();
        Self {
            numbers: numbers.collect(),
            words: asked.and_then(|asked| Some((gin::index_on(table, column)?, asked))),
        }
    }

    /// Whether none may be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.words.is_none()
    }

    /// The rows that may pass, by the first index that finds no more than `most`; and its name. A B-tree stops there, a GIN index has been read
    /// then: so it is asked last.
    #[must_use]
    pub fn matching(&self, table: &Relation, most: usize) -> Option<Matching> {
        let by_number = self
            .numbers
            .iter()
            .find_map(|(index, bounds)| btree::matching(table, index, *bounds, most));
        by_number.or_else(|| {
            let (index, asked) = self.words.as_ref()?;
            gin::matching(index, asked, most)
        })
    }
}
