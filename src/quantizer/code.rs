//! What is stored of a vector: its code and factors.
#![forbid(unsafe_code)]

use super::{LARGEST, SMALLEST, dot};
use crate::metric::Metric;

/// A rotated centre: what the vectors of a list are taken relative to.
#[derive(Clone, Debug)]
pub struct Centre {
    rotated: Vec<f32>,
    squared_norm: f64,
}

impl Centre {
    /// A centre, from its rotation. Under cosine it is one of vectors divided by their norms.
    #[must_use]
    pub fn new(rotated: Vec<f32>) -> Self {
        let squared_norm = dot(&rotated, &rotated);
        Self {
            rotated,
            squared_norm,
        }
    }

    /// The centre at the origin, for codes of this many bits.
    #[must_use]
    pub fn zero(code_bits: usize) -> Self {
        Self::new(vec![0.0; code_bits])
    }

    /// Its rotated coordinates.
    #[must_use]
    pub fn rotated(&self) -> &[f32] {
        &self.rotated
    }

    /// Whether it is the origin.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.squared_norm == 0.0
    }

    /// ‖c‖²
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        self.squared_norm
    }

    /// What a rotated vector is multiplied by before it is compared with this centre: 1 but for cosine, which divides by
    /// the norm. 0 for the zero vector, and none where the norm is too small or too large to be divided by.
    #[must_use]
    pub fn scale(rotated: &[f32], metric: Metric) -> Option<f32> {
        if metric != Metric::Cosine {
            return Some(1.0);
        }
        let norm = dot(rotated, rotated).sqrt();
        if norm == 0.0 {
            return Some(0.0);
        }
        (SMALLEST..=LARGEST)
            .contains(&norm)
            .then(|| (1.0 / norm) as f32)
    }
}

/// What the estimate of a key is made of, besides the code: `base + add + rescale · ⟨s, r⟩`, ± `error · ‖r‖`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// What is added.
    pub add: f32,
    /// What the inner product of signs and query is multiplied by.
    pub rescale: f32,
    /// The standard deviation of the estimate, for a query residual of norm 1.
    pub error: f32,
}

impl Factors {
    /// Of a vector that nothing can be told of, because a factor overflows or underflows: every query takes it for a
    /// candidate, since infinity times any slack, 0 included, makes a bound that is above no threshold.
    pub const UNKNOWN: Self = Self {
        add: 0.0,
        rescale: 0.0,
        error: f32::INFINITY,
    };

    /// Of the zero vector under cosine, which has no distance: after all others.
    pub const LAST: Self = Self {
        add: f32::MAX,
        rescale: 0.0,
        error: 0.0,
    };
}

/// The factors of a code for queries that are prepared for `pivot` in the place of the code's own centre: ⟨s, r⟩ is ⟨s, q − m⟩ − ⟨s, c − m⟩,
/// m being the pivot, and what comes of the second term is added here. So a query is prepared once for the lists of many centres.
#[must_use]
pub fn shift(factors: Factors, code: &[u8], centre: &Centre, pivot: &Centre) -> Factors {
    const LANES: usize = 8;
    if factors.rescale == 0.0 {
        return factors; // nothing is multiplied
    }
    let (centres, _) = centre.rotated.as_chunks::<LANES>();
    let (pivots, _) = pivot.rotated.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for ((centre, pivot), byte) in centres.iter().zip(pivots).zip(code) {
        for (at, sum) in sums.iter_mut().enumerate() {
            let sign = f32::from(byte >> at & 1) * 2.0 - 1.0;
            *sum += f64::from(sign * (centre[at] - pivot[at]));
        }
    }
    let sum: f64 = sums.into_iter().sum();
    let add = f64::from(factors.add) - f64::from(factors.rescale) * sum;
    if add.abs() > LARGEST {
        return Factors::UNKNOWN;
    }
    Factors {
        add: add as f32,
        ..factors
    }
}

/// x₀ is taken for no more than this, for the sake of the error that the tables of a query bring in (`query.rs`). It is
/// within 0.80 ± 0.21/√n in all but contrived cases.
pub(super) const LARGEST_COSINE: f64 = 0.95;

/// Writes the code of a rotated vector, n/8 bytes, and returns its factors. Bit i % 8 of byte i / 8 is set if element i of
/// the residual is positive.
///
/// A residual of zero has an exact estimate: no `rescale`, no `error`. See [`Factors::UNKNOWN`] and [`Factors::LAST`] for
/// what else there is. Panics unless vector, centre and code belong to the same quantizer.
#[must_use]
pub fn encode(rotated: &[f32], centre: &Centre, metric: Metric, code: &mut [u8]) -> Factors {
    assert_eq!(rotated.len(), centre.rotated.len(), "a vector and a centre");
    assert_eq!(rotated.len(), code.len() * 8, "a vector and its code");
    code.fill(0);
    let Some(scale) = Centre::scale(rotated, metric) else {
        return Factors::UNKNOWN;
    };
    if scale == 0.0 {
        return Factors::LAST;
    }
    let sums = signs(rotated, scale, &centre.rotated, code);
    let (squares, norm) = (sums.squares, sums.squares.sqrt());
    // Without a residual o = c.
    let exact = norm == 0.0;
    let bits = rotated.len() as f64;
    let cosine = (sums.magnitudes / (norm * bits.sqrt())).min(LARGEST_COSINE);
    let (projection, error) = if exact {
        (0.0, 0.0)
    } else {
        let error = norm * (1.0 / (cosine * cosine) - 1.0).sqrt() / (bits - 1.0).sqrt();
        (squares / sums.magnitudes, error)
    };
    let (add, times) = match metric {
        // ‖o − q‖² = ‖x‖² + ‖r‖² − 2⟨x, r⟩
        Metric::Euclidean => (squares, 2.0),
        Metric::Cosine => (squares / 2.0, 1.0),
        // −⟨o, q⟩ = −⟨o, c⟩ − ⟨c, r⟩ − ⟨x, r⟩
        Metric::DotProduct => (-dot(rotated, &centre.rotated), 1.0),
    };
    let (rescale, error) = (-times * projection, times * error);
    let known = |factor: f64| exact || (SMALLEST..=LARGEST).contains(&factor.abs());
    if !(add.abs() <= LARGEST && known(rescale) && known(error)) {
        code.fill(0);
        return Factors::UNKNOWN;
    }
    Factors {
        add: add as f32,
        rescale: rescale as f32,
        error: error as f32,
    }
}

struct Sums {
    /// Σ x²
    squares: f64,
    /// Σ |x|
    magnitudes: f64,
}

/// Writes the signs of x = scale · rotated − centre into the zeroed code. In chunks without branches, for SIMD.
fn signs(rotated: &[f32], scale: f32, centre: &[f32], code: &mut [u8]) -> Sums {
    const LANES: usize = 8;
    let (mut squares, mut magnitudes) = ([0.0; LANES], [0.0; LANES]);
    let (vectors, _) = rotated.as_chunks::<LANES>();
    let (centres, _) = centre.as_chunks::<LANES>();
    for ((vector, centre), byte) in vectors.iter().zip(centres).zip(code) {
        let residual: [f32; LANES] = std::array::from_fn(|at| vector[at] * scale - centre[at]);
        for (at, &element) in residual.iter().enumerate() {
            *byte |= u8::from(element > 0.0) << at;
            let element = f64::from(element);
            squares[at] += element * element;
            magnitudes[at] += element.abs();
        }
    }
    Sums {
        squares: squares.into_iter().sum(),
        magnitudes: magnitudes.into_iter().sum(),
    }
}
