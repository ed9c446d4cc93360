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
