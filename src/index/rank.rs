//! Which lists of a tree a query is near to.
//!
//! The codes of all centroids tell how far each is, about; those that may be near enough are asked for their distance, since at 400,000
//! real vectors the lists that hold 99 of 100 neighbours are a third fewer by distance than by codes alone.
#![forbid(unsafe_code)]

use super::tree::Tree;
use crate::kernel::kernels;
use crate::metric::Metric;
use crate::quantizer::QueryCode;

/// Gaps are counted from the mean key of so many nearest centroids: steadier from query to query than the nearest alone, and at
/// 400,000 real vectors a fifth fewer entries for the same recall.
const REFERENCE: usize = 6;
/// The nearest are among so many times as many that are nearest by their codes.
const AMONG: usize = 4;
/// A centroid's distance is asked for if it may be near enough within so many standard deviations of what its code tells.
const DEVIATIONS: f32 = 2.0;
/// The lists of a first pass have so many times k entries at least.
const LEAST_ENTRIES: u64 = 4;

/// A tree's used slots by their gaps for one query: how much farther a centroid is than the nearest few are on average. In squared distances;
/// under dotproduct in differences of inner products with the query divided by its norm.
pub struct Ranked {
    lists: Vec<(f32, usize)>,
    /// What a difference of keys is to one of gaps.
    unit: f32,
    /// So many are at the front, in their order.
    sorted: usize,
}

impl Ranked {
    /// Gaps up to this are exact, but for few; larger ones may be what the codes tell.
    #[must_use]
    pub fn within(tree: &Tree, query: &QueryCode, metric: Metric, gap: f32) -> Self {
        let centroids = &tree.centroids;
        let (vector, dot) = (query.scaled(), kernels().dot);
        let squares = dot(vector, vector);
        let norm = squares.sqrt().max(f32::MIN_POSITIVE);
        let key = |number: usize, squared: f32| match metric {
            Metric::Cosine | Metric::Euclidean => squared,
            // ‖q‖² − 2⟨q, c⟩
            Metric::DotProduct => (squared - centroids.squared_norm(number)) / (2.0 * norm),
        };
        let unit = if metric == Metric::DotProduct {
            1.0 / (2.0 * norm)
        } else {
            1.0
        };
        let mut point = Vec::with_capacity(centroids.code_bits());
        let mut exact = |found: &mut (f32, usize)| {
            found.0 = key(
                found.1,
                squares + centroids.distance(found.1, vector, &mut point),
            );
        };
        let mut estimates = Vec::new();
        centroids.estimates(query, &mut estimates);
        let mut ranked = Self {
            lists: tree
                .used()
                .map(|slot| (key(slot, estimates[slot].0), slot))
                .collect(),
            unit: match metric {
                Metric::Cosine => 2.0, // 1 − cos is half of a squared distance
                Metric::Euclidean => 1.0,
                Metric::DotProduct => 1.0 / norm,
            },
            sorted: 0,
        };
        ranked.sort(REFERENCE * AMONG);
        // A query that can be compared with none has no numbers here.
        if ranked
            .lists
            .first()
            .is_none_or(|nearest| nearest.0.is_nan())
        {
            return ranked;
        }
        let (near, others) = ranked.lists.split_at_mut(ranked.sorted);
        near.iter_mut().for_each(&mut exact);
        near.sort_unstable_by(by_gap);
        let nearest = &near[..REFERENCE.min(near.len())];
        let sum: f32 = nearest.iter().map(|(key, _)| key).sum();
        let mean = sum / nearest.len() as f32;
        for found in others {
            let (_, deviation) = estimates[found.1];
            if found.0 - DEVIATIONS * deviation * unit <= mean + gap {
                exact(found);
            }
        }
        for (key, _) in &mut ranked.lists {
            *key -= mean;
        }
        ranked.sorted = 0;
        ranked
    }

    /// All gaps are exact.
    #[must_use]
    pub fn all(tree: &Tree, query: &QueryCode, metric: Metric) -> Self {
        Self::within(tree, query, metric, f32::INFINITY)
    }

    /// How many lists a first pass looks at: those with no larger gap, and no fewer than have some times the rows wanted. Those of a query
    /// that can be compared with none are all.
    pub fn first_lists(&mut self, tree: &Tree, gap: f32, wanted: usize) -> usize {
        let within = |found: &&(f32, usize)| found.0 <= gap || found.0.is_nan();
        let mut lists = self.lists.iter().filter(within).count().max(1);
        let least = LEAST_ENTRIES.saturating_mul(wanted as u64);
        loop {
            lists = lists.min(self.len());
            let entries = |(_, slot): &(f32, usize)| tree.slots[*slot].head.entries;
            let found: u64 = self.nearest(lists).iter().map(entries).sum();
            if found >= least || lists == self.len() {
                return lists;
            }
            lists *= 2;
        }
    }

    /// The gap between keys that codes estimate which differ by so much.
    #[must_use]
    pub fn gap_of(&self, keys: f32) -> f32 {
        keys * self.unit
    }

    /// How many lists have no larger gap.
    #[must_use]
    pub fn lists_within(&self, gap: f32) -> usize {
        self.lists.iter().filter(|list| list.0 <= gap).count()
    }

    /// So many nearest, in their order, or all.
    pub fn nearest(&mut self, count: usize) -> &[(f32, usize)] {
        self.sort(count);
        &self.lists[..count.min(self.lists.len())]
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Brings the `count` with the smallest gaps to the front, in their order.
    fn sort(&mut self, count: usize) {
        let count = count.min(self.lists.len());
        if count <= self.sorted {
            return;
        }
        if count < self.lists.len() {
            self.lists.select_nth_unstable_by(count, by_gap);
        }
        self.lists[..count].sort_unstable_by(by_gap);
        self.sorted = count;
    }
}

fn by_gap(a: &(f32, usize), b: &(f32, usize)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0)
}
