//! From a filter's binary `jsonb` to its clauses; whatever is not of the language is refused with the path to it.
//!
//! Read from `jsonb` rather than text, so that an operand is decoded by the same code as the numbers and strings it is
//! compared with.
#![forbid(unsafe_code)]

use super::path::Path;
use super::values::Operands;
use super::{Clause, MAX_CONDITIONS, MAX_LEVELS, MAX_VALUES, Side, Test};
use crate::error::Error;
use crate::record::jsonb::{Array, Object, Value};

/// The clauses of a filter, all of which must hold.
pub(super) fn filter(value: Value<'_>) -> Result<Vec<Clause>, Error> {
    let Value::Object(object) = value else {
        return Err(Path::Root.refused("a filter must be a JSON object"));
    };
    Parser::default().clauses(&object, &Path::Root, 0)
}

/// What was read so far.
#[derive(Default)]
struct Parser {
    conditions: usize,
}

impl Parser {
    /// What the pairs of an object below `level` operators `$and`, `$or` and `$not` ask for.
    fn clauses(
        &mut self,
        object: &Object<'_>,
        path: &Path<'_>,
        level: usize,
    ) -> Result<Vec<Clause>, Error> {
        let mut clauses = Vec::new();
        for pair in object.iter() {
            let (key, value) = pair?;
            let path = path.key(key);
            if key.starts_with(b"$") {
                clauses.push(self.logical(key, value, &path, level + 1)?);
            } else {
                self.field(key, value, &path, &mut clauses)?;
            }
        }
        Ok(clauses)
    }

    fn logical(
        &mut self,
        operator: &[u8],
        value: Value<'_>,
        path: &Path<'_>,
        level: usize,
    ) -> Result<Clause, Error> {
        match operator {
            b"$and" | b"$or" | b"$not" => (),
            b"$eq" | b"$ne" | b"$gt" | b"$gte" | b"$lt" | b"$lte" | b"$in" | b"$nin"
            | b"$exists" => {
                return Err(path.refused("this operator must stand inside a field's object"));
            }
            _ => return Err(path.refused("there is no such operator")),
        }
        self.count(path)?;
        if level > MAX_LEVELS {
            return Err(path.refused(format!("nested more than {MAX_LEVELS} levels deep")));
        }
        match (operator, value) {
            (b"$not", value) => Ok(Clause::Not(Box::new(self.clause(value, path, level)?))),
            (b"$and", Value::Array(list)) => Ok(Clause::All(self.list(list, path, level)?)),
            (_, Value::Array(list)) => Ok(Clause::Any(self.list(list, path, level)?)),
            (_, other) => Err(path.refused(format!("a list is needed, not {}", kind(other)))),
        }
    }

    fn list(
        &mut self,
        list: Array<'_>,
        path: &Path<'_>,
        level: usize,
    ) -> Result<Vec<Clause>, Error> {
        if list.is_empty() {
            return Err(path.refused("the list is empty"));
        }
        list.iter()
            .enumerate()
            .map(|(index, element)| self.clause(element?, &path.element(index), level))
            .collect()
    }

    /// A filter inside a filter.
    fn clause(&mut self, value: Value<'_>, path: &Path<'_>, level: usize) -> Result<Clause, Error> {
        let Value::Object(object) = value else {
            return Err(path.refused(format!("an object is needed, not {}", kind(value))));
        };
        let mut clauses = self.clauses(&object, path, level)?;
        match clauses.len() {
            0 => Err(path.refused("the object is empty")),
            1 => Ok(clauses.remove(0)),
            _ => Ok(Clause::All(clauses)),
        }
    }

    fn field(
        &mut self,
        field: &[u8],
        value: Value<'_>,
        path: &Path<'_>,
        clauses: &mut Vec<Clause>,
    ) -> Result<(), Error> {
        let mut push = |test| {
            let field = field.into();
            clauses.push(Clause::Field { field, test });
        };
        let Value::Object(operators) = value else {
            self.count(path)?;
            push(Test::OneOf(one(value, path)?));
            return Ok(());
        };
        if operators.is_empty() {
            return Err(path.refused("an operator is missing"));
        }
        for pair in operators.iter() {
            let (operator, operand) = pair?;
            let path = path.key(operator);
            self.count(&path)?;
            push(test(operator, operand, &path)?);
        }
        Ok(())
    }

    fn count(&mut self, path: &Path<'_>) -> Result<(), Error> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(path.refused(format!("more than {MAX_CONDITIONS} conditions")));
        }
        Ok(())
    }
}

fn test(operator: &[u8], operand: Value<'_>, path: &Path<'_>) -> Result<Test, Error> {
    let compare = |side| {
        let bound = number(operand, path)?;
        Ok(Test::Compare { side, bound })
    };
    match operator {
        b"$eq" => Ok(Test::OneOf(one(operand, path)?)),
        b"$ne" => Ok(Test::NoneOf(one(operand, path)?)),
        b"$gt" => compare(Side::Above),
        b"$gte" => compare(Side::AboveOrAt),
        b"$lt" => compare(Side::Below),
        b"$lte" => compare(Side::BelowOrAt),
        b"$in" => Ok(Test::OneOf(several(operand, path)?)),
        b"$nin" => Ok(Test::NoneOf(several(operand, path)?)),
        b"$exists" => match operand {
            Value::Bool(wanted) => Ok(Test::Exists(wanted)),
            other => Err(path.refused(format!("true or false is needed, not {}", kind(other)))),
        },
        b"$and" | b"$or" | b"$not" => {
            Err(path.refused("this operator must stand outside of fields"))
        }
        name if name.starts_with(b"$") => Err(path.refused("there is no such operator")),
        _ => Err(path.refused("metadata has no nested fields")),
    }
}

fn number(operand: Value<'_>, path: &Path<'_>) -> Result<f64, Error> {
    match operand {
        Value::Number(number) => number.to_f64(),
        other => Err(path.refused(format!(
            "the value to compare with must be a number, not {}",
            kind(other)
        ))),
    }
}

/// The operand of `$eq` or `$ne`.
fn one(operand: Value<'_>, path: &Path<'_>) -> Result<Operands, Error> {
    Operands::of(std::iter::once(Ok(operand)))?.map_err(|(_, other)| {
        path.refused(format!(
            "the value to equal must be a string, number or boolean, not {}",
            kind(other)
        ))
    })
}

/// Those of `$in` or `$nin`.
fn several(operand: Value<'_>, path: &Path<'_>) -> Result<Operands, Error> {
    let Value::Array(list) = operand else {
        return Err(path.refused(format!("a list is needed, not {}", kind(operand))));
    };
    if list.len() > MAX_VALUES {
        let problem = format!("{} values are more than {MAX_VALUES}", list.len());
        return Err(path.refused(problem));
    }
    let refused = |index, other| {
        let problem = "a value of the list must be a string or number, not";
        path.element(index)
            .refused(format!("{problem} {}", kind(other)))
    };
    for (index, value) in list.iter().enumerate() {
        if let boolean @ Value::Bool(_) = value? {
            return Err(refused(index, boolean));
        }
    }
    Operands::of(list.iter())?.map_err(|(index, other)| refused(index, other))
}

fn kind(value: Value<'_>) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        other => other.kind(),
    }
}
