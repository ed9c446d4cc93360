//! Whether a record's metadata satisfies a filter. Nothing is copied: a filter runs over millions of rows.
#![forbid(unsafe_code)]

use super::values::{Operands, Relation};
use super::{Clause, Filter, Side, Test};
use crate::error::Error;
use crate::record::jsonb::{Object, Value};

impl Filter {
    /// Whether a record with this metadata matches. None, and what is no object, is metadata without fields.
    pub fn matches(&self, metadata: Option<Value<'_>>) -> Result<bool, Error> {
        let object = match metadata {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        };
        holds_for_all(&self.clauses, object.as_ref())
    }
}

fn holds_for_all(clauses: &[Clause], metadata: Option<&Object<'_>>) -> Result<bool, Error> {
    for clause in clauses {
        if !clause.holds(metadata)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Clause {
    fn holds(&self, metadata: Option<&Object<'_>>) -> Result<bool, Error> {
        match self {
            Self::All(clauses) => holds_for_all(clauses, metadata),
            Self::Any(clauses) => {
                for clause in clauses {
                    if clause.holds(metadata)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(clause) => Ok(!clause.holds(metadata)?),
            Self::Field { field, test } => {
                let value = metadata.map(|object| object.get(field)).transpose()?;
                test.holds(value.flatten())
            }
        }
    }
}

impl Test {
    fn holds(&self, value: Option<Value<'_>>) -> Result<bool, Error> {
        if let Self::Exists(wanted) = self {
            return Ok(value.is_some() == *wanted);
        }
        let Some(value) = value else {
            return Ok(false);
        };
        // Of a list one element must do, but all must differ.
        let wants_all = matches!(self, Self::NoneOf(_));
        let Value::Array(list) = value else {
            return self.holds_for(value);
        };
        for element in list.iter() {
            if self.holds_for(element?)? != wants_all {
                return Ok(!wants_all);
            }
        }
        Ok(wants_all)
    }

    fn holds_for(&self, value: Value<'_>) -> Result<bool, Error> {
        Ok(match self {
            Self::OneOf(operands) => operands.relation(value)? == Relation::Equal,
            Self::NoneOf(operands) => differs(operands, value)?,
            Self::Compare { side, bound } => match value {
                Value::Number(number) => side.holds(number.to_f64()?, *bound),
                _ => false,
            },
            Self::Exists(wanted) => *wanted,
        })
    }
}

fn differs(operands: &Operands, value: Value<'_>) -> Result<bool, Error> {
    // Where nothing is excluded there is no type to differ from.
    Ok(operands.is_empty() || operands.relation(value)? == Relation::Different)
}

impl Side {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Above => number > bound,
            Self::AboveOrAt => number >= bound,
            Self::Below => number < bound,
            Self::BelowOrAt => number <= bound,
        }
    }
}
