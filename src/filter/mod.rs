//! The metadata filter: what a query's `filter` means, and whether a record's metadata satisfies it.
//!
//! So far equality only: `{"genre": "drama"}`, the same as `{"genre": {"$eq": "drama"}}`; several fields must all match.
//! A field that is a list matches if any of its elements does. A missing field, missing metadata, or a value of another type
//! than the operand's does not match. Numbers are compared as `f64`, which is what metadata numbers are.

#![forbid(unsafe_code)]

mod parse;
pub mod signature;

#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::record::jsonb::{Object, Value};

/// A filter, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// All of them must hold.
    clauses: Vec<Clause>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
enum Clause {
    /// `$eq`: the field, or one element of it, equals the operand.
    Equal { field: String, operand: Operand },
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    String(String),
    Number(f64),
    Bool(bool),
}

impl Filter {
    /// The filter of a JSON object.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let clauses = parse::clauses(json)?;
        Ok(Self { clauses })
    }

    /// Whether it has no conditions, so that every record matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether a record with this metadata (none: it has no metadata) matches.
    pub fn matches(&self, metadata: Option<Value<'_>>) -> Result<bool, Error> {
        let Some(Value::Object(object)) = metadata else {
            return Ok(self.is_empty());
        };
        for clause in &self.clauses {
            if !clause.matches(&object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Clause {
    fn matches(&self, metadata: &Object<'_>) -> Result<bool, Error> {
        match self {
            Self::Equal { field, operand } => match metadata.get(field.as_bytes())? {
                None => Ok(false),
                Some(Value::Array(list)) => {
                    for element in list.iter() {
                        if operand.equals(element?)? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
                Some(value) => operand.equals(value),
            },
        }
    }
}

impl Operand {
    fn equals(&self, value: Value<'_>) -> Result<bool, Error> {
        Ok(match (self, value) {
            (Self::String(wanted), Value::String(found)) => wanted.as_bytes() == found,
            (Self::Number(wanted), Value::Number(found)) => *wanted == found.to_f64()?,
            (Self::Bool(wanted), Value::Bool(found)) => *wanted == found,
            _ => false,
        })
    }
}
