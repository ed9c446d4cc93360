//! From a filter's JSON text to its clauses; whatever is not understood is refused with the path to it.
#![forbid(unsafe_code)]

use super::{Clause, Operand};
use crate::error::Error;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON object whose values are left as text: a float is then read correctly rounded, which it is not by serde_json.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

pub(super) fn clauses(json: &str) -> Result<Vec<Clause>, Error> {
    fields(json, "$")?
        .into_iter()
        .map(|(field, condition)| clause(field, condition.get()))
        .collect()
}

fn clause(field: String, condition: &str) -> Result<Clause, Error> {
    let path = format!("$.{field}");
    if field.starts_with('$') {
        return Err(refused(&path, "this operator is not supported"));
    }
    if !condition.starts_with('{') {
        let operand = operand(condition, &path)?;
        return Ok(Clause::Equal { field, operand });
    }
    let mut operand_of_equal = None;
    for (operator, text) in fields(condition, &path)? {
        let path = format!("{path}.{operator}");
        match operator.as_str() {
            "$eq" => operand_of_equal = Some(operand(text.get(), &path)?),
            name if name.starts_with('$') => {
                return Err(refused(&path, "this operator is not supported"));
            }
            _ => return Err(refused(&path, "metadata has no nested fields")),
        }
    }
    let operand = operand_of_equal.ok_or_else(|| refused(&path, "an operator is missing"))?;
    Ok(Clause::Equal { field, operand })
}

fn operand(json: &str, path: &str) -> Result<Operand, Error> {
    let unreadable = |_| refused(path, "this is not JSON");
    let found = match json.bytes().next() {
        Some(b'"') => {
            return serde_json::from_str(json)
                .map(Operand::String)
                .map_err(unreadable);
        }
        Some(b't') => return Ok(Operand::Bool(true)),
        Some(b'f') => return Ok(Operand::Bool(false)),
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b'n') => "null",
        _ => {
            // JSON's numbers are a part of what Rust reads as f64.
            let number = json
                .parse()
                .map_err(|_| refused(path, "this is not JSON"))?;
            return Ok(Operand::Number(number));
        }
    };
    Err(refused(
        path,
        &format!("the value to equal must be a string, number or boolean, not {found}"),
    ))
}

fn fields<'a>(json: &'a str, path: &str) -> Result<Fields<'a>, Error> {
    if !json.trim_start().starts_with('{') {
        return Err(refused(path, "a filter must be a JSON object"));
    }
    serde_json::from_str(json).map_err(|error| refused(path, &format!("this is not JSON: {error}")))
}

fn refused(path: &str, problem: &str) -> Error {
    Error::InvalidFilter {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
