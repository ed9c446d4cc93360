//! What a plan remembers: the private data of the CustomScan, one text that survives copying and caching of plans.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::metric::Distance;
use serde::{Deserialize, Serialize};

/// The plan's values, by position in its expressions.
pub const QUERY: usize = 0;
pub const LIMIT: usize = 1;
pub const OFFSET: usize = 2;
/// The first of [`Signatures::filters`].
pub const FILTERS: usize = 3;

/// Rows kept at first where nobody can tell how many are wanted.
const UNKNOWN_LIMIT: u64 = 100;

/// The decision of `shape::decide`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopKPlan {
    /// The vector column's number.
    pub column: i16,
    /// Is the column the operator's left side?
    pub column_first: bool,
    #[serde(with = "distance_name")]
    pub distance: Distance,
    pub limit: Limit,
    /// OID of the vector index that tells which rows to look at, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What is asked of the signatures in that index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Signatures>,
}

/// Filters on the column whose signatures an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    pub column: i16,
    /// How many there are, all of which must hold; the plan's values from [`FILTERS`] on.
    pub filters: usize,
}

/// How many rows the query wants, LIMIT and OFFSET together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    Rows(u64),
    /// The plan's values [`LIMIT`] and [`OFFSET`] say when it runs.
    AtRunTime,
    Unknown,
}

impl Limit {
    /// What to plan for.
    pub fn expected(self) -> u64 {
        match self {
            Self::Rows(rows) => rows,
            Self::AtRunTime | Self::Unknown => UNKNOWN_LIMIT,
        }
    }
}

impl TopKPlan {
    /// For the plan.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From the plan.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::Corrupted {
            what: format!("private data of a ConiferTopK plan: {error}"),
        })
    }
}

/// A distance by its operator.
mod distance_name {
    use super::super::OPERATORS;
    use crate::metric::Distance;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(distance: &Distance, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(distance.operator())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Distance, D::Error> {
        let name = String::deserialize(input)?;
        OPERATORS
            .iter()
            .map(|(distance, _)| *distance)
            .find(|distance| distance.operator() == name)
            .ok_or_else(|| D::Error::custom(format!("unknown distance {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went_in() {
        for (distance, _) in super::super::OPERATORS {
            for limit in [Limit::Rows(u64::MAX), Limit::AtRunTime, Limit::Unknown] {
                let plan = TopKPlan {
                    column: 3,
                    column_first: distance == Distance::L1,
                    distance,
                    limit,
                    index: (limit == Limit::Unknown).then_some(u32::MAX),
                    signatures: (limit == Limit::AtRunTime).then_some(Signatures {
                        column: 7,
                        filters: 2,
                    }),
                };
                assert_eq!(TopKPlan::from_text(&plan.to_text()), Ok(plan));
            }
        }
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for text in [
            "",
            "{}",
            "[1]",
            r#"{"column":1,"column_first":true,"distance":"<~>","limit":"Unknown"}"#,
        ] {
            assert!(TopKPlan::from_text(text).is_err(), "{text}");
        }
    }
}
