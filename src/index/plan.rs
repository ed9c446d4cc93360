//! How an index is laid out: flat or a tree, how many lists, around which centroids.
#![forbid(unsafe_code)]

use super::assign::Coded;
use super::centroids::Centroids;
use super::state::IndexState;
use super::vacuum::{CENTRE_SAMPLE, Mean};
use crate::kmeans::{Kmeans, Points};
use crate::layout::PAGE;
use crate::layout::centroid::LARGEST_ELEMENT;
use crate::quantizer::Centre;
use std::sync::Arc;

/// From so many rows on an index is a tree, unless told otherwise. With one entry for each row it is as large as a flat index, but for a tenth; at
/// 62,000 real vectors of 384 dimensions it answers a recall goal of 0.95 in two fifths of a flat index's time and the default of 0.99 in three
/// quarters of it; at 40,000 in a half and nine tenths, at 20,000 in four fifths and a tenth more.
pub const TREE_ROWS: u64 = 40_000;
/// From so many times as many rows on each has two entries: at 400,000 real vectors of 256 dimensions that halves the time for a goal of 0.99, but
/// doubles the room, and at 62,000 it spares a third.
const TWO_COPIES: u64 = 3;
/// Rows of a sample for each list that lists are chosen by, …
const SAMPLE_PER_LIST: u64 = 32;
/// … and the fewest that one can be chosen by.
const LEAST_SAMPLE_PER_LIST: usize = 8;
/// Rounds of the choice of lists. With points taken at random instead, a recall of 0.99 takes half as many lists again at 400,000 real
/// vectors; more rounds change nothing that two seeds do not.
const ROUNDS: usize = 4;
/// Seed of the choice of lists.
const SEED: u64 = 0x7ee5;

/// What an index is laid out by, besides its rows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From so many rows on it is a tree.
    pub tree_rows: u64,
    /// Bytes of memory that building it may take.
    pub memory: usize,
}

impl Limits {
    /// How many lists a tree of so many rows has, and how many entries in them each row.
    ///
    /// As many lists as half of the memory holds pages for, of which each fills one; VACUUM splits those that become too large.
    #[must_use]
    pub fn lists(&self, rows: u64) -> (u64, u32) {
        let copies = self.copies(rows);
        let most = (self.memory / 2 / PAGE) as u64;
        ((rows / rows_per_list(rows, copies)).min(most), copies)
    }

    /// How many entries in a tree's lists each of so many rows has.
    #[must_use]
    pub fn copies(&self, rows: u64) -> u32 {
        if rows < self.tree_rows.saturating_mul(TWO_COPIES) {
            1
        } else {
            2
        }
    }

    /// Rows of a sample for so many lists: at most as many as three quarters of the memory take.
    #[must_use]
    pub fn sampled(&self, lists: u64, code_bits: usize) -> u64 {
        let most = (self.memory / 4 * 3 / Points::bytes(code_bits)) as u64;
        (lists * SAMPLE_PER_LIST).min(most.max(CENTRE_SAMPLE))
    }
}

/// Rows for each list of a tree of so many rows and entries for each.
///
/// The finer the lists, the fewer entries hold what a query is near to, and the more centroids there are to be compared and remembered: up to
/// some thousand lists these cost nothing to speak of, beyond both grow together. Where rows have one entry more of the lists are looked at, and coarser
/// ones are as good.
#[must_use]
pub fn rows_per_list(rows: u64, copies: u32) -> u64 {
    const FEW: f64 = 120.0;
    const FEW_OF_ONE_ENTRY: f64 = 300.0;
    const MANY_LISTS: f64 = 8192.0;
    let few = if copies < 2 { FEW_OF_ONE_ENTRY } else { FEW };
    let beyond = (rows as f64 / (few * MANY_LISTS)).max(1.0);
    (few * beyond.sqrt()) as u64
}

/// How an index is laid out.
pub struct Plan {
    /// What codes of the list that takes new rows are relative to.
    pub(super) centre: Arc<Centre>,
    /// Of a tree's lists; none of a flat index.
    pub(super) centroids: Centroids,
    /// Entries of each row there.
    pub(super) copies: u32,
}

/// Vectors that lists are chosen by.
pub struct Sample<'s> {
    mean: Mean<'s>,
    state: &'s IndexState,
    points: Points,
}

impl<'s> Sample<'s> {
    /// No vectors yet; so many are [`wanted`](Limits::sampled).
    #[must_use]
    pub fn new(state: &'s IndexState, wanted: u64) -> Self {
        let count = usize::try_from(wanted).unwrap_or(0);
        Self {
            mean: Mean::new(state),
            state,
            points: Points::with_room(state.quantizer.code_bits(), count),
        }
    }

    /// Adds a vector.
    pub fn add(&mut self, vector: &[f32]) {
        let (rotated, scale) = self.mean.add(vector);
        if let Some(scale) = scale.filter(|scale| *scale != 0.0) {
            self.points.push(rotated, scale);
        }
    }
}

impl Plan {
    /// A flat index, its codes relative to the mean of a sample, or to the origin.
    #[must_use]
    pub fn flat(state: &IndexState, centre: Centre) -> Self {
        Self {
            centre: Arc::new(centre),
            centroids: Centroids::new(state.quantizer.code_bits()),
            copies: 0,
        }
    }

    /// At most so many lists, chosen by a sample; fewer if that is small. Each row is to have so many entries in them. `centre` is what codes of the list that takes new rows are relative to
    /// already, if they are. `pause` is called between the steps of [`Kmeans`].
    #[must_use]
    pub fn tree(
        sample: Sample<'_>,
        centre: Option<Arc<Centre>>,
        (lists, copies): (u64, u32),
        workers: Option<&rayon::ThreadPool>,
        pause: &mut dyn FnMut(),
    ) -> Self {
        let Sample {
            mean,
            state,
            points,
            ..
        } = sample;
        let centre = centre.unwrap_or_else(|| Arc::new(mean.centre()));
        let bits = state.quantizer.code_bits();
        let mut centroids = Centroids::new(bits);
        if points.largest() < LARGEST_ELEMENT {
            let most = points.len() / LEAST_SAMPLE_PER_LIST;
            let wanted = usize::try_from(lists).unwrap_or(most).min(most).max(2);
            let mut kmeans = Kmeans {
                dimension: bits,
                seed: SEED,
                workers,
                pause,
            };
            let found =
                kmeans.choose_by(&points, wanted, ROUNDS, |found| Coded::new(&found, &centre));
            centroids = Coded::new(&found, &centre).into_centroids();
        }
        Self {
            centre,
            copies: if centroids.is_empty() { 0 } else { copies },
            centroids,
        }
    }

    /// The centroids of the tree's lists.
    #[must_use]
    pub fn into_centroids(self) -> Centroids {
        self.centroids
    }

    /// Lists of the tree; 0 of a flat index.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.centroids.len()
    }
}
