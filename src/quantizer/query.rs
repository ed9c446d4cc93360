//! A query prepared for the codes of one centre, or of many whose factors were shifted to one (`code::shift`).
//!
//! The inner product ⟨s, r⟩ is a sum over groups of four dimensions, of which each has sixteen possible values: a table
//! for each group. The query's elements are rounded to whole multiples of a step such that the numbers of every group's
//! table fit a byte after its smallest is taken off; then sums of them are exact, and the rounding of the elements is the
//! only error. For rows, weights of a signed byte each do the same with a step of their own.
//!
//! That error is a sum of n terms ±δᵢ, each rounded within half a step and independent of the signs: standard deviation
//! step · √(n/12) at most, taken for 2 ⟨s, r⟩ in tables (whose step is for 2r) and for ⟨s, r⟩ in rows. An estimate is off by
//! |rescale| times it, independently of the code's own error, so variances add. With x₀ ≤ 0.95 (`code.rs` takes no more)
//! |rescale| / error = √((n − 1)/n) / √(1 − x₀²) ≤ 1 / √(1 − 0.95²): the variance of the sum is at most
//! error² · (‖r‖² + step² · n/12 / (1 − 0.95²)), and ε times that root is the slack. It is 1 ‰ above ε · ‖r‖ in practice.
#![forbid(unsafe_code)]

use super::code::LARGEST_COSINE;
use super::{Centre, Factors, LARGEST, SMALLEST, dot};
use crate::kernel::{BlockQuery, Kernels, kernels, round};
use crate::metric::Metric;

/// Dimensions of a group, and numbers in its table.
const GROUP: usize = 4;
const TABLE: usize = 1 << GROUP;

/// One query, prepared for one centre. Its buffers are used again by the next [`QueryCode::prepare`].
#[derive(Clone, Debug, Default)]
pub struct QueryCode {
    /// The rotated query, under cosine divided by its norm.
    scaled: Vec<f32>,
    residual: Vec<f32>,
    metric: Metric,
    epsilon: f32,
    /// Of the residual for which the tables are.
    squares: f64,
    /// What rounding in tables and weights adds to the squares in [`QueryCode::slack`].
    lost: f64,
    usable: bool,
    tables: Vec<u8>,
    weights: Vec<i8>,
    /// ⟨s, r⟩ ≈ scale · sum + offset, in tables and in rows.
    table: Line,
    row: Line,
    base: f32,
    slack: f32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    scale: f32,
    offset: f32,
}

/// What a code tells of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The key as estimated.
    pub estimate: f32,
    /// What the key is not below, with the confidence that ε gives.
    pub lower: f32,
}

impl Bound {
    /// Whether the key may be at the threshold or below. What is not a number may be anything.
    #[must_use]
    pub fn may_reach(&self, threshold: f32) -> bool {
        let above = self.lower > threshold;
        !above
    }
}

impl QueryCode {
    /// Prepares a rotated query for the codes made with `centre` by the same metric. A lower bound lies `epsilon` standard
    /// deviations below its estimate.
    ///
    /// A query without distances (zero under cosine), or one that overflows or underflows, makes every entry a candidate:
    /// its estimates are NaN. Panics if query and centre differ in length.
    pub fn prepare(&mut self, rotated: &[f32], centre: &Centre, metric: Metric, epsilon: f32) {
        assert_eq!(
            rotated.len(),
            centre.rotated().len(),
            "a query and a centre"
        );
        let scale = Centre::scale(rotated, metric).unwrap_or(0.0);
        self.scaled.clear();
        self.scaled
            .extend(rotated.iter().map(|element| element * scale));
        self.residual.clear();
        let pairs = self.scaled.iter().zip(centre.rotated());
        self.residual
            .extend(pairs.map(|(element, centre)| element - centre));
        (self.metric, self.epsilon) = (metric, epsilon);
        self.squares = dot(&self.residual, &self.residual);
        let norm = self.squares.sqrt();
        self.usable = scale != 0.0 && (norm == 0.0 || (SMALLEST..=LARGEST).contains(&norm));
        if !self.usable {
            self.residual.fill(0.0);
        }
        let (widest_group, widest) = self.widest();
        // Rounding can add half to each of four elements, so the largest sum is at most 255.
        let table_step = f64::from(widest_group) * 2.0 / f64::from(255 - GROUP as u8 / 2);
        let row_step = f64::from(widest) / 127.0;
        self.fill_tables(table_step as f32);
        self.fill_weights(row_step as f32);
        let step = (table_step / 2.0).max(row_step);
        self.lost = step * step * rotated.len() as f64 / 12.0 / (1.0 - LARGEST_COSINE.powi(2));
        self.set_base(self.squares, centre.rotated());
    }

    /// Goes on to the codes of another centre, whose factors were shifted to the one this was prepared for.
    ///
    /// Panics if they differ in length.
    pub fn turn_to(&mut self, centre: &[f32]) {
        assert_eq!(self.scaled.len(), centre.len(), "a query and a centre");
        let squares = (kernels().l2_squared_f64)(&self.scaled, centre);
        self.set_base(squares, centre);
    }

    /// `squares`: ‖q − c‖²
    fn set_base(&mut self, squares: f64, centre: &[f32]) {
        let base = match self.metric {
            Metric::Euclidean => squares,
            Metric::Cosine => squares / 2.0,
            // −⟨c, q − c⟩
            Metric::DotProduct => dot(centre, centre) - dot(centre, &self.scaled),
        };
        let known = self.usable && base.abs() <= LARGEST && squares.sqrt() <= LARGEST;
        (self.base, self.slack) = if known {
            let slack = self.epsilon * (squares + self.lost).sqrt() as f32;
            (base as f32, slack)
        } else {
            (f32::NAN, 0.0)
        };
    }

    /// The query, rotated; under cosine divided by its norm.
    #[must_use]
    pub fn scaled(&self) -> &[f32] {
        &self.scaled
    }

    /// For codes made under [`Metric::Euclidean`], whatever the query's metric: their estimates are squared distances, and their bounds lie so
    /// many standard deviations below.
    #[must_use]
    pub fn squared_distances(&self, epsilon: f32) -> BlockQuery<'_> {
        BlockQuery {
            base: if self.usable {
                self.squares as f32
            } else {
                f32::NAN
            },
            slack: epsilon * self.squares.sqrt() as f32,
            ..self.block()
        }
    }

    /// The query as the kernel for blocks takes it.
    #[must_use]
    pub fn block(&self) -> BlockQuery<'_> {
        BlockQuery {
            tables: &self.tables,
            scale: self.table.scale,
            offset: self.table.offset,
            base: self.base,
            slack: self.slack,
        }
    }

    /// What one code tells, in row form.
    #[must_use]
    #[inline]
    pub fn row(&self, kernels: &Kernels, code: &[u8], factors: Factors) -> Bound {
        let sum = (kernels.scan_row)(code, &self.weights);
        let dot = self.row.scale * sum as f32 + self.row.offset;
        let estimate = self.base + factors.add + factors.rescale * dot;
        Bound {
            estimate,
            lower: estimate - self.slack * factors.error,
        }
    }

    /// What an entry's error is multiplied by for its lower bound.
    #[must_use]
    pub fn slack(&self) -> f32 {
        self.slack
    }

    /// The largest Σ|r| of a group, and the largest |r|.
    fn widest(&self) -> (f32, f32) {
        let (groups, _) = self.residual.as_chunks::<GROUP>();
        groups.iter().fold((0.0, 0.0), |(group, single), elements| {
            let [a, b, c, d] = elements.map(f32::abs);
            (
                f32::max(group, (a + b) + (c + d)),
                f32::max(single, a.max(b).max(c.max(d))),
            )
        })
    }

    /// Each element as a whole number of half steps, and of these the sums over what bits are set, less the smallest.
    fn fill_tables(&mut self, step: f32) {
        let inverse = if step > 0.0 { 2.0 / step } else { 0.0 };
        let (groups, _) = self.residual.as_chunks::<GROUP>();
        self.tables.clear();
        self.tables.resize(groups.len() * TABLE, 0);
        let (tables, _) = self.tables.as_chunks_mut::<TABLE>();
        let mut total = 0;
        for (elements, table) in groups.iter().zip(tables) {
            let numbers = elements.map(|element| round(element * inverse));
            let smallest: i32 = numbers.iter().map(|number| number.min(&0)).sum();
            total += 2 * smallest - numbers.iter().sum::<i32>();
            // Modulo 256: every sum of some of the numbers, less the smallest, is 0 … 255.
            let mut sums = [smallest.wrapping_neg() as u8; TABLE];
            for (bit, number) in numbers.into_iter().enumerate() {
                for (value, sum) in sums.iter_mut().enumerate() {
                    let set = 0u8.wrapping_sub((value >> bit & 1) as u8);
                    *sum = sum.wrapping_add(number as u8 & set);
                }
            }
            *table = sums;
        }
        // ⟨s, r⟩ = Σ over set of 2r − Σ r, with 2r = step · number and the table's sum less by the smallest.
        self.table = Line {
            scale: step,
            offset: step / 2.0 * total as f32,
        };
    }

    fn fill_weights(&mut self, step: f32) {
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        self.weights.clear();
        let residual = self.residual.iter();
        self.weights
            .extend(residual.map(|element| round(element * inverse) as i8));
        let total: i32 = self.weights.iter().map(|weight| i32::from(*weight)).sum();
        self.row = Line {
            scale: 2.0 * step,
            offset: -step * total as f32,
        };
    }
}
