//! Which lists a vector belongs to.
//!
//! The codes of all centroids are looked at, the distances of those that come out nearest are computed. Against computing all, that takes
//! a tenth of the time at some thousand centroids, and another list is chosen for hardly any vector.
#![forbid(unsafe_code)]

use super::centroids::Centroids;
use super::state::IndexState;
use super::topk::Smallest;
use crate::kernel::kernels;
use crate::kmeans::{self, Nearest};
use crate::metric::Metric;
use crate::quantizer::{Centre, QueryCode};

/// How much more a second list whose residual is parallel to the first one's is avoided (SOAR's λ).
const PARALLEL_PENALTY: f32 = 1.5;
/// Both lists of a vector are chosen by distance among so many that are nearest by their codes.
const AMONG: usize = 32;
/// Where only the nearest is asked for, for rows of one entry and while lists are chosen by a sample, it is looked for among fewer.
const AMONG_FOR_ONE: usize = 8;
/// Codes looked at between two pauses: a fraction of a millisecond.
const STEP: usize = 1 << 14;

/// Chooses lists for vectors; its buffers are used again for the next.
#[derive(Default)]
pub struct Assigner {
    query: QueryCode,
    smallest: Smallest,
    /// The nearest by their codes.
    near: Vec<usize>,
    /// Their elements.
    points: Vec<f32>,
    /// ‖x − c‖² − ‖x‖² for each.
    keys: Vec<f32>,
    residual: Vec<f32>,
}

impl Assigner {
    /// The nearest centroid to a rotated vector among those that are used, and a second by SOAR's loss (Sun et al., "SOAR: Improved Indexing
    /// for Approximate Nearest Neighbor Search", NeurIPS 2023): ‖x − c‖² + λ · ⟨x − c, r⟩² / ‖r‖², r being the residual of the first.
    /// Only the nearest where a row has one entry. None if the vector can be compared with none.
    pub fn assign(
        &mut self,
        state: &IndexState,
        centroids: &Centroids,
        is_used: impl Fn(usize) -> bool,
        rotated: &[f32],
    ) -> Option<(usize, Option<usize>)> {
        let scale = Centre::scale(rotated, state.metric)?;
        if scale == 0.0 {
            // It has no distance to anything: it may be anywhere.
            return (0..centroids.len())
                .find(|number| is_used(*number))
                .map(|first| (first, None));
        }
        self.query
            .prepare(rotated, &state.centre, state.metric, 0.0);
        if state.meta.copies < 2 {
            let first = self.nearest(centroids, AMONG_FOR_ONE, is_used)?;
            return Some((self.near[first], None));
        }
        let first = self.nearest(centroids, AMONG, is_used)?;
        let dot = kernels().dot;
        let (vector, bits) = (self.query.scaled(), centroids.code_bits());
        let point = |place: usize| &self.points[place * bits..][..bits];
        self.residual.clear();
        let pairs = vector.iter().zip(point(first));
        self.residual.extend(pairs.map(|(x, c)| x - c));
        let squares = dot(&self.residual, &self.residual).max(f32::MIN_POSITIVE);
        let along = dot(vector, &self.residual);
        let loss = |place: usize| {
            let parallel = along - dot(point(place), &self.residual);
            self.keys[place] + PARALLEL_PENALTY * parallel * parallel / squares
        };
        let second = (0..self.near.len())
            .filter(|place| *place != first)
            .map(|place| (loss(place), place))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        Some((self.near[first], second.map(|(_, place)| self.near[place])))
    }

    /// Fills in so many nearest by their codes to the vector that was prepared; answers the place of the nearest among them.
    fn nearest(
        &mut self,
        centroids: &Centroids,
        among: usize,
        is_used: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let smallest = &mut self.smallest;
        smallest.clear(among);
        let mut limit = f32::INFINITY;
        centroids.scan(&self.query, &mut |number, estimate| {
            if is_used(number) {
                limit = smallest.push(estimate, number as u32);
            }
            limit
        });
        self.near.clear();
        self.near
            .extend(smallest.numbers().map(|number| number as usize));
        self.points.clear();
        for &number in &self.near {
            centroids.read(number, &mut self.points);
        }
        let dot = kernels().dot;
        let vector = self.query.scaled();
        self.keys.clear();
        let points = self.points.chunks_exact(centroids.code_bits());
        let pairs = self.near.iter().zip(points);
        self.keys.extend(
            pairs.map(|(&number, point)| centroids.squared_norm(number) - 2.0 * dot(vector, point)),
        );
        (0..self.near.len()).min_by(|&a, &b| self.keys[a].total_cmp(&self.keys[b]))
    }
}

/// Centroids in the making, rounded and coded so that points are assigned to them as rows will be.
pub struct Coded<'c> {
    pivot: &'c Centre,
    centroids: Centroids,
}

impl<'c> Coded<'c> {
    /// Their codes are relative to `pivot`.
    #[must_use]
    pub fn new(points: &kmeans::Centroids, pivot: &'c Centre) -> Self {
        let mut centroids = Centroids::new(pivot.rotated().len());
        for number in 0..points.len() {
            centroids.put(pivot, number, points.get(number).to_vec());
        }
        Self { pivot, centroids }
    }

    /// Without the pivot.
    #[must_use]
    pub fn into_centroids(self) -> Centroids {
        self.centroids
    }
}

impl Nearest for Coded<'_> {
    type Tools = Assigner;

    fn nearest(&self, tools: &mut Assigner, point: &[f32]) -> u32 {
        let query = &mut tools.query;
        query.prepare(point, self.pivot, Metric::Euclidean, 0.0);
        let place = tools.nearest(&self.centroids, AMONG_FOR_ONE, |_| true);
        place.map_or(0, |place| tools.near[place] as u32)
    }

    fn step(&self) -> usize {
        (STEP / self.centroids.len().max(1)).max(1)
    }
}
