//! What an index compares by ([`Metric`]), what an SQL operator returns ([`Distance`]), and how a query is scored ([`Scorer`]).
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::kernel::{Kernels, UNDERFLOW, kernels, rounding_steps};

/// The metric of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Cosine similarity; larger first.
    #[default]
    Cosine,
    /// Inner product; larger first.
    DotProduct,
    /// Squared Euclidean distance; smaller first.
    Euclidean,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::DotProduct, Self::Euclidean];

    /// The key of a [`Scorer`] in the unit of what codes estimate: under cosine those are distances, from 0 to 2.
    #[must_use]
    #[inline]
    pub fn estimate_unit(self, key: f64) -> f32 {
        match self {
            Self::Cosine => (1.0 + key) as f32,
            Self::DotProduct | Self::Euclidean => key as f32,
        }
    }

    /// The metric of this name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| Error::InvalidArgument {
                what: "metric",
                value: name.to_owned(),
                hint: "The metrics are \"cosine\", \"dotproduct\" and \"euclidean\".".to_owned(),
            })
    }

    /// `cosine`, `dotproduct` or `euclidean`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::DotProduct => "dotproduct",
            Self::Euclidean => "euclidean",
        }
    }

    /// The SQL operator whose ascending order is this metric's order.
    #[must_use]
    pub fn operator(self) -> &'static str {
        self.distance().operator()
    }

    /// The distance whose ascending order is this metric's order.
    #[must_use]
    pub fn distance(self) -> Distance {
        match self {
            Self::Cosine => Distance::Cosine,
            Self::DotProduct => Distance::InnerProduct,
            Self::Euclidean => Distance::L2,
        }
    }
}

/// A distance operator of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// `<->`
    L2,
    /// `<#>`
    InnerProduct,
    /// `<=>`
    Cosine,
    /// `<+>`
    L1,
}

impl Distance {
    /// All distances.
    pub const ALL: [Self; 4] = [Self::L2, Self::InnerProduct, Self::Cosine, Self::L1];

    /// The operator's name in SQL.
    #[must_use]
    pub fn operator(self) -> &'static str {
        match self {
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
            Self::Cosine => "<=>",
            Self::L1 => "<+>",
        }
    }

    /// What the operator returns: accumulated in `f32` as pgvector does, finished in `f64`.
    ///
    /// The cosine distance from or to a vector of zeros is NaN. Panics if the lengths differ.
    #[must_use]
    pub fn of(self, a: &[f32], b: &[f32]) -> f64 {
        self.with(kernels(), a, b)
    }

    /// [`Distance::of`] for loops that have their kernels at hand.
    #[must_use]
    #[inline]
    pub fn with(self, kernels: &Kernels, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::L2 => f64::from((kernels.l2_squared)(a, b)).sqrt(),
            Self::InnerProduct => -f64::from((kernels.dot)(a, b)),
            Self::Cosine => {
                let (dot, a, b) = (kernels.dot_and_norms)(a, b);
                // One root of the product (exact in f64), as pgvector takes it.
                let similarity = f64::from(dot) / (f64::from(a) * f64::from(b)).sqrt();
                1.0 - similarity.clamp(-1.0, 1.0)
            }
            Self::L1 => f64::from((kernels.l1)(a, b)),
        }
    }
}

/// One query against many vectors of the same dimension.
///
/// A vector's place in the answer is its **key**, an `f64`, smaller first: minus the cosine similarity, minus the
/// inner product, or the squared distance. A search asks [`Scorer::misses`] of every vector and computes
/// [`Scorer::exact`] only for those that may be among the best.
#[derive(Clone, Debug)]
pub struct Scorer {
    kernels: &'static Kernels,
    metric: Metric,
    query: Box<[f32]>,
    /// |query|
    norm: f64,
    /// Relative error of an `f32` sum, and of the `f64` sum it is compared with.
    error: f64,
    /// What all terms of an `f32` sum may have lost to underflow.
    underflow: f64,
}

/// The worst rank a search still takes, prepared for [`Scorer::misses`].
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    worst: f64,
    factor: f64,
    square: f64,
}

/// Squared norms below this are not trusted from `f32`: underflow of single terms would show in the result.
const SMALLEST_SQUARED_NORM: f64 = 1e-30;

impl Bar {
    /// Whether the keys of a vector, which are not below this, are above the worst.
    #[must_use]
    pub fn is_below(&self, least: f64) -> bool {
        least > self.worst
    }
}

impl Scorer {
    /// A scorer for `query`.
    #[must_use]
    pub fn new(metric: Metric, query: impl Into<Box<[f32]>>) -> Self {
        Self::with(kernels(), metric, query.into())
    }

    fn with(kernels: &'static Kernels, metric: Metric, query: Box<[f32]>) -> Self {
        let norm = (kernels.dot_f64)(&query, &query).sqrt();
        let steps = rounding_steps(query.len());
        // 1.01 covers the second-order terms of (1 + ε)^steps (steps·ε < 1e-4 at 20,000 dimensions), and the rest, in
        // units of 2⁻⁵³: the f64 sum's own error and the handful of f64 operations below.
        let error = 1.01 * steps * 2f64.powi(-24) + (4.0 * steps + 64.0) * 2f64.powi(-53);
        let underflow = query.len() as f64 * UNDERFLOW;
        Self {
            kernels,
            metric,
            query,
            norm,
            error,
            underflow,
        }
    }

    /// The metric it scores by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// What a vector must beat to be ranked no later than `worst`, a key rounded to `f32`.
    #[must_use]
    pub fn bar(&self, worst: f32) -> Bar {
        // Any key above the next f32 rounds to more than `worst`.
        let worst = f64::from(worst.next_up());
        let factor = match self.metric {
            Metric::Cosine => (-worst - self.cosine_margin()) * self.norm,
            // The error of an inner product is relative to Σ|qᵢ·vᵢ| ≤ |q|·|v|.
            Metric::DotProduct => self.error * (1.0 + self.error) * self.norm,
            Metric::Euclidean => 0.0,
        };
        Bar {
            worst,
            factor,
            square: factor * factor,
        }
    }

    /// What rounding may have done to a cosine similarity.
    ///
    /// It is dot / (|q|·|v|). The inner product's error divided by |q|·|v| is at most `error`; that of |v|² moves the quotient by half as much,
    /// relatively, and the quotient is at most 1. Underflow counts most for the shortest vectors `misses` decides about.
    fn cosine_margin(&self) -> f64 {
        let inverse =
            1.0 / (self.norm * SMALLEST_SQUARED_NORM.sqrt()) + 1.0 / SMALLEST_SQUARED_NORM;
        2.0 * self.error + 2.0 * self.underflow * inverse
    }

    /// True only if `exact(vector)`, rounded to `f32`, is above the bar's worst key; for the price of an `f32` kernel,
    /// with the most that its rounding can have done taken off. False where `f32` overflows or is too coarse to decide.
    /// Arranged so that no root and no division is taken.
    #[must_use]
    #[inline]
    pub fn misses(&self, bar: &Bar, vector: &[f32]) -> bool {
        match self.metric {
            Metric::Cosine => {
                // −dot / (|q|·|v|) − margin > worst, that is dot < factor·|v|, compared as squares by sign.
                let (dot, squared_norm) = (self.kernels.dot_and_norm)(&self.query, vector);
                let (dot, squared_norm) = (f64::from(dot), f64::from(squared_norm));
                let decidable = squared_norm >= SMALLEST_SQUARED_NORM && squared_norm.is_finite();
                let limit = bar.square * squared_norm;
                let below = if bar.factor >= 0.0 {
                    dot < 0.0 || dot * dot < limit
                } else {
                    dot < 0.0 && dot * dot > limit
                };
                decidable && below && dot.is_finite()
            }
            Metric::DotProduct => {
                // −dot − factor·|v| − underflow > worst, with |v|² from above.
                let (dot, squared_norm) = (self.kernels.dot_and_norm)(&self.query, vector);
                let gap = -f64::from(dot) - self.underflow - bar.worst;
                let squared_norm =
                    (f64::from(squared_norm) + self.underflow) * (1.0 + 4.0 * self.error);
                dot.is_finite() && gap > 0.0 && gap * gap > bar.square * squared_norm
            }
            Metric::Euclidean => {
                // All terms are positive, so the error is relative to the sum itself.
                let sum = f64::from((self.kernels.l2_squared)(&self.query, vector));
                sum.is_finite() && (sum - self.underflow) * (1.0 - self.error) > bar.worst
            }
        }
    }

    /// What [`Scorer::exact`] of the vector is hardly above and never below, for the price of an `f32` kernel; minus infinity where that is too coarse.
    #[must_use]
    #[inline]
    pub fn least(&self, vector: &[f32]) -> f64 {
        // As `misses` has it.
        let least = match self.metric {
            Metric::Cosine => {
                let (dot, squared_norm) = (self.kernels.dot_and_norm)(&self.query, vector);
                let squared_norm = f64::from(squared_norm);
                if !(SMALLEST_SQUARED_NORM..f64::INFINITY).contains(&squared_norm) {
                    return f64::NEG_INFINITY;
                }
                -f64::from(dot) / (self.norm * squared_norm.sqrt()) - self.cosine_margin()
            }
            Metric::DotProduct => {
                let (dot, squared_norm) = (self.kernels.dot_and_norm)(&self.query, vector);
                let squared_norm =
                    (f64::from(squared_norm) + self.underflow) * (1.0 + 4.0 * self.error);
                let margin = self.error * (1.0 + self.error) * self.norm * squared_norm.sqrt();
                -f64::from(dot) - self.underflow - margin
            }
            Metric::Euclidean => {
                let sum = f64::from((self.kernels.l2_squared)(&self.query, vector));
                (sum - self.underflow) * (1.0 - self.error)
            }
        };
        if least.is_finite() {
            least
        } else {
            f64::NEG_INFINITY
        }
    }

    /// The key: exact to `f64` rounding. A vector without a key (one of zeros under cosine) gets NaN, positive, so that
    /// `f64::total_cmp` puts it last.
    #[must_use]
    #[inline]
    pub fn exact(&self, vector: &[f32]) -> f64 {
        match self.metric {
            Metric::Cosine => {
                let (dot, squared_norm) = (self.kernels.dot_and_norm_f64)(&self.query, vector);
                let similarity = dot / (self.norm * squared_norm.sqrt());
                if similarity.is_nan() {
                    f64::NAN
                } else {
                    -similarity.clamp(-1.0, 1.0)
                }
            }
            Metric::DotProduct => -(self.kernels.dot_f64)(&self.query, vector),
            Metric::Euclidean => (self.kernels.l2_squared_f64)(&self.query, vector),
        }
    }

    /// The score of a key, as the user sees it: the similarity, the inner product or the squared distance.
    #[must_use]
    #[inline]
    pub fn score(&self, key: f64) -> f32 {
        match self.metric {
            // `0.0 −` and not `−`: an inner product of zero is 0, not −0.
            Metric::Cosine | Metric::DotProduct => (0.0 - key) as f32,
            Metric::Euclidean => key as f32,
        }
    }
}
