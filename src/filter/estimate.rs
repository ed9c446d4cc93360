//! What share of records a filter lets through, for the planner: by a sample of their metadata, or by the filter's form alone.
//!
//! A column's statistics hold whole documents: the most common ones with their shares, and some of the others, each standing for as many (the
//! bounds of its histogram). The filter is asked of each, as selfuncs.c asks an operator in `generic_restriction_selectivity`.
#![forbid(unsafe_code)]

use super::{Clause, Filter, Test, jsonb};
use crate::error::Error;

/// What is known of a column of metadata.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The share of rows without metadata.
    pub nulls: f64,
    /// The most common documents and their shares of all rows.
    pub common: Vec<(Vec<u8>, f64)>,
    /// Some of the other documents.
    pub others: Vec<Vec<u8>>,
}

/// With fewer others than this the guess by the form takes part, …
const FULL: usize = 100;
/// … and with fewer than this it stands alone for them.
const LEAST: usize = 10;
/// A sample is never so sure that no row passes, or that all do.
const SURE: f64 = 0.0001;

/// As PostgreSQL guesses an equality, …
const EQUAL: f64 = 0.005;
/// … an inequality, …
const COMPARED: f64 = 1.0 / 3.0;
/// … and that there is no value.
const MISSING: f64 = 0.005;

impl Filter {
    /// About which share of the rows matches.
    pub fn selectivity(&self, sample: &Sample) -> Result<f64, Error> {
        let matches = |document: &[u8]| self.matches(Some(jsonb::parse(document)?));
        let mut rest = 1.0 - sample.nulls;
        let mut share = 0.0;
        if self.matches(None)? {
            share += sample.nulls;
        }
        for (document, frequency) in &sample.common {
            rest -= frequency;
            if matches(document)? {
                share += frequency;
            }
        }
        let mut passed = 0_usize;
        for document in &sample.others {
            passed += usize::from(matches(document)?);
        }
        let (count, guess) = (sample.others.len(), of_all(&self.clauses));
        let among_others = if count < LEAST {
            guess
        } else {
            let sampled = (passed as f64 / count as f64).clamp(SURE, 1.0 - SURE);
            let weight = (count as f64 / FULL as f64).min(1.0);
            weight * sampled + (1.0 - weight) * guess
        };
        Ok((share + rest.max(0.0) * among_others).clamp(0.0, 1.0))
    }
}

fn of_all(clauses: &[Clause]) -> f64 {
    clauses.iter().map(Clause::guess).product()
}

impl Clause {
    fn guess(&self) -> f64 {
        match self {
            Self::All(clauses) => of_all(clauses),
            Self::Any(clauses) => {
                1.0 - clauses
                    .iter()
                    .map(|clause| 1.0 - clause.guess())
                    .product::<f64>()
            }
            Self::Not(clause) => 1.0 - clause.guess(),
            Self::Field { test, .. } => match test {
                Test::OneOf(operands) => (operands.count() as f64 * EQUAL).min(1.0),
                Test::NoneOf(operands) => 1.0 - (operands.count() as f64 * EQUAL).min(1.0),
                Test::Compare { .. } => COMPARED,
                Test::Exists(true) => 1.0 - MISSING,
                Test::Exists(false) => MISSING,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::jsonb::build;

    fn bytes(text: &str) -> Vec<u8> {
        build::jsonb(text)
    }

    fn filter(text: &str) -> Filter {
        Filter::parse(&bytes(text)).unwrap()
    }

    fn close(share: f64, wanted: f64) -> bool {
        (share - wanted).abs() < 0.01
    }

    fn others(count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|n| bytes(&format!(r#"{{"genre": "g{}", "year": {n}}}"#, n % 4)))
            .collect()
    }

    #[test]
    fn a_sample_tells() {
        let sample = Sample {
            nulls: 0.1,
            common: vec![
                (bytes(r#"{"genre": "g1"}"#), 0.3),
                (bytes(r#"{"genre": "x"}"#), 0.2),
            ],
            others: others(200),
        };
        for (text, wanted) in [
            (r#"{"genre": "g1"}"#, 0.3 + 0.4 / 4.0),
            (r#"{"genre": {"$in": ["g1", "g2"]}}"#, 0.3 + 0.4 / 2.0),
            (r#"{"genre": {"$ne": "g1"}}"#, 0.2 + 0.4 * 0.75),
            (r#"{"year": {"$lt": 50}}"#, 0.4 / 4.0),
            (r#"{"genre": {"$exists": false}}"#, 0.1),
            (r#"{"genre": "none"}"#, 0.0),
            ("{}", 1.0),
        ] {
            let share = filter(text).selectivity(&sample).unwrap();
            assert!(close(share, wanted), "{text}: {share}, not {wanted}");
        }
        assert!(filter(r#"{"genre": "none"}"#).selectivity(&sample).unwrap() > 0.0);
    }

    #[test]
    fn without_one_the_form_does() {
        for (text, wanted) in [
            (r#"{"genre": "g1"}"#, 0.005),
            (r#"{"genre": {"$in": ["a", "b", 1, 2]}}"#, 0.02),
            (r#"{"a": {"$gte": 1, "$lt": 2}}"#, 1.0 / 9.0),
            (
                r#"{"$or": [{"a": {"$lt": 1}}, {"b": {"$lt": 1}}]}"#,
                1.0 - 4.0 / 9.0,
            ),
            (r#"{"$not": {"a": 1}}"#, 0.995),
            ("{}", 1.0),
        ] {
            let share = filter(text).selectivity(&Sample::default()).unwrap();
            assert!(close(share, wanted), "{text}: {share}, not {wanted}");
        }
    }

    #[test]
    fn a_small_sample_and_the_form_share_the_answer() {
        let sample = Sample {
            others: others(20),
            ..Sample::default()
        };
        let share = filter(r#"{"genre": "g1"}"#).selectivity(&sample).unwrap();
        assert!(close(share, 0.2 * 0.25 + 0.8 * 0.005), "{share}");
    }
}
