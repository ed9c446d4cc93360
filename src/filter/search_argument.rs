//! What one field must be for a record to match: what a B-tree index on the field can be asked.
//!
//! Selinger et al., Access Path Selection in a Relational Database Management System (SIGMOD 1979), call such conditions search arguments.
#![forbid(unsafe_code)]

use super::{Clause, Filter, Side, Test};
use crate::error::Error;
use crate::record::jsonb::{self, Value};

/// Longer strings stand in an index as lists do: an entry of a B-tree has to fit a third of a page.
const LONGEST: usize = 500;

/// A condition on one field. No record matches that does not hold it; not every one that does matches.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchArgument<'f> {
    /// The field's name, in the server's encoding.
    pub field: &'f [u8],
    /// What is asked of it.
    pub wanted: Wanted<'f>,
}

/// What the value of a field, or an element of its list, must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted<'f> {
    /// A number between two bounds, if there are any.
    Number {
        /// From below.
        from: Option<Bound>,
        /// From above.
        to: Option<Bound>,
    },
    /// One of these strings.
    String(Vec<&'f [u8]>),
}

/// A bound of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The number.
    pub number: f64,
    /// Whether it is among them.
    pub included: bool,
}

impl Filter {
    /// Its search arguments: of a field at most one on numbers and one on strings.
    #[must_use]
    pub fn search_arguments(&self) -> Vec<SearchArgument<'_>> {
        let mut found = Vec::new();
        collect(&self.clauses, &mut found);
        found
    }

    /// What filters compare of a field: its number; NaN for a list with numbers in it, of which each is compared; None where there is none.
    pub fn number(metadata: &[u8], field: &[u8]) -> Result<Option<f64>, Error> {
        let is_number = |value: &Value<'_>| matches!(value, Value::Number(_));
        Ok(match value_or_list(metadata, field, is_number)? {
            Some(Value::Number(number)) => Some(number.to_f64()? + 0.0),
            found => found.map(|_| f64::NAN),
        })
    }

    /// The string that filters compare of a field; an empty one for a list with strings in it, of which each is compared, and for one of more than
    /// 500 bytes; None where there is none.
    pub fn string<'m>(metadata: &'m [u8], field: &[u8]) -> Result<Option<&'m [u8]>, Error> {
        let is_string = |value: &Value<'_>| matches!(value, Value::String(_));
        Ok(match value_or_list(metadata, field, is_string)? {
            Some(Value::String(string)) => Some(key_of_string(string)),
            found => found.map(|_| &[][..]),
        })
    }
}

/// What stands for a string in an index on [`Filter::string`]; lists stand there as an empty one does.
#[must_use]
pub fn key_of_string(string: &[u8]) -> &[u8] {
    if string.len() > LONGEST { &[] } else { string }
}

/// The value of a field if it is of the kind asked for, or a list with such an element.
fn value_or_list<'m>(
    metadata: &'m [u8],
    field: &[u8],
    is_wanted: impl Fn(&Value<'_>) -> bool,
) -> Result<Option<Value<'m>>, Error> {
    let Value::Object(object) = jsonb::parse(metadata)? else {
        return Ok(None);
    };
    let Some(value) = object.get(field)? else {
        return Ok(None);
    };
    let mut wanted = is_wanted(&value);
    if let Value::Array(list) = &value {
        for element in list.iter() {
            wanted |= is_wanted(&element?);
        }
    }
    Ok(wanted.then_some(value))
}

/// All of the clauses must hold, so that each tells something by itself. Bounds of numbers of one field narrow each other; of several sets of strings
/// the first is as good as any: a list may have one of each.
fn collect<'f>(clauses: &'f [Clause], found: &mut Vec<SearchArgument<'f>>) {
    for clause in clauses {
        match clause {
            Clause::All(clauses) => collect(clauses, found),
            Clause::Field { field, test } => {
                if let Some(wanted) = test.wanted() {
                    add(found, SearchArgument { field, wanted });
                }
            }
            Clause::Any(_) | Clause::Not(_) => {}
        }
    }
}

fn add<'f>(found: &mut Vec<SearchArgument<'f>>, new: SearchArgument<'f>) {
    let same_kind = |known: &&mut SearchArgument<'f>| {
        known.field == new.field
            && matches!(known.wanted, Wanted::Number { .. })
                == matches!(new.wanted, Wanted::Number { .. })
    };
    let Some(known) = found.iter_mut().find(same_kind) else {
        found.push(new);
        return;
    };
    if let (
        Wanted::Number { from, to },
        Wanted::Number {
            from: least,
            to: largest,
        },
    ) = (&mut known.wanted, new.wanted)
    {
        *from = of_both(*from, least, f64::gt);
        *to = of_both(*to, largest, f64::lt);
    }
}

/// The narrower of two bounds; `is_narrower` compares their numbers.
fn of_both(
    known: Option<Bound>,
    new: Option<Bound>,
    is_narrower: fn(&f64, &f64) -> bool,
) -> Option<Bound> {
    match (known, new) {
        (Some(known), Some(new)) => {
            let narrower = is_narrower(&new.number, &known.number)
                || (new.number == known.number && !new.included);
            Some(if narrower { new } else { known })
        }
        _ => known.or(new),
    }
}

impl Test {
    /// What must be there for it to hold; None if values of several types may be, or none.
    fn wanted(&self) -> Option<Wanted<'_>> {
        let number = |from, to| Some(Wanted::Number { from, to });
        let bound = |number: f64, included: bool| Some(Bound { number, included });
        match self {
            Self::Compare { side, bound: at } => match side {
                Side::Above => number(bound(*at, false), None),
                Side::AboveOrAt => number(bound(*at, true), None),
                Side::Below => number(None, bound(*at, false)),
                Side::BelowOrAt => number(None, bound(*at, true)),
            },
            Self::OneOf(operands) => match operands.only_numbers() {
                Some((least, largest)) => number(bound(least, true), bound(largest, true)),
                None => operands.only_strings().map(Wanted::String),
            },
            Self::NoneOf(_) | Self::Exists(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build;

    /// Fields with their numbers and strings, as text.
    fn told(filter: &str) -> Vec<String> {
        let filter = Filter::parse(&build::jsonb(filter)).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let tell = |argument: SearchArgument<'_>| {
            let wanted = match argument.wanted {
                Wanted::Number { from, to } => {
                    let tell = |bound: Option<Bound>| match bound {
                        Some(Bound {
                            number,
                            included: true,
                        }) => format!("{number}"),
                        Some(Bound { number, .. }) => format!("({number})"),
                        None => String::new(),
                    };
                    format!("{}..{}", tell(from), tell(to))
                }
                Wanted::String(strings) => {
                    strings.into_iter().map(text).collect::<Vec<_>>().join("|")
                }
            };
            format!("{} {wanted}", text(argument.field))
        };
        let mut told: Vec<_> = filter.search_arguments().into_iter().map(tell).collect();
        told.sort();
        told
    }

    #[test]
    fn every_condition_narrows_its_field() {
        let cases: &[(&str, &[&str])] = &[
            (r#"{"a": {"$gt": 3}}"#, &["a (3).."]),
            (r#"{"a": {"$lte": -1e3}}"#, &["a ..-1000"]),
            (
                r#"{"a": {"$gte": 3, "$lt": 9}, "b": "x", "$and": [{"a": {"$gt": 4}}, {"c": 7}]}"#,
                &["a (4)..(9)", "b x", "c 7..7"],
            ),
            (r#"{"a": {"$in": [5, 2, 3.5]}}"#, &["a 2..5"]),
            (
                r#"{"$and": [{"a": {"$gte": 3, "$lt": 9}}, {"a": {"$gt": 3, "$lte": 9}}]}"#,
                &["a (3)..(9)"],
            ),
            // no number lies there, but a list may have one on each side
            (r#"{"a": {"$lt": 1, "$gt": 2}}"#, &["a (2)..(1)"]),
            (r#"{"a": {"$in": ["y", "x"]}}"#, &["a x|y"]),
            // a list may have all of them
            (
                r#"{"$and": [{"a": "x"}, {"a": "y"}, {"a": 1}]}"#,
                &["a 1..1", "a x"],
            ),
            (r#"{"a": {"$in": [5, "x"]}}"#, &[]),
            (r#"{"a": {"$in": []}}"#, &[]),
            (r#"{"a": true}"#, &[]),
            (r#"{"a": {"$ne": 5}}"#, &[]),
            (r#"{"a": {"$nin": ["x"]}}"#, &[]),
            (r#"{"a": {"$exists": true}}"#, &[]),
            (r#"{"$or": [{"a": 1}, {"a": "x"}]}"#, &[]),
            (r#"{"$not": {"a": 1}}"#, &[]),
            ("{}", &[]),
        ];
        for (filter, expected) in cases {
            assert_eq!(told(filter), *expected, "{filter}");
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

    #[test]
    fn a_field_has_one_string_or_a_list_of_some() {
        let of = |metadata: &str| {
            let metadata = build::jsonb(metadata);
            Filter::string(&metadata, b"a").unwrap().map(<[u8]>::to_vec)
        };
        assert_eq!(of(r#"{"a": "x", "b": "y"}"#), Some(b"x".to_vec()));
        let long = |length: usize| format!(r#"{{"a": "{}"}}"#, "é".repeat(length / 2));
        assert_eq!(of(&long(LONGEST)).map(|text| text.len()), Some(LONGEST));
        for empty in [r#"{"a": ""}"#, r#"{"a": [1, "x"]}"#, &long(LONGEST + 2)] {
            assert_eq!(of(empty), Some(Vec::new()), "{empty}");
        }
        for none in [r#"{"a": 1}"#, r#"{"a": [1, true]}"#, r#"{"a": []}"#, "{}"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
