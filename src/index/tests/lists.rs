//! Which lists a vector belongs to and which a query is near to, against exact distances to all centroids.
#![forbid(unsafe_code)]

use super::*;
use crate::index::assign::Assigner;
use crate::index::centroids::Centroids;
use crate::index::rank::Ranked;
use crate::index::tree::{Tree, slot_of, unused_slot};
use crate::quantizer::{Centre, QueryCode};
use std::sync::Arc;

const DIMENSION: usize = 128;
/// Entries of each list.
const ENTRIES: u64 = 100;
/// The nearest from whose mean gaps are counted, and SOAR's λ: of `rank` and `assign`.
const REFERENCE: usize = 6;
const PENALTY: f64 = 1.5;

/// An empty index, vectors like a model's as its centroids, and what its codes are relative to.
struct Lists {
    model: Model,
    centroids: Centroids,
}

impl Lists {
    fn new(metric: Metric, count: usize) -> Self {
        let mut model = Model::new(DIMENSION, metric);
        let vectors: Vec<Vec<f32>> = (0..100).map(|_| model.vector()).collect();
        let mut mean = Mean::new(&model.state);
        vectors.iter().for_each(|vector| {
            mean.add(vector);
        });
        model.state.centre = Arc::new(mean.centre());
        let mut centroids = Centroids::new(model.state.quantizer.code_bits());
        for number in 0..count {
            let point = model.scaled();
            centroids.put(&model.state.centre, number, point);
        }
        Self { model, centroids }
    }

    fn point(&self, number: usize) -> Vec<f32> {
        let mut point = Vec::new();
        self.centroids.read(number, &mut point);
        point
    }

    /// A tree of them in which every third slot is unused.
    fn tree(&self) -> Tree {
        let mut tree = Tree::unknown(self.centroids.code_bits());
        tree.centroids = self.centroids.clone();
        tree.slots = (0..self.centroids.len())
            .map(|number| {
                let mut slot = unused_slot();
                if number % 3 != 2 {
                    slot = slot_of(number as u32 + 1, slot.head);
                    slot.head.entries = ENTRIES;
                }
                slot
            })
            .collect();
        tree
    }

    /// The used slots of [`Lists::tree`] with their gaps for a scaled query, nearest first.
    fn gaps(&self, tree: &Tree, query: &[f32]) -> Vec<(f64, usize)> {
        let key = |slot: usize| {
            let point = self.point(slot);
            match self.model.state.metric {
                Metric::Cosine | Metric::Euclidean => distance(query, &point),
                Metric::DotProduct => {
                    (dot(query, query) - 2.0 * dot(query, &point))
                        / (2.0 * dot(query, query).sqrt())
                }
            }
        };
        let mut gaps: Vec<(f64, usize)> = tree.used().map(|slot| (key(slot), slot)).collect();
        gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = &gaps[..REFERENCE];
        let mean = nearest.iter().map(|(key, _)| key).sum::<f64>() / REFERENCE as f64;
        gaps.iter_mut().for_each(|(key, _)| *key -= mean);
        gaps
    }

    fn prepared(&self, rotated: &[f32]) -> QueryCode {
        let mut code = QueryCode::default();
        code.prepare(
            rotated,
            &self.model.state.centre,
            self.model.state.metric,
            2.0,
        );
        code
    }

    /// Where a scaled vector belongs among some centroids, by all distances.
    fn belongs(&self, vector: &[f32], among: &[usize]) -> (usize, usize) {
        let least = |key: &dyn Fn(usize) -> f64, without: Option<usize>| {
            let others = among.iter().copied().filter(|at| Some(*at) != without);
            others.min_by(|a, b| key(*a).total_cmp(&key(*b))).unwrap()
        };
        let first = least(&|at| distance(vector, &self.point(at)), None);
        let residual = difference(vector, &self.point(first));
        let loss = |at: usize| {
            let other = difference(vector, &self.point(at));
            let parallel = dot(&other, &residual).powi(2) / dot(&residual, &residual);
            dot(&other, &other) + PENALTY * parallel
        };
        (first, least(&loss, Some(first)))
    }
}

impl Model {
    fn rotated(&mut self) -> Vec<f32> {
        let (vector, mut rotated) = (self.vector(), Vec::new());
        self.state.quantizer.rotate(&vector, &mut rotated);
        rotated
    }

    /// The same as it is compared with centroids.
    fn scaled(&mut self) -> Vec<f32> {
        let rotated = self.rotated();
        scaled(&rotated, self.state.metric)
    }
}

fn scaled(rotated: &[f32], metric: Metric) -> Vec<f32> {
    let scale = Centre::scale(rotated, metric).unwrap();
    rotated.iter().map(|element| element * scale).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let difference = difference(a, b);
    dot(&difference, &difference)
}

#[test]
fn among_few_lists_the_assigned_are_those_of_all_distances() {
    for metric in Metric::ALL {
        let mut lists = Lists::new(metric, 90);
        let mut assigner = Assigner::default();
        // As many used ones as are asked for their distances: 32, or 8 if a row has one entry.
        for (copies, used) in [(2, 32), (1, 8)] {
            lists.model.state.meta.copies = copies;
            let used: Vec<usize> = (0..used).map(|at| at * 90 / used).collect();
            for _ in 0..100 {
                let rotated = lists.model.rotated();
                let is_used = |at| used.contains(&at);
                let (first, second) = assigner
                    .assign(&lists.model.state, &lists.centroids, is_used, &rotated)
                    .unwrap();
                let (nearest, other) = lists.belongs(&scaled(&rotated, metric), &used);
                assert_eq!(first, nearest, "{metric:?}");
                assert_eq!(second, (copies == 2).then_some(other), "{metric:?}");
            }
        }
    }
}

/// In a cluster of random vectors all are about as far from each other, so that codes mistake many: of those as near.
#[test]
fn among_many_lists_the_assigned_are_hardly_farther() {
    for metric in Metric::ALL {
        let mut lists = Lists::new(metric, 600);
        let all: Vec<usize> = (0..600).collect();
        let mut assigner = Assigner::default();
        for (copies, least, most) in [(2, 85, 0.005), (1, 45, 0.05)] {
            lists.model.state.meta.copies = copies;
            let (mut same, mut farther) = (0, 0.0);
            for _ in 0..100 {
                let rotated = lists.model.rotated();
                let (first, _) = assigner
                    .assign(&lists.model.state, &lists.centroids, |_| true, &rotated)
                    .unwrap();
                let vector = scaled(&rotated, metric);
                let (nearest, _) = lists.belongs(&vector, &all);
                let [to_first, to_nearest] =
                    [first, nearest].map(|at| distance(&vector, &lists.point(at)));
                same += u32::from(first == nearest);
                farther += (to_first / to_nearest - 1.0) / 100.0;
            }
            assert!(
                same >= least && farther < most,
                "{metric:?}, {copies}: {same} of 100, farther by {farther} on average"
            );
        }
    }
}

#[test]
fn what_is_near_to_nothing_belongs_anywhere_or_nowhere() {
    let lists = Lists::new(Metric::Cosine, 40);
    let mut assigner = Assigner::default();
    let mut assign = |element: f32, is_used: &dyn Fn(usize) -> bool| {
        let vector = [element; DIMENSION];
        assigner.assign(&lists.model.state, &lists.centroids, is_used, &vector)
    };
    assert_eq!(assign(0.0, &|at| at >= 7), Some((7, None)));
    assert_eq!(assign(1e-43, &|_| true), None);
    assert_eq!(assign(1.0, &|_| false), None);
    let only = assign(1.0, &|at| at == 11);
    assert_eq!(only, Some((11, None)), "there is no second one");
}

#[test]
fn lists_within_a_gap_are_those_of_exact_distances() {
    for metric in Metric::ALL {
        let mut lists = Lists::new(metric, 900);
        let tree = lists.tree();
        let (mut missed, mut wanted) = (0, 0);
        for round in 0..30 {
            let rotated = lists.model.rotated();
            let code = lists.prepared(&rotated);
            let exact = lists.gaps(&tree, code.scaled());
            // From hardly any list to a good part of them.
            let gap = exact[20 + round * 10].0 as f32;
            let mut ranked = Ranked::within(&tree, &code, metric, gap);
            assert_eq!(ranked.len(), 600, "all that are used");
            let first = ranked.first_lists(&tree, gap, 1);
            let chosen: Vec<(f32, usize)> = ranked.nearest(first).to_vec();
            assert!(chosen.is_sorted_by(|a, b| a.0 <= b.0));
            let size = exact[599].0 - exact[0].0;
            let gap_of = |slot: usize| exact.iter().find(|(_, at)| *at == slot).unwrap().0;
            // Of the few nearest some may not be among the nearest by codes: then the mean that gaps are counted from is larger.
            let less = gap_of(chosen[0].1) - f64::from(chosen[0].0);
            assert!((-1e-4 * size..0.03 * size).contains(&less), "{less}");
            for &(found, slot) in &chosen {
                assert!(found <= gap, "none that is farther");
                let off = gap_of(slot) - less - f64::from(found);
                assert!(off.abs() < 1e-4 * size, "{metric:?}: off by {off}");
            }
            for (_, slot) in exact
                .iter()
                .filter(|(exact, _)| exact - less <= f64::from(gap))
            {
                wanted += 1;
                missed += usize::from(!chosen.iter().any(|(_, chosen)| chosen == slot));
            }
        }
        assert!(wanted > 3000);
        assert!(missed * 100 <= wanted, "{metric:?}: {missed} of {wanted}");
    }
}

#[test]
fn all_lists_come_in_the_order_of_exact_distances() {
    for metric in Metric::ALL {
        let mut lists = Lists::new(metric, 300);
        let tree = lists.tree();
        for _ in 0..20 {
            let rotated = lists.model.rotated();
            let code = lists.prepared(&rotated);
            let exact = lists.gaps(&tree, code.scaled());
            let mut ranked = Ranked::all(&tree, &code, metric);
            // In parts, as passes ask for more and more.
            for count in [1, 10, 40, 1000] {
                let found = ranked.nearest(count);
                assert_eq!(found.len(), count.min(200));
                for (at, (_, slot)) in found.iter().enumerate() {
                    let (own, _) = exact.iter().find(|(_, exact)| exact == slot).unwrap();
                    let off = (own - exact[at].0).abs();
                    assert!(off <= 1e-4 * exact[199].0.abs(), "{metric:?}: number {at}");
                }
            }
        }
    }
}

#[test]
fn a_first_pass_has_enough_entries() {
    let mut lists = Lists::new(Metric::Euclidean, 300);
    let tree = lists.tree();
    let rotated = lists.model.rotated();
    let code = lists.prepared(&rotated);
    let mut ranked = Ranked::within(&tree, &code, Metric::Euclidean, f32::NEG_INFINITY);
    // Of 100 entries in each of 200 lists four times as many as wanted: twice as many lists until it is enough.
    for (wanted, expected) in [
        (10, 1),
        (25, 1),
        (26, 2),
        (100, 4),
        (101, 8),
        (5000, 200),
        (9000, 200),
    ] {
        let found = ranked.first_lists(&tree, f32::NEG_INFINITY, wanted);
        assert_eq!(found, expected, "{wanted} wanted");
    }
    assert_eq!(ranked.first_lists(&tree, f32::INFINITY, 1), 200);
    // A query that can be compared with none is compared with all.
    let mut none = QueryCode::default();
    none.prepare(
        &[1e30; DIMENSION],
        &lists.model.state.centre,
        Metric::Euclidean,
        2.0,
    );
    let mut ranked = Ranked::within(&tree, &none, Metric::Euclidean, 0.0);
    assert_eq!(ranked.first_lists(&tree, 0.0, 1), 200);
}
