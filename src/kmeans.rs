//! k-means: centroids of a sample, and which of them a vector is nearest to.
//!
//! Lloyd's algorithm from randomly chosen points, the same for the same seed on every CPU but for the last bits of distances.
//! A centroid that loses all its points begins anew beside the one that has most.
#![forbid(unsafe_code)]

use crate::kernel::kernels;
use crate::random::next;
use rayon::prelude::*;

/// Rounds of assignment and mean. Later ones move little.
const ROUNDS: usize = 8;
/// Distances computed between two looks at interrupts: some tens of milliseconds.
const STEP: usize = 2 << 20;

/// Vectors of one dimension, one behind the other, and the halves of their squared norms.
#[derive(Clone, Debug, Default)]
pub struct Centroids {
    dimension: usize,
    elements: Vec<f32>,
    half_norms: Vec<f32>,
}

impl Centroids {
    /// Of so many elements each.
    #[must_use]
    pub fn new(dimension: usize, elements: Vec<f32>) -> Self {
        let half_norm = |centroid: &[f32]| (kernels().dot)(centroid, centroid) / 2.0;
        Self {
            dimension,
            half_norms: elements.chunks_exact(dimension).map(half_norm).collect(),
            elements,
        }
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.half_norms.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.half_norms.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, number: usize) -> &[f32] {
        &self.elements[number * self.dimension..][..self.dimension]
    }

    /// The number of the nearest for each of some points.
    fn nearest_of_all(
        &self,
        points: &[f32],
        workers: Option<&rayon::ThreadPool>,
        pause: &mut dyn FnMut(),
    ) -> Vec<u32> {
        let dimension = self.dimension;
        let mut all = vec![0; points.len() / dimension];
        let step = (STEP / self.len().max(1)).max(1);
        let chunks = points.chunks(step * dimension).zip(all.chunks_mut(step));
        for (points, nearest) in chunks {
            pause();
            let one = |(point, nearest): (&[f32], &mut u32)| *nearest = self.nearest(point);
            match workers {
                None => points.chunks_exact(dimension).zip(nearest).for_each(one),
                Some(workers) => workers.install(|| {
                    points
                        .par_chunks_exact(dimension)
                        .zip(nearest)
                        .with_min_len(32)
                        .for_each(one);
                }),
            }
        }
        all
    }

    /// The number of the nearest, 0 if there are none.
    fn nearest(&self, vector: &[f32]) -> u32 {
        let dot = kernels().dot;
        let centroids = self.elements.chunks_exact(self.dimension);
        let mut best = (f32::INFINITY, 0);
        for (number, (centroid, half_norm)) in centroids.zip(&self.half_norms).enumerate() {
            let key = half_norm - dot(vector, centroid);
            if key < best.0 {
                best = (key, number as u32);
            }
        }
        best.1
    }
}

/// `wanted` centroids, or fewer if there are fewer points. `pause` is called on this thread between steps.
pub fn kmeans(
    points: &[f32],
    dimension: usize,
    wanted: usize,
    seed: u64,
    workers: Option<&rayon::ThreadPool>,
    pause: &mut dyn FnMut(),
) -> Centroids {
    let count = points.len() / dimension;
    let wanted = wanted.min(count);
    let point = |number: usize| &points[number * dimension..][..dimension];
    let mut random = seed;
    let elements = choose(count, wanted, &mut random)
        .into_iter()
        .flat_map(|number| point(number).iter().copied())
        .collect();
    let mut centroids = Centroids::new(dimension, elements);
    if wanted < 2 {
        return mean(points, dimension, wanted);
    }
    for _ in 0..ROUNDS {
        let nearest = centroids.nearest_of_all(points, workers, pause);
        centroids = means(points, &centroids, &nearest, &mut random);
    }
    centroids
}

/// Points for each group that groups are chosen by.
const POINTS_PER_GROUP: usize = 128;
/// Fewer groups than this save nothing.
const LEAST_GROUPS: usize = 4;

/// About `wanted` centroids in two steps: groups of points, some √wanted, then in each group its share of centroids. A point is
/// compared with 2 √wanted others a round where [`kmeans`] compares it with all.
pub fn kmeans_by_groups(
    points: &[f32],
    dimension: usize,
    wanted: usize,
    seed: u64,
    workers: Option<&rayon::ThreadPool>,
    pause: &mut dyn FnMut(),
) -> Centroids {
    let count = points.len() / dimension;
    let wanted = wanted.min(count);
    let groups = wanted.isqrt();
    if groups < LEAST_GROUPS {
        return kmeans(points, dimension, wanted, seed, workers, pause);
    }
    let step = (count / (groups * POINTS_PER_GROUP)).max(1);
    let some: Vec<f32> = points
        .chunks_exact(dimension)
        .step_by(step)
        .flatten()
        .copied()
        .collect();
    let coarse = kmeans(&some, dimension, groups, seed, workers, pause);
    drop(some);
    let nearest = coarse.nearest_of_all(points, workers, pause);
    let (mut elements, mut passed, mut chosen) = (Vec::new(), 0, 0);
    for group in 0..coarse.len() {
        let members: Vec<f32> = points
            .chunks_exact(dimension)
            .zip(&nearest)
            .filter(|(_, nearest)| **nearest as usize == group)
            .flat_map(|(point, _)| point)
            .copied()
            .collect();
        passed += members.len() / dimension;
        // What rounding leaves of a group's share goes to the next.
        let share = (wanted * passed).div_ceil(count) - chosen;
        let found = kmeans(&members, dimension, share, seed, workers, pause);
        chosen += found.len();
        elements.extend_from_slice(&found.elements);
    }
    Centroids::new(dimension, elements)
}

fn mean(points: &[f32], dimension: usize, wanted: usize) -> Centroids {
    if wanted == 0 {
        return Centroids::new(dimension, Vec::new());
    }
    let nearest = vec![0; points.len() / dimension];
    let start = Centroids::new(dimension, points[..dimension].to_vec());
    means(points, &start, &nearest, &mut 0)
}

/// The means of the points assigned to each centroid.
fn means(points: &[f32], before: &Centroids, nearest: &[u32], random: &mut u64) -> Centroids {
    let dimension = before.dimension;
    let mut sums = vec![0.0f64; before.len() * dimension];
    let mut counts = vec![0usize; before.len()];
    for (point, &nearest) in points.chunks_exact(dimension).zip(nearest) {
        counts[nearest as usize] += 1;
        let sums = &mut sums[nearest as usize * dimension..][..dimension];
        for (sum, element) in sums.iter_mut().zip(point) {
            *sum += f64::from(*element);
        }
    }
    let largest = (0..counts.len()).max_by_key(|&at| counts[at]).unwrap_or(0);
    let of_largest: Vec<usize> = (0..nearest.len())
        .filter(|&at| nearest[at] as usize == largest)
        .collect();
    let mut elements = Vec::with_capacity(sums.len());
    for (sums, &count) in sums.chunks_exact(dimension).zip(&counts) {
        if count > 0 {
            elements.extend(sums.iter().map(|sum| (sum / count as f64) as f32));
        } else {
            let chosen = of_largest[next(random) as usize % of_largest.len()];
            elements.extend_from_slice(&points[chosen * dimension..][..dimension]);
        }
    }
    Centroids::new(dimension, elements)
}

/// `wanted` different numbers below `count` (Floyd's sampling).
fn choose(count: usize, wanted: usize, random: &mut u64) -> Vec<usize> {
    let mut chosen = std::collections::BTreeSet::new();
    for last in count - wanted..count {
        let number = next(random) as usize % (last + 1);
        if !chosen.insert(number) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around so many places far from each other.
    fn clusters(places: usize, each: usize, dimension: usize) -> Vec<f32> {
        let mut random = 1;
        let mut float = || (next(&mut random) >> 40) as f32 / (1 << 24) as f32;
        let centres: Vec<Vec<f32>> = (0..places)
            .map(|_| (0..dimension).map(|_| float() * 100.0).collect())
            .collect();
        (0..each)
            .flat_map(|_| centres.clone())
            .flat_map(|centre| {
                centre
                    .into_iter()
                    .map(|element| element + float())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn it_finds_clusters_that_are_there() {
        let points = clusters(5, 40, 64);
        let (mut pauses, mut best) = (0, f32::INFINITY);
        for seed in 0..6 {
            let found = kmeans(&points, 64, 5, seed, None, &mut || pauses += 1);
            assert_eq!(found.len(), 5);
            let spread: f32 = points
                .chunks_exact(64)
                .map(|point| {
                    let nearest = found.get(found.nearest(point) as usize);
                    (kernels().l2_squared)(point, nearest)
                })
                .sum();
            best = best.min(spread / 200.0);
        }
        // A point is 1/12 from its place in each dimension, squared and on average.
        assert!(best < 64.0 / 12.0 * 1.3, "{best}");
        assert!(pauses >= 6 * ROUNDS);
    }

    #[test]
    fn groups_find_clusters_too() {
        let points = clusters(30, 40, 64);
        let found = kmeans_by_groups(&points, 64, 120, 1, None, &mut || ());
        assert!((110..=130).contains(&found.len()), "{}", found.len());
        let spread: f32 = points
            .chunks_exact(64)
            .map(|point| {
                let nearest = found.get(found.nearest(point) as usize);
                (kernels().l2_squared)(point, nearest)
            })
            .sum();
        assert!(spread / 1200.0 < 64.0 / 12.0 * 1.5, "{}", spread / 1200.0);
        let few = kmeans_by_groups(&points[..64 * 10], 64, 120, 1, None, &mut || ());
        assert_eq!(few.len(), 10);
    }

    #[test]
    fn threads_and_seeds() {
        let points = clusters(7, 30, 32);
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let alone = kmeans(&points, 32, 9, 3, None, &mut || ());
        let together = kmeans(&points, 32, 9, 3, Some(&workers), &mut || ());
        assert_eq!(alone.elements, together.elements);
        let other = kmeans(&points, 32, 9, 4, None, &mut || ());
        assert_ne!(alone.elements, other.elements);
    }

    #[test]
    fn few_points_and_equal_ones() {
        let points = vec![1.0; 64 * 3];
        assert_eq!(kmeans(&points, 64, 10, 1, None, &mut || ()).len(), 3);
        assert!(kmeans(&[], 64, 10, 1, None, &mut || ()).is_empty());
        let one = kmeans(&clusters(2, 1, 4), 4, 1, 1, None, &mut || ());
        assert_eq!(one.len(), 1);
    }
}
