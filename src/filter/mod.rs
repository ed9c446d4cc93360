//! The metadata filter: what a query's `filter` means, and whether a record's metadata satisfies it.
//!
//! The language is Pinecone's:
//!
//! | | |
//! |---|---|
//! | `{"f": v}`, `{"f": {"$eq": v}}` | the field, or an element of its list, equals the string, number or boolean `v` |
//! | `{"f": {"$ne": v}}` | the field is there, and it, or every element of its list, differs from `v` |
//! | `{"f": {"$gt": n}}`, `$gte`, `$lt`, `$lte` | a number on that side of the number `n` |
//! | `{"f": {"$in": [v, …]}}`, `$nin` | `$eq` of any, `$ne` of each, of strings and numbers |
//! | `{"f": {"$exists": true}}` | whether the record has the field |
//! | `{"$and": [c, …]}`, `{"$or": [c, …]}`, `{"$not": c}` | of filters `c` |
//!
//! Several fields, and several operators of one field, must all hold; `{}` alone matches every record. Numbers are compared
//! as `f64`, which is what metadata numbers are; strings by their bytes.
//!
//! Where Pinecone's manual is silent: a value of another type than the operand's matches nothing, `$ne` and `$nin` included,
//! and so does a missing field, but for `$exists: false`. `$not` turns around whatever is below it. An empty list differs from
//! everything. `$in` of an empty list matches nothing, `$nin` of one every record with the field.
#![forbid(unsafe_code)]

pub mod estimate;
mod evaluate;
pub mod facet;
mod jsonpath;
mod needed;
mod parse;
mod path;
pub mod search_argument;
pub mod signature;
mod values;

#[cfg(test)]
mod plain;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::record::jsonb;
pub use needed::Needed;
use values::Operands;

/// Values in one `$in` or `$nin`, as Pinecone has it.
pub const MAX_VALUES: usize = 10_000;
/// How deep `$and`, `$or` and `$not` may stand in each other.
pub const MAX_LEVELS: usize = 64;
/// Operators in a whole filter, a bare value counting as its `$eq`.
pub const MAX_CONDITIONS: usize = 100_000;

/// A filter, understood. The default matches every record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of them must hold.
    clauses: Vec<Clause>,
}

/// A part of a filter that is true or false of a record by itself. At most [`MAX_LEVELS`] deep.
#[derive(Clone, Debug, PartialEq)]
enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    Field { field: Box<[u8]>, test: Test },
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// `$eq`, `$in`
    OneOf(Operands),
    /// `$ne`, `$nin`
    NoneOf(Operands),
    /// `$gt`, `$gte`, `$lt`, `$lte`
    Compare { side: Side, bound: f64 },
    /// `$exists`
    Exists(bool),
}

/// Where a number must lie, seen from the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Above,
    AboveOrAt,
    Below,
    BelowOrAt,
}

impl Filter {
    /// The filter that a binary `jsonb` (without its length header) is. What is not of the language is an
    /// [`Error::InvalidFilter`] with the path to it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let clauses = parse::filter(jsonb::parse(bytes)?)?;
        Ok(Self { clauses })
    }

    /// What both match.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.clauses.extend(other.clauses);
        self
    }

    /// Whether it has no conditions, so that every record matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }
}
