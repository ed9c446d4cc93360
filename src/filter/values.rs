//! The operands of `$eq`, `$ne`, `$in` and `$nin`: sorted by type, so that ten thousand of them cost fourteen comparisons a value.
#![forbid(unsafe_code)]

use super::signature;
use crate::error::Error;
use crate::record::jsonb::Value;

/// A set of strings, numbers and booleans.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Operands {
    /// Ascending by bytes, each once.
    strings: Vec<Box<[u8]>>,
    /// Ascending, each once; no minus zero.
    numbers: Vec<f64>,
    has_false: bool,
    has_true: bool,
}

/// What a value is to a set of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// One of them.
    Equal,
    /// None of them, but of a type one of them has.
    Different,
    /// Of another type than any of them.
    OtherType,
}

impl Operands {
    /// The strings, and the booleans as errors, if there are no others.
    pub fn texts_and_booleans(&self) -> Option<impl Iterator<Item = Result<&[u8], bool>>> {
        let booleans = [(self.has_false, false), (self.has_true, true)];
        let booleans = booleans.into_iter().filter(|(has, _)| *has);
        let strings = self.strings.iter().map(|text| Ok(&**text));
        self.numbers
            .is_empty()
            .then(|| strings.chain(booleans.map(|(_, truth)| Err(truth))))
    }

    /// The least and the largest, if all are numbers.
    pub fn only_numbers(&self) -> Option<(f64, f64)> {
        let all = self.strings.is_empty() && !self.has_any_bool();
        let (least, largest) = (self.numbers.first()?, self.numbers.last()?);
        all.then_some((*least, *largest))
    }

    /// All, if they are strings and there are any.
    pub fn only_strings(&self) -> Option<Vec<&[u8]>> {
        let all = self.numbers.is_empty() && !self.has_any_bool() && !self.strings.is_empty();
        all.then(|| self.strings.iter().map(|text| &**text).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let booleans = usize::from(self.has_false) + usize::from(self.has_true);
        self.strings.len() + self.numbers.len() + booleans
    }

    /// The set of these values. The first that is no string, number or boolean is given back with its position.
    pub fn of<'a>(
        values: impl Iterator<Item = Result<Value<'a>, Error>>,
    ) -> Result<Result<Self, (usize, Value<'a>)>, Error> {
        let mut set = Self::default();
        for (index, value) in values.enumerate() {
            match value? {
                Value::String(text) => set.strings.push(text.into()),
                Value::Number(number) => set.numbers.push(number.to_f64()? + 0.0), // minus zero equals zero
                Value::Bool(false) => set.has_false = true,
                Value::Bool(true) => set.has_true = true,
                other => return Ok(Err((index, other))),
            }
        }
        set.strings.sort_unstable();
        set.strings.dedup();
        set.numbers.sort_unstable_by(f64::total_cmp);
        set.numbers.dedup();
        Ok(Ok(set))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty() && self.numbers.is_empty() && !self.has_any_bool()
    }

    fn has_any_bool(&self) -> bool {
        self.has_false || self.has_true
    }

    /// How a value of a record, or an element of its list, relates to them.
    pub fn relation(&self, value: Value<'_>) -> Result<Relation, Error> {
        let (has_type, equal) = match value {
            Value::String(found) => {
                let place = self.strings.binary_search_by(|text| (**text).cmp(found));
                (!self.strings.is_empty(), place.is_ok())
            }
            Value::Number(_) if self.numbers.is_empty() => (false, false),
            Value::Number(found) => {
                let found = found.to_f64()? + 0.0;
                let place = self
                    .numbers
                    .binary_search_by(|number| number.total_cmp(&found));
                (true, place.is_ok())
            }
            Value::Bool(found) => {
                let equal = if found { self.has_true } else { self.has_false };
                (self.has_any_bool(), equal)
            }
            Value::Null | Value::Array(_) | Value::Object(_) => (false, false),
        };
        Ok(match (has_type, equal) {
            (_, true) => Relation::Equal,
            (true, false) => Relation::Different,
            (false, false) => Relation::OtherType,
        })
    }

    /// The signature of each as a value of `field`.
    pub fn signatures<'a>(&'a self, field: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
        let strings = self.strings.iter();
        let numbers = self.numbers.iter();
        let booleans = [(self.has_false, false), (self.has_true, true)];
        strings
            .map(|text| signature::of_string(field, text))
            .chain(numbers.map(|number| signature::of_number(field, *number)))
            .chain(
                booleans
                    .into_iter()
                    .filter(|(has, _)| *has)
                    .map(|(_, truth)| signature::of_bool(field, truth)),
            )
    }
}
