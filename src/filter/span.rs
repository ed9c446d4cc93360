//! Between which numbers a field must lie for a record to match: what a B-tree index on the field's number can be asked.
#![forbid(unsafe_code)]

use super::{Clause, Filter, Side, Test};

/// Numbers of a field, both bounds included: no record matches whose number lies outside, though some inside may not.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'f> {
    /// The field's name, in the server's encoding.
    pub field: &'f [u8],
    /// The least number, if there is one.
    pub from: Option<f64>,
    /// The largest, likewise.
    pub to: Option<f64>,
}

impl Filter {
    /// The fields that are asked for a number, each once.
    #[must_use]
    pub fn spans(&self) -> Vec<Span<'_>> {
        let mut spans = Vec::new();
        narrow(&self.clauses, &mut spans);
        spans
    }
}

/// All of the clauses must hold, so every one that tells of a number narrows its field's span.
fn narrow<'f>(clauses: &'f [Clause], spans: &mut Vec<Span<'f>>) {
    for clause in clauses {
        match clause {
            Clause::All(clauses) => narrow(clauses, spans),
            Clause::Field { field, test } => {
                if let Some((from, to)) = test.span() {
                    let place = spans.iter().position(|span| span.field == &**field);
                    let place = place.unwrap_or_else(|| {
                        spans.push(Span {
                            field,
                            from: None,
                            to: None,
                        });
                        spans.len() - 1
                    });
                    let span = &mut spans[place];
                    span.from = of_both(span.from, from, f64::max);
                    span.to = of_both(span.to, to, f64::min);
                }
            }
            Clause::Any(_) | Clause::Not(_) => {}
        }
    }
}

fn of_both(known: Option<f64>, new: Option<f64>, narrower: fn(f64, f64) -> f64) -> Option<f64> {
    match (known, new) {
        (Some(known), Some(new)) => Some(narrower(known, new)),
        _ => known.or(new),
    }
}

impl Test {
    /// The least and the largest number that passes, as far as there are bounds; None if others than numbers pass.
    fn span(&self) -> Option<(Option<f64>, Option<f64>)> {
        match self {
            Self::Compare { side, bound } => Some(match side {
                Side::Above | Side::AboveOrAt => (Some(*bound), None),
                Side::Below | Side::BelowOrAt => (None, Some(*bound)),
            }),
            Self::OneOf(operands) => {
                let (least, largest) = operands.only_numbers()?;
                Some((Some(least), Some(largest)))
            }
            Self::NoneOf(_) | Self::Exists(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build;

    #[test]
    fn every_condition_on_a_number_narrows_its_field() {
        type Bounds = (Option<f64>, Option<f64>);
        let cases: &[(&str, &[(&str, Bounds)])] = &[
            (r#"{"a": {"$gt": 3}}"#, &[("a", (Some(3.0), None))]),
            (r#"{"a": {"$lte": -1e3}}"#, &[("a", (None, Some(-1000.0)))]),
            (
                r#"{"a": {"$gte": 3, "$lt": 9}, "b": "x", "$and": [{"a": {"$gt": 4}}, {"c": 7}]}"#,
                &[("a", (Some(4.0), Some(9.0))), ("c", (Some(7.0), Some(7.0)))],
            ),
            (
                r#"{"a": {"$in": [5, 2, 3.5]}}"#,
                &[("a", (Some(2.0), Some(5.0)))],
            ),
            // no number lies there, but a list may have one on each side
            (
                r#"{"a": {"$lt": 1, "$gt": 2}}"#,
                &[("a", (Some(2.0), Some(1.0)))],
            ),
            (r#"{"a": {"$in": [5, "x"]}}"#, &[]),
            (r#"{"a": {"$in": []}}"#, &[]),
            (r#"{"a": true}"#, &[]),
            (r#"{"a": {"$ne": 5}}"#, &[]),
            (r#"{"a": {"$exists": true}}"#, &[]),
            (r#"{"$or": [{"a": 1}, {"a": 2}]}"#, &[]),
            (r#"{"$not": {"a": 1}}"#, &[]),
            ("{}", &[]),
        ];
        for (filter, expected) in cases {
            let parsed = Filter::parse(&build::jsonb(filter)).unwrap();
            let expected = expected.iter().map(|&(field, (from, to))| Span {
                field: field.as_bytes(),
                from,
                to,
            });
            let mut found = parsed.spans();
            found.sort_by_key(|span| span.field);
            assert_eq!(found, expected.collect::<Vec<_>>(), "{filter}");
        }
    }

    #[test]
    fn a_field_has_one_number_or_a_list_of_some() {
        let of = |metadata: &str| Filter::number(&build::jsonb(metadata), b"a").unwrap();
        assert_eq!(of(r#"{"a": 2.5, "b": 1}"#), Some(2.5));
        assert_eq!(of(r#"{"a": -0.0}"#).map(f64::to_bits), Some(0));
        assert!(of(r#"{"a": ["x", 1]}"#).is_some_and(f64::is_nan));
        for none in [r#"{"a": "1"}"#, r#"{"a": ["1"]}"#, r#"{"a": []}"#, "{}"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
