//! Rotation, codes and estimates: golden values, statistics over random and clustered data, and what is extreme.
#![forbid(unsafe_code)]

mod packed;
mod turned;

use super::*;
use crate::kernel::{BLOCK_ENTRIES, kernels};
use crate::metric::Metric;
use proptest::prelude::*;

/// Normal deviates, the same in every run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bits = self.0 ^ self.0 >> 29;
        ((bits.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.normal()).collect()
    }

    fn near(&mut self, centre: &[f32], distance: f32) -> Vec<f32> {
        centre
            .iter()
            .map(|element| element + distance * self.normal())
            .collect()
    }
}

/// The key in `f64`, from the vectors as they came.
fn key(metric: Metric, o: &[f32], q: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    match metric {
        Metric::Euclidean => dot(o, o) - 2.0 * dot(o, q) + dot(q, q),
        Metric::Cosine => 1.0 - dot(o, q) / (dot(o, o) * dot(q, q)).sqrt(),
        Metric::DotProduct => -dot(o, q),
    }
}

fn rotated(quantizer: &Quantizer, vector: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    quantizer.rotate(vector, &mut out);
    out
}

/// A row of a vector.
fn encoded(
    quantizer: &Quantizer,
    vector: &[f32],
    centre: &Centre,
    metric: Metric,
) -> (Vec<u8>, Factors) {
    let mut code = vec![0xaa; quantizer.code_bytes()];
    let factors = encode(&rotated(quantizer, vector), centre, metric, &mut code);
    (code, factors)
}

fn prepared(quantizer: &Quantizer, query: &[f32], centre: &Centre, metric: Metric) -> QueryCode {
    let mut prepared = QueryCode::default();
    prepared.prepare(&rotated(quantizer, query), centre, metric, 1.0);
    prepared
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn sample(dimension: usize) -> Vec<f32> {
    (0..dimension)
        .map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0)
        .collect()
}

#[test]
fn lengths_of_codes() {
    for (dimension, bits) in [
        (1, 64),
        (8, 64),
        (64, 64),
        (65, 128),
        (384, 384),
        (1000, 1024),
        (20_000, 20_032),
    ] {
        let quantizer = Quantizer::new(dimension, 1);
        assert_eq!(
            (
                quantizer.dimension(),
                quantizer.code_bits(),
                quantizer.code_bytes()
            ),
            (dimension, bits, bits / 8)
        );
    }
}

/// Codes are on disk: a rotation that changes in one bit makes every index wrong.
#[test]
fn the_rotation_is_what_it_always_was() {
    let cases = GOLDEN.map(|(dimension, seed, _)| {
        let rotated = rotated(&Quantizer::new(dimension, seed), &sample(dimension));
        (
            dimension,
            seed,
            hash(
                rotated
                    .into_iter()
                    .flat_map(|element| element.to_bits().to_le_bytes()),
            ),
        )
    });
    assert_eq!(cases, GOLDEN);
}

/// Dimension, seed, hash of the rotated sample's bits.
const GOLDEN: [(usize, u64, u64); 5] = [
    (8, 0, 15_327_634_178_617_136_522),
    (64, 1, 3_576_824_177_378_595_046),
    (384, 42, 8_676_246_880_455_201_864),
    (1000, 7, 1_899_656_326_584_138_736),
    (20_000, u64::MAX, 1_829_629_652_427_345_377),
];

#[test]
fn rotations_keep_norms_and_inner_products() {
    let mut random = Random(1);
    for dimension in [1, 2, 8, 63, 64, 65, 100, 384, 768, 1000, 1536, 3072, 20_000] {
        let quantizer = Quantizer::new(dimension, 99);
        let (a, b) = (random.vector(dimension), random.vector(dimension));
        let (ra, rb) = (rotated(&quantizer, &a), rotated(&quantizer, &b));
        let size = (dot(&a, &a) * dot(&b, &b)).sqrt();
        assert!(
            (dot(&ra, &ra) / dot(&a, &a) - 1.0).abs() < 1e-5,
            "{dimension}"
        );
        assert!(
            (dot(&ra, &rb) - dot(&a, &b)).abs() < 1e-5 * size,
            "{dimension}"
        );
    }
}

/// However spiky the vector, its rotation looks like noise: no element much larger than normal deviates would be, and
/// Σ|x| as of normal deviates.
#[test]
fn rotations_spread_a_single_element() {
    for dimension in [64, 100, 384, 768, 1000, 1536] {
        let quantizer = Quantizer::new(dimension, 5);
        let bits = quantizer.code_bits() as f32;
        for place in (0..dimension).step_by(7) {
            let mut spike = vec![0.0; dimension];
            spike[place] = 1.0;
            let rotated = rotated(&quantizer, &spike);
            let largest = rotated
                .iter()
                .fold(0.0, |largest: f32, element| largest.max(element.abs()));
            let cosine = rotated.iter().map(|element| element.abs()).sum::<f32>() / bits.sqrt();
            assert!(
                largest * bits.sqrt() < 6.0,
                "{dimension} {place}: {largest}"
            );
            assert!(
                (cosine - 0.8).abs() < 1.1 / bits.sqrt(),
                "{dimension} {place}: {cosine}"
            );
        }
    }
}

#[test]
fn a_vector_of_denormals_is_not_zero() {
    let quantizer = Quantizer::new(384, 3);
    let mut tiny = vec![0.0; 384];
    tiny[17] = f32::from_bits(1);
    assert!(
        rotated(&quantizer, &tiny)
            .iter()
            .any(|element| *element != 0.0)
    );
    assert!(
        rotated(&quantizer, &[0.0; 384])
            .iter()
            .all(|element| *element == 0.0)
    );
}

#[test]
fn bits_are_the_signs_of_the_residual() {
    let (metric, bits) = (Metric::Euclidean, 128);
    let mut random = Random(2);
    let (vector, centre) = (random.vector(bits), random.vector(bits));
    let mut code = vec![0xff; bits / 8];
    let factors = encode(&vector, &Centre::new(centre.clone()), metric, &mut code);
    let residual: Vec<f32> = vector.iter().zip(&centre).map(|(o, c)| o - c).collect();
    for (at, element) in residual.iter().enumerate() {
        assert_eq!(code[at / 8] >> (at % 8) & 1 == 1, *element > 0.0);
    }
    let squares: f64 = dot(&residual, &residual);
    let magnitudes: f64 = residual
        .iter()
        .map(|element| f64::from(element.abs()))
        .sum();
    let cosine = magnitudes / (squares * bits as f64).sqrt();
    let error =
        2.0 * squares.sqrt() * (1.0 / cosine.powi(2) - 1.0).sqrt() / (bits as f64 - 1.0).sqrt();
    assert_eq!(
        factors,
        Factors {
            add: squares as f32,
            rescale: (-2.0 * squares / magnitudes) as f32,
            error: error as f32
        }
    );
}

/// What vectors an estimate is tried on.
#[derive(Clone, Copy, Debug)]
struct Data {
    dimension: usize,
    metric: Metric,
    /// Vectors of one cluster away from the origin, or around the origin.
    clustered: bool,
    /// Codes relative to a centre near the cluster's, or to the origin.
    centred: bool,
}

/// Pairs of vectors for each kind of data: fewer where the code is not optimised and they would take minutes.
const PAIRS: usize = if cfg!(debug_assertions) { 100 } else { 2000 };

/// Over many pairs the error in standard deviations has mean 0 and deviation 1, as well as so many pairs can tell.
#[test]
fn estimates_are_unbiased_and_errors_as_promised() {
    let mut random = Random(3);
    let sides = [(false, false), (false, true), (true, false), (true, true)];
    let cases = [8, 64, 100, 384, 768, 1000]
        .into_iter()
        .flat_map(|dimension| {
            Metric::ALL.into_iter().flat_map(move |metric| {
                sides.map(|(clustered, centred)| Data {
                    dimension,
                    metric,
                    clustered,
                    centred,
                })
            })
        });
    for data in cases {
        let [mean, deviation] = moments(&mut random, data);
        // The part of the query's residual that lies along the vector's has no error: most of it for a cluster away from
        // its centre, and some in few dimensions.
        let least = match data {
            Data {
                clustered: true,
                centred: false,
                ..
            } => 0.35,
            Data { dimension: 8, .. } => 0.85,
            _ => 0.99,
        };
        let doubt = 3.5 / (PAIRS as f64).sqrt();
        let range = least - 0.7 * doubt..1.01 + 0.7 * doubt;
        let fine = mean.abs() < doubt && range.contains(&deviation);
        assert!(fine, "{data:?}: mean {mean:.3}, deviation {deviation:.3}");
    }
}

/// Mean and standard deviation over pairs, each with a rotation of its own: pairs of one cluster and one rotation would
/// err alike.
fn moments(random: &mut Random, data: Data) -> [f64; 2] {
    let Data {
        dimension,
        metric,
        clustered,
        centred,
    } = data;
    let (mut sum, mut squares) = (0.0, 0.0);
    let middle = if clustered {
        random.vector(dimension)
    } else {
        vec![0.0; dimension]
    };
    // Under cosine a centre is one of vectors of norm 1.
    let by = if metric == Metric::Cosine {
        1.0 / (dimension as f32).sqrt()
    } else {
        1.0
    };
    let near: Vec<f32> = random
        .near(&middle, 0.1)
        .iter()
        .map(|element| element * by)
        .collect();
    let spread = if clustered { 0.5 } else { 1.0 };
    for pair in 0..PAIRS {
        let quantizer = Quantizer::new(dimension, pair as u64);
        let centre = if centred {
            Centre::new(rotated(&quantizer, &near))
        } else {
            Centre::zero(quantizer.code_bits())
        };
        let (o, q) = (random.near(&middle, spread), random.near(&middle, spread));
        let (code, factors) = encoded(&quantizer, &o, &centre, metric);
        let query = prepared(&quantizer, &q, &centre, metric);
        let Bound { estimate, lower } = query.row(kernels(), &code, factors);
        let z = (f64::from(estimate) - key(metric, &o, &q)) / f64::from(estimate - lower);
        sum += z;
        squares += z * z;
    }
    let mean = sum / PAIRS as f64;
    [mean, (squares / PAIRS as f64 - mean * mean).sqrt()]
}

/// Rows and blocks give the same estimates but for their different rounding, on every kernel.
#[test]
fn blocks_and_rows_agree() {
    let mut random = Random(4);
    for dimension in [1, 8, 64, 100, 384, 1536] {
        for metric in Metric::ALL {
            let quantizer = Quantizer::new(dimension, 11);
            let bits = quantizer.code_bits();
            let vectors: Vec<_> = (0..BLOCK_ENTRIES)
                .map(|_| random.vector(dimension))
                .collect();
            let centre = Centre::zero(bits);
            let query = random.vector(dimension);
            let prepared = prepared(&quantizer, &query, &centre, metric);
            let rows: Vec<Vec<u8>> = vectors
                .iter()
                .enumerate()
                .map(|(number, vector)| {
                    let (code, factors) = encoded(&quantizer, vector, &centre, metric);
                    let mut row = vec![0; row_bytes(bits)];
                    Row {
                        factors,
                        tid: [number as u8; 6],
                        signature: number as u64,
                        code: &code,
                    }
                    .write(&mut row);
                    row
                })
                .collect();
            let mut block = vec![0; block_bytes(bits)];
            pack(
                &rows.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                bits,
                &mut block,
            );
            let mut estimates = [0.0; BLOCK_ENTRIES];
            let all =
                (kernels().scan_block)(&block, &prepared.block(), f32::INFINITY, &mut estimates);
            assert_eq!(all, u32::MAX);
            let bounds: Vec<Bound> = rows
                .iter()
                .map(|row| {
                    let row = Row::read(row).unwrap();
                    prepared.row(kernels(), row.code, row.factors)
                })
                .collect();
            for (estimate, bound) in estimates.iter().zip(&bounds) {
                let tolerance = 0.15 * (bound.estimate - bound.lower) + 1e-5 * bound.estimate.abs();
                assert!(
                    (estimate - bound.estimate).abs() <= tolerance,
                    "{dimension} {metric:?} {estimate} {bound:?}"
                );
            }
            let threshold = bounds[5].lower;
            let some = (kernels().scan_block)(&block, &prepared.block(), threshold, &mut estimates);
            for (entry, bound) in bounds.iter().enumerate() {
                let tolerance = 0.15 * (bound.estimate - bound.lower) + 1e-5 * bound.estimate.abs();
                if (bound.lower - threshold).abs() > tolerance {
                    assert_eq!(some >> entry & 1 == 1, bound.may_reach(threshold));
                }
            }
        }
    }
}

#[test]
fn a_vector_at_the_centre_is_known_exactly() {
    let mut random = Random(6);
    let quantizer = Quantizer::new(384, 8);
    let (o, q) = (random.vector(384), random.vector(384));
    for metric in Metric::ALL {
        let centre = match metric {
            Metric::Cosine => {
                let rotated = rotated(&quantizer, &o);
                let by = (1.0 / dot(&rotated, &rotated).sqrt()) as f32;
                Centre::new(rotated.iter().map(|element| element * by).collect())
            }
            _ => Centre::new(rotated(&quantizer, &o)),
        };
        let (code, factors) = encoded(&quantizer, &o, &centre, metric);
        assert_eq!((factors.rescale, factors.error), (0.0, 0.0));
        let bound = prepared(&quantizer, &q, &centre, metric).row(kernels(), &code, factors);
        let key = key(metric, &o, &q);
        assert!(
            (f64::from(bound.estimate) - key).abs() < 1e-4 * key.abs().max(1.0),
            "{metric:?}"
        );
        assert_eq!(bound.lower, bound.estimate);
    }
}

#[test]
fn zero_under_cosine_is_last_and_its_query_takes_all() {
    let quantizer = Quantizer::new(100, 8);
    let centre = Centre::zero(128);
    let (code, factors) = encoded(&quantizer, &[0.0; 100], &centre, Metric::Cosine);
    assert_eq!((factors, code), (Factors::LAST, vec![0; 16]));
    let query = prepared(&quantizer, &sample(100), &centre, Metric::Cosine);
    let bound = query.row(kernels(), &[0; 16], factors);
    assert!(bound.may_reach(f32::INFINITY) && !bound.may_reach(2.0));
    let (code, factors) = encoded(&quantizer, &sample(100), &centre, Metric::Cosine);
    let query = prepared(&quantizer, &[0.0; 100], &centre, Metric::Cosine);
    assert!(query.row(kernels(), &code, factors).may_reach(-1e30));
}

#[test]
fn what_overflows_is_always_a_candidate() {
    let quantizer = Quantizer::new(64, 8);
    let centre = Centre::zero(64);
    for metric in Metric::ALL {
        for size in [1e-43, 3e38] {
            let (code, factors) = encoded(&quantizer, &[size; 64], &centre, metric);
            assert_eq!(factors, Factors::UNKNOWN, "{metric:?} {size}");
            for query in [sample(64), vec![size; 64]] {
                let query = prepared(&quantizer, &query, &centre, metric);
                assert!(query.row(kernels(), &code, factors).may_reach(f32::MIN));
            }
        }
    }
    // Large, but not for the direction of a vector.
    let (_, factors) = encoded(&quantizer, &[1e35; 64], &centre, Metric::Cosine);
    assert!((factors.add - 0.5).abs() < 1e-5);
}

fn any_vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Vec<f32>)> {
    let element = || {
        prop_oneof![
            4 => any::<f32>().prop_filter("finite", |element| element.is_finite()),
            1 => Just(0.0f32),
            1 => -1e-44f32..1e-44,
            1 => -1e38f32..1e38,
            2 => -1f32..1.0,
        ]
    };
    (1usize..200).prop_flat_map(move |dimension| {
        let vector = || {
            prop_oneof![
                proptest::collection::vec(element(), dimension),
                element().prop_map(move |element| vec![element; dimension]),
            ]
        };
        (vector(), vector(), vector())
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_factors_are_sound((o, q, c) in any_vectors(), seed in any::<u64>(), metric in 0usize..3) {
        let metric = Metric::ALL[metric];
        let quantizer = Quantizer::new(o.len(), seed);
        let centre = Centre::new(rotated(&quantizer, &c));
        let (code, factors) = encoded(&quantizer, &o, &centre, metric);
        prop_assert!(factors.add.is_finite() && factors.rescale <= 0.0 && factors.error >= 0.0);
        prop_assert!(factors.rescale.is_finite() && (factors.error.is_finite() || factors == Factors::UNKNOWN));
        let query = prepared(&quantizer, &q, &centre, metric);
        prop_assert!(query.slack() >= 0.0 && query.slack().is_finite());
        let bound = query.row(kernels(), &code, factors);
        prop_assert!(factors != Factors::UNKNOWN || bound.may_reach(f32::MIN));
        let mut row = vec![0; row_bytes(quantizer.code_bits())];
        Row { factors, tid: [0; 6], signature: 0, code: &code }.write(&mut row);
        let mut block = vec![0; block_bytes(quantizer.code_bits())];
        pack(&[&row], quantizer.code_bits(), &mut block);
        let mut estimates = [0.0; BLOCK_ENTRIES];
        let bits = (kernels().scan_block)(&block, &query.block(), f32::INFINITY, &mut estimates);
        prop_assert_eq!(bits, u32::MAX);
    }
}
