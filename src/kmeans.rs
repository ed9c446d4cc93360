//! k-means: centroids of a sample, and which of them a vector is nearest to.
//!
//! The sample is held with a byte for each element: four times as many points in the same memory tell more than finer ones.
//! Lloyd's algorithm from randomly chosen points, the same for the same seed on every CPU but for the last bits of distances.
//! A centroid that loses all its points begins anew beside the one that has most.
#![forbid(unsafe_code)]

mod points;

pub use points::Points;

use crate::kernel::kernels;
use crate::random::next;
use rayon::prelude::*;

/// Rounds of assignment and mean that few centroids need. Later ones move little.
const ROUNDS: usize = 8;
/// Elements gone through between two pauses: a fraction of a millisecond, since whoever shares the processor waits for one.
const STEP: usize = 1 << 19;
/// Points that helpers are given at once: enough for many of them, who seldom wait for each other then.
const TOGETHER: usize = 4096;

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
}

/// What tells the nearest of some centroids.
pub trait Nearest: Sync {
    /// Buffers of one thread.
    type Tools: Default;

    /// The number of the nearest to a point, or of one that is hardly farther; 0 if there are none.
    fn nearest(&self, tools: &mut Self::Tools, point: &[f32]) -> u32;

    /// How many points one thread may be asked for between two pauses: for a fraction of a millisecond.
    fn step(&self) -> usize;
}

/// By all distances.
impl Nearest for Centroids {
    type Tools = ();

    fn nearest(&self, (): &mut (), point: &[f32]) -> u32 {
        let dot = kernels().dot;
        let centroids = self.elements.chunks_exact(self.dimension);
        let mut best = (f32::INFINITY, 0);
        for (number, (centroid, half_norm)) in centroids.zip(&self.half_norms).enumerate() {
            let key = half_norm - dot(point, centroid);
            if key < best.0 {
                best = (key, number as u32);
            }
        }
        best.1
    }

    fn step(&self) -> usize {
        (STEP / self.elements.len().max(1)).max(1)
    }
}

/// What a choice of centroids goes by, besides the points.
pub struct Kmeans<'a> {
    /// Elements of a point.
    pub dimension: usize,
    /// The same seed gives the same centroids.
    pub seed: u64,
    /// Those who assign points; none: this thread.
    pub workers: Option<&'a rayon::ThreadPool>,
    /// Called on this thread between steps: a fraction of a millisecond, or some tens of milliseconds where there are workers.
    pub pause: &'a mut dyn FnMut(),
}

impl Kmeans<'_> {
    /// `wanted` centroids of the points; fewer if there are fewer points.
    pub fn choose(&mut self, points: &Points, wanted: usize) -> Centroids {
        if wanted == 1 && !points.is_empty() {
            let nearest = vec![0; points.len()];
            return self.means(points, 1, &nearest, &mut 0);
        }
        self.choose_by(points, wanted, ROUNDS, |centroids| centroids)
    }

    /// The same in so many rounds; `by` makes of centroids what tells the nearest of them.
    pub fn choose_by<N: Nearest>(
        &mut self,
        points: &Points,
        wanted: usize,
        rounds: usize,
        by: impl Fn(Centroids) -> N,
    ) -> Centroids {
        let count = points.len();
        let wanted = wanted.min(count);
        let mut random = self.seed;
        let (mut elements, mut point) = (Vec::new(), Vec::new());
        for number in choose(count, wanted, &mut random) {
            points.read(number, &mut point);
            elements.extend_from_slice(&point);
        }
        let mut centroids = Centroids::new(self.dimension, elements);
        if wanted == 0 {
            return centroids;
        }
        for _ in 0..rounds {
            let nearest = self.nearest_of_all(points, &by(centroids));
            centroids = self.means(points, wanted, &nearest, &mut random);
        }
        centroids
    }

    /// The number of the nearest for each point.
    fn nearest_of_all<N: Nearest>(&mut self, points: &Points, to: &N) -> Vec<u32> {
        let mut all = vec![0; points.len()];
        let step = self.workers.map_or_else(|| to.step(), |_| TOGETHER);
        let find = |(tools, point): &mut (N::Tools, Vec<f32>), number: usize| {
            points.read(number, point);
            to.nearest(tools, point)
        };
        let mut own = Default::default();
        for (chunk, nearest) in all.chunks_mut(step).enumerate() {
            (self.pause)();
            let first = chunk * step;
            match self.workers {
                None => {
                    for (number, nearest) in nearest.iter_mut().enumerate() {
                        *nearest = find(&mut own, first + number);
                    }
                }
                Some(workers) => workers.install(|| {
                    let nearest = nearest.par_iter_mut().enumerate().with_min_len(32);
                    nearest.for_each_init(Default::default, |own, (number, nearest)| {
                        *nearest = find(own, first + number);
                    });
                }),
            }
        }
        all
    }

    /// The means of the points assigned to each of so many centroids.
    fn means(
        &mut self,
        points: &Points,
        wanted: usize,
        nearest: &[u32],
        random: &mut u64,
    ) -> Centroids {
        let dimension = self.dimension;
        let mut sums = vec![0.0f64; wanted * dimension];
        let mut counts = vec![0usize; wanted];
        let mut point = Vec::with_capacity(dimension);
        let step = (STEP / dimension.max(1)).max(1);
        for (number, &nearest) in nearest.iter().enumerate() {
            if number % step == 0 {
                (self.pause)();
            }
            points.read(number, &mut point);
            counts[nearest as usize] += 1;
            let sums = &mut sums[nearest as usize * dimension..][..dimension];
            for (sum, element) in sums.iter_mut().zip(&point) {
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
                points.read(chosen, &mut point);
                elements.extend_from_slice(&point);
            }
        }
        Centroids::new(dimension, elements)
    }
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
    fn clusters(places: usize, each: usize, dimension: usize) -> Points {
        let mut random = 1;
        let mut float = || (next(&mut random) >> 40) as f32 / (1 << 24) as f32;
        let centres: Vec<Vec<f32>> = (0..places)
            .map(|_| (0..dimension).map(|_| float() * 100.0).collect())
            .collect();
        let mut points = Points::new(dimension);
        for centre in (0..each).flat_map(|_| &centres) {
            let point: Vec<f32> = centre.iter().map(|element| element + float()).collect();
            points.push(&point, 1.0);
        }
        points
    }

    fn kmeans(
        points: &Points,
        dimension: usize,
        wanted: usize,
        seed: u64,
        pause: &mut dyn FnMut(),
    ) -> Centroids {
        let mut kmeans = Kmeans {
            dimension,
            seed,
            workers: None,
            pause,
        };
        kmeans.choose(points, wanted)
    }

    #[test]
    fn it_finds_clusters_that_are_there() {
        let points = clusters(5, 40, 64);
        let (mut pauses, mut best) = (0, f32::INFINITY);
        for seed in 0..6 {
            let found = kmeans(&points, 64, 5, seed, &mut || pauses += 1);
            assert_eq!(found.len(), 5);
            let mut point = Vec::new();
            let spread: f32 = (0..points.len())
                .map(|number| {
                    points.read(number, &mut point);
                    let nearest = found.get(found.nearest(&mut (), &point) as usize);
                    (kernels().l2_squared)(&point, nearest)
                })
                .sum();
            best = best.min(spread / 200.0);
        }
        // A point is 1/12 from its place in each dimension, squared and on average, and rounded to 0.8: another 0.64 / 12.
        assert!(best < 64.0 * 1.64 / 12.0 * 1.3, "{best}");
        assert!(pauses >= 6 * ROUNDS);
    }

    #[test]
    fn threads_and_seeds() {
        let points = clusters(7, 30, 32);
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let alone = kmeans(&points, 32, 9, 3, &mut || ());
        let mut together = Kmeans {
            dimension: 32,
            seed: 3,
            workers: Some(&workers),
            pause: &mut || (),
        };
        assert_eq!(alone.elements, together.choose(&points, 9).elements);
        let other = kmeans(&points, 32, 9, 4, &mut || ());
        assert_ne!(alone.elements, other.elements);
    }

    /// Fails for some points.
    struct Faulty;

    impl Nearest for Faulty {
        type Tools = ();

        fn nearest(&self, (): &mut (), point: &[f32]) -> u32 {
            assert!(point[0] < 30.0, "a helper fails");
            0
        }

        fn step(&self) -> usize {
            usize::MAX
        }
    }

    #[test]
    fn a_helpers_panic_is_the_callers_and_the_helpers_go_on() {
        let points = clusters(7, 30, 32);
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let mut together = Kmeans {
            dimension: 32,
            seed: 3,
            workers: Some(&workers),
            pause: &mut || (),
        };
        let expected = together.choose(&points, 9).elements;
        for _ in 0..3 {
            let choose = || together.choose_by(&points, 9, 1, |_| Faulty);
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(choose));
            let message = failed.err().and_then(|panic| {
                let text = panic.downcast_ref::<&str>().copied();
                text.map(str::to_owned)
            });
            assert_eq!(message.as_deref(), Some("a helper fails"));
            assert_eq!(together.choose(&points, 9).elements, expected);
        }
    }

    #[test]
    fn few_points_and_equal_ones() {
        let (mut points, none) = (Points::new(64), Points::new(64));
        (0..3).for_each(|_| points.push(&[0.5; 64], 2.0));
        assert_eq!(kmeans(&points, 64, 10, 1, &mut || ()).len(), 3);
        assert!(kmeans(&none, 64, 10, 1, &mut || ()).is_empty());
        assert!(kmeans(&none, 64, 1, 1, &mut || ()).is_empty());
        let one = kmeans(&clusters(2, 1, 4), 4, 1, 1, &mut || ());
        assert_eq!(one.len(), 1);
        assert_eq!(kmeans(&points, 64, 1, 1, &mut || ()).get(0), [1.0; 64]);
    }

    #[test]
    fn points_are_rounded_to_a_byte_for_each_element() {
        let mut points = Points::new(4);
        let rows = [
            [1.0, -2.0, 0.5, 0.0],
            [0.0; 4],
            [3e-39; 4],
            [1e30, 1e20, -1e30, 0.0],
        ];
        rows.iter().for_each(|row| points.push(row, 0.5));
        let mut read = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            points.read(number, &mut read);
            let largest = row.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            for (read, x) in read.iter().zip(row) {
                assert!(
                    (read - x * 0.5).abs() <= (largest / 127.0).max(3e-39),
                    "{row:?}"
                );
            }
        }
        assert_eq!((points.len(), points.largest()), (4, 0.5e30));
    }
}
