//! How many records have which value of a field.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::filter::facet::{Scalar, values_of};
use crate::record::jsonb;
use std::collections::HashMap;

/// The values seen so far and in how many records each.
pub struct Tally<'f> {
    field: &'f str,
    /// Of false and true.
    bools: [u64; 2],
    /// By the number's bits.
    numbers: HashMap<u64, u64>,
    strings: HashMap<Box<[u8]>, u64>,
}

impl<'f> Tally<'f> {
    /// Of a field, before the first record.
    pub fn new(field: &'f str) -> Self {
        Self {
            field,
            bools: [0; 2],
            numbers: HashMap::new(),
            strings: HashMap::new(),
        }
    }

    /// Counts a record, whose metadata is given by the bytes behind its jsonb header.
    pub fn add(&mut self, metadata: Option<&[u8]>) -> Result<(), Error> {
        let metadata = metadata.map(jsonb::parse).transpose()?;
        for value in values_of(metadata, self.field.as_bytes())? {
            let count = match value {
                Scalar::Bool(truth) => &mut self.bools[usize::from(truth)],
                Scalar::Number(number) => self.numbers.entry(number.to_bits()).or_default(),
                Scalar::String(text) => {
                    // Only a new one is copied.
                    if let Some(count) = self.strings.get_mut(text) {
                        count
                    } else {
                        self.strings.entry(text.into()).or_default()
                    }
                }
            };
            *count += 1;
        }
        Ok(())
    }

    /// Up to `limit` values as JSON with their counts: the most frequent first, of equally frequent ones booleans before
    /// numbers before strings, each ascending.
    pub fn top(&self, limit: usize) -> Result<Vec<(String, u64)>, Error> {
        let bools = [false, true].map(Scalar::Bool).into_iter().zip(self.bools);
        let numbers = self
            .numbers
            .iter()
            .map(|(&bits, &count)| (Scalar::Number(f64::from_bits(bits)), count));
        let strings = self
            .strings
            .iter()
            .map(|(text, &count)| (Scalar::String(text), count));
        let mut values: Vec<(Scalar<'_>, u64)> = bools
            .chain(numbers)
            .chain(strings)
            .filter(|(_, count)| *count > 0)
            .collect();
        values.sort_unstable_by(|(one, one_count), (two, two_count)| {
            two_count.cmp(one_count).then(one.cmp(two))
        });
        values.truncate(limit);
        values
            .into_iter()
            .map(|(value, count)| Ok((to_json(value)?, count)))
            .collect()
    }
}

fn to_json(value: Scalar<'_>) -> Result<String, Error> {
    Ok(match value {
        Scalar::Bool(truth) => truth.to_string(),
        // Display of f64 is the shortest text, and never in scientific notation.
        Scalar::Number(number) if number.is_finite() => number.to_string(),
        // Beyond the range of f64: as to_jsonb writes it.
        Scalar::Number(number) => {
            let sign = if number < 0.0 { "-" } else { "" };
            format!("\"{sign}Infinity\"")
        }
        Scalar::String(text) => {
            let text = std::str::from_utf8(text).map_err(|_| Error::Corrupted {
                what: "metadata that is not UTF-8".into(),
            })?;
            serde_json::Value::from(text).to_string()
        }
    })
}
