//! The values a field has in a record, as facets count them: each once, of a list its elements.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::record::jsonb::Value;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A string, number or boolean, equal and ordered as a filter has it: numbers by value, strings by bytes.
/// Of different types the booleans come first, then numbers, then strings.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// `true` or `false`
    Bool(bool),
    /// Never minus zero.
    Number(f64),
    /// In the server's encoding.
    String(&'a [u8]),
}

impl<'a> Scalar<'a> {
    /// None for null, lists and objects.
    fn of(value: Value<'a>) -> Result<Option<Self>, Error> {
        Ok(match value {
            Value::String(text) => Some(Self::String(text)),
            Value::Number(number) => Some(Self::Number(number.to_f64()? + 0.0)),
            Value::Bool(truth) => Some(Self::Bool(truth)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        })
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::String(_) => 2,
        }
    }
}

impl Ord for Scalar<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Number(one), Self::Number(two)) => one.total_cmp(two),
            (Self::String(one), Self::String(two)) => one.cmp(two),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Scalar<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar<'_> {}

impl Hash for Scalar<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Bool(truth) => truth.hash(state),
            Self::Number(number) => number.to_bits().hash(state),
            Self::String(text) => text.hash(state),
        }
    }
}

/// The distinct values of a field in a record's metadata, ascending; none if the record has not the field.
pub fn values_of<'a>(
    metadata: Option<Value<'a>>,
    field: &[u8],
) -> Result<impl Iterator<Item = Scalar<'a>> + use<'a>, Error> {
    let value = match metadata {
        Some(Value::Object(object)) => object.get(field)?,
        _ => None,
    };
    let mut values = Vec::new();
    match value {
        Some(Value::Array(list)) => {
            for element in list.iter() {
                values.extend(Scalar::of(element?)?);
            }
        }
        Some(value) => values.extend(Scalar::of(value)?),
        None => (),
    }
    values.sort_unstable();
    values.dedup();
    Ok(values.into_iter())
}
