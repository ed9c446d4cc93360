//! A filter as the predicate of a jsonpath that holds for every record that matches, and for few others: what a GIN index on the metadata can be
//! asked (`metadata @@ '…'`).
//!
//! In lax mode, which is jsonpath's default, a comparison with a list is one with its elements, as it is in a filter. Numbers are left out: a GIN
//! index tells apart decimal numbers that are equal as double precision, as which filters compare them.
#![forbid(unsafe_code)]

use super::{Clause, Filter, Test};

/// More values than this are not asked for: reading them all is no way to find few rows.
const MOST_VALUES: usize = 100;

impl Filter {
    /// The predicate; None if there is nothing that such an index could tell.
    #[must_use]
    pub fn jsonpath(&self) -> Option<String> {
        of_all(&self.clauses)
    }
}

/// Of clauses that must all hold those will do that can be asked for.
fn of_all(clauses: &[Clause]) -> Option<String> {
    let known: Vec<String> = clauses.iter().filter_map(Clause::jsonpath).collect();
    joined(known, " && ")
}

fn joined(terms: Vec<String>, between: &str) -> Option<String> {
    match terms.len() {
        0 => None,
        1 => terms.into_iter().next(),
        2..=MOST_VALUES => Some(format!("({})", terms.join(between))),
        _ => None,
    }
}

impl Clause {
    fn jsonpath(&self) -> Option<String> {
        match self {
            Self::All(clauses) => of_all(clauses),
            // Here one that cannot be asked for could let anything through.
            Self::Any(clauses) => {
                let known: Option<Vec<String>> = clauses.iter().map(Self::jsonpath).collect();
                joined(known?, " || ")
            }
            Self::Field {
                field,
                test: Test::OneOf(operands),
            } => {
                let field = quoted(field)?;
                let values = operands.texts_and_booleans()?;
                let terms: Option<Vec<String>> = values
                    .map(|value| match value {
                        Ok(text) => Some(format!("$.{field} == {}", quoted(text)?)),
                        Err(truth) => Some(format!("$.{field} == {truth}")),
                    })
                    .collect();
                joined(terms?, " || ")
            }
            Self::Field { .. } | Self::Not(_) => None,
        }
    }
}

/// As jsonpath quotes strings and keys: like JSON.
fn quoted(text: &[u8]) -> Option<String> {
    serde_json::to_string(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build;

    #[test]
    fn it_asks_for_no_less_than_the_filter() {
        for (filter, path) in [
            (r#"{"genre": "drama"}"#, Some(r#"$."genre" == "drama""#)),
            (
                r#"{"a": true, "b": "x"}"#,
                Some(r#"($."a" == true && $."b" == "x")"#),
            ),
            (
                r#"{"a": {"$in": ["x", "y\"z"]}}"#,
                Some(r#"($."a" == "x" || $."a" == "y\"z")"#),
            ),
            (r#"{"a": "x", "b": {"$gt": 3}}"#, Some(r#"$."a" == "x""#)),
            (
                r#"{"$or": [{"a": "x"}, {"b": "y", "c": 1}]}"#,
                Some(r#"($."a" == "x" || $."b" == "y")"#),
            ),
            // anything may match, as far as the index can tell
            (r#"{"$or": [{"a": "x"}, {"b": {"$gt": 3}}]}"#, None),
            (r#"{"a": {"$in": ["x", 1]}}"#, None),
            (r#"{"a": 1}"#, None),
            (r#"{"a": {"$ne": "x"}}"#, None),
            (r#"{"$not": {"a": "x"}}"#, None),
            (r#"{"a": {"$in": []}}"#, None),
            ("{}", None),
        ] {
            let parsed = Filter::parse(&build::jsonb(filter)).unwrap();
            assert_eq!(parsed.jsonpath().as_deref(), path, "{filter}");
        }
    }
}
