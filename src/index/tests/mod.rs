//! The index algorithm on pages in memory, against an obvious model: all vectors in a map.
#![forbid(unsafe_code)]

mod damage;
mod damaged_pages;
mod filtered;
mod learned;
mod lists;
mod remembered;
mod tree;

use super::build::Builder;
use super::check::{Violation, check};
use super::insert::{Encoder, insert};
use super::learn::learn;
use super::mem_pages::MemPages;
use super::neighbours::Helpers;
use super::pages::ReadPages;
use super::plan::{Limits, Plan};
use super::search::{Effort, Search};
use super::state::IndexState;
use super::vacuum::{Mean, maintain, remove_dead, rewrite};
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::layout::meta::Meta;
use crate::layout::page::{Kind, special};
use crate::metric::{Metric, Scorer};
use std::collections::{BTreeMap, BTreeSet};

const SEED: u64 = 0x0c0f_1fe5;
/// More than any test has that is not about trees.
const TREE_ROWS: u64 = 1 << 20;

/// Numbers from −1 to 1, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// An index and the rows it is of.
struct Model {
    pages: MemPages,
    state: IndexState,
    rows: BTreeMap<EntryTid, Vec<f32>>,
    random: Random,
    centres: Vec<Vec<f32>>,
    next: u32,
    limits: Limits,
}

impl Model {
    fn new(dimension: usize, metric: Metric) -> Self {
        let pages = MemPages::new(Meta::new(dimension, metric, SEED).new_page());
        let state = IndexState::read(&pages).unwrap();
        let mut random = Random(dimension as u64);
        let centres = (0..8)
            .map(|_| (0..dimension).map(|_| random.float() + 0.5).collect())
            .collect();
        Self {
            pages,
            state,
            rows: BTreeMap::new(),
            random,
            centres,
            next: 0,
            limits: Limits {
                tree_rows: TREE_ROWS,
                memory: 32 << 20,
            },
        }
    }

    fn vector(&mut self) -> Vec<f32> {
        let centre = self.random.next() as usize % self.centres.len();
        let centre = self.centres[centre].clone();
        centre
            .into_iter()
            .map(|element| element + self.random.float() * 0.7)
            .collect()
    }

    fn new_row(&mut self) -> (EntryTid, Vec<f32>) {
        self.next += 1;
        let tid = EntryTid {
            block: self.next / 7,
            offset: (self.next % 7 + 1) as u16,
        };
        let vector = self.vector();
        self.rows.insert(tid, vector.clone());
        (tid, vector)
    }

    fn grow(&mut self, count: usize) {
        let mut encoder = Encoder::default();
        for _ in 0..count {
            let (tid, vector) = self.new_row();
            insert(
                &self.pages,
                &mut self.state,
                &mut encoder,
                &vector,
                tid,
                u64::from(tid.block),
            )
            .unwrap();
        }
    }

    fn build(&mut self, count: usize, centred: bool) {
        let rows: Vec<_> = (0..count).map(|_| self.new_row()).collect();
        let mut mean = Mean::new(&self.state);
        if centred {
            rows.iter().for_each(|(_, vector)| {
                mean.add(vector);
            });
        }
        let centre = mean.centre();
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let plan = Plan::flat(&self.state, centre);
        let mut builder = Builder::new(&self.pages, self.state.clone(), plan, Some(&workers));
        for (tid, vector) in &rows {
            builder.push(vector, *tid, u64::from(tid.block)).unwrap();
        }
        self.state = builder.finish().unwrap();
    }

    /// Forgets rows, as DELETE and VACUUM do; so many of a hundred.
    fn thin_out(&mut self, percent: u64) -> u64 {
        let dead: BTreeSet<EntryTid> = self
            .rows
            .keys()
            .copied()
            .filter(|_| self.random.next() % 100 < percent)
            .collect();
        self.rows.retain(|tid, _| !dead.contains(tid));
        let removal = remove_dead(&self.pages, &mut self.state, &mut |tid| dead.contains(&tid));
        let removal = removal.unwrap();
        assert_eq!(removal.removed, dead.len() as u64);
        assert_eq!(removal.live, self.rows.len() as u64);
        removal.removed
    }

    fn maintain(&mut self) -> super::vacuum::Maintenance {
        let rows = &self.rows;
        maintain(&self.pages, &mut self.state, self.limits, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        })
        .unwrap()
    }

    /// Learns from every so many-th row.
    fn learn(&mut self, step: usize) {
        self.learn_with(step, None);
    }

    fn learn_with(&mut self, step: usize, helpers: Option<Helpers<'_>>) {
        let rows = &self.rows;
        let queries: Vec<(EntryTid, Vec<f32>)> = rows
            .iter()
            .step_by(step)
            .map(|(tid, vector)| (*tid, vector.clone()))
            .collect();
        learn(
            &self.pages,
            &mut self.state,
            &queries,
            helpers,
            &mut |scorer, tids| {
                let key = |tid: &EntryTid| rows.get(tid).map(|vector| scorer.exact(vector));
                Ok(tids.iter().map(key).collect())
            },
        )
        .unwrap();
    }

    /// The nearest rows by the index, and how many rows were looked at.
    fn nearest(&self, query: &[f32], k: usize, epsilon: f32) -> (Vec<EntryTid>, u64) {
        self.nearest_where(query, k, epsilon, |_| true)
    }

    fn nearest_where(
        &self,
        query: &[f32],
        k: usize,
        epsilon: f32,
        passes: impl Fn(EntryTid) -> bool,
    ) -> (Vec<EntryTid>, u64) {
        let effort = Effort::of_all_lists(epsilon);
        let search = Search::new(&self.pages, self.state.clone(), query, k, effort).unwrap();
        self.run(search, query, k, passes)
    }

    fn run(
        &self,
        search: Search<'_, MemPages>,
        query: &[f32],
        k: usize,
        passes: impl Fn(EntryTid) -> bool,
    ) -> (Vec<EntryTid>, u64) {
        self.go_on(search, query, k, Vec::new(), passes)
    }

    /// Runs a search to its end that has found these.
    fn go_on(
        &self,
        mut search: Search<'_, MemPages>,
        query: &[f32],
        k: usize,
        found: Vec<EntryTid>,
        passes: impl Fn(EntryTid) -> bool,
    ) -> (Vec<EntryTid>, u64) {
        let metric = self.state.metric;
        let scorer = Scorer::new(metric, query);
        let found = found.into_iter();
        let mut best: Vec<(f64, EntryTid)> = found
            .map(|tid| (scorer.exact(&self.rows[&tid]), tid))
            .collect();
        best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        best.truncate(k);
        let mut seen = BTreeSet::new();
        loop {
            let bar = (best.len() == k).then(|| metric.estimate_unit(best[k - 1].0).next_up());
            let wave = search.next(bar).unwrap().to_vec();
            if wave.is_empty() {
                break;
            }
            for candidate in wave {
                assert!(seen.insert(candidate.tid), "handed out twice");
                if let Some(vector) = self.rows.get(&candidate.tid)
                    && passes(candidate.tid)
                {
                    best.push((scorer.exact(vector), candidate.tid));
                }
            }
            best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            best.truncate(k);
        }
        (
            best.into_iter().map(|(_, tid)| tid).collect(),
            search.stats.candidates,
        )
    }

    fn exact_where(
        &self,
        query: &[f32],
        k: usize,
        passes: impl Fn(EntryTid) -> bool,
    ) -> Vec<EntryTid> {
        let scorer = Scorer::new(self.state.metric, query);
        let mut all: Vec<(f64, EntryTid)> = self
            .rows
            .iter()
            .filter(|(tid, _)| passes(**tid))
            .map(|(tid, vector)| (scorer.exact(vector), *tid))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(k).map(|(_, tid)| tid).collect()
    }

    /// Mean recall and mean rows looked at over so many new queries.
    fn recall(&mut self, queries: usize, k: usize, epsilon: f32) -> (f64, f64) {
        let (mut found, mut looked, mut wanted) = (0, 0, 0);
        for _ in 0..queries {
            let query = self.vector();
            let truth = self.exact_where(&query, k, |_| true);
            let (answer, candidates) = self.nearest(&query, k, epsilon);
            assert_eq!(answer.len(), k.min(self.rows.len()));
            found += truth.iter().filter(|tid| answer.contains(tid)).count();
            wanted += truth.len();
            looked += candidates;
        }
        (found as f64 / wanted as f64, looked as f64 / queries as f64)
    }

    fn violations(&mut self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut found = Vec::new();
        check(&self.pages, &mut self.state, &mut violations, &mut |tid| {
            found.push(tid);
        })
        .unwrap();
        found.sort_unstable();
        if violations.is_empty() {
            let rows: Vec<EntryTid> = self.rows.keys().copied().collect();
            assert!(found == rows, "every row has one entry, every entry a row");
        }
        violations
    }

    fn check(&mut self) {
        assert_eq!(self.violations(), []);
    }
}

#[test]
fn it_finds_the_nearest_after_growth_and_after_a_build() {
    for metric in Metric::ALL {
        for dimension in [1, 8, 100, 384, 1024, 2000] {
            let mut model = Model::new(dimension, metric);
            let (recall, _) = {
                model.grow(400);
                model.recall(10, 10, 3.0)
            };
            assert!(recall > 0.99, "{metric:?} {dimension}, grown: {recall}");
            model.check();
            let mut built = Model::new(dimension, metric);
            built.build(400, true);
            let (recall, _) = built.recall(10, 10, 3.0);
            assert!(recall > 0.99, "{metric:?} {dimension}, built: {recall}");
            built.check();
        }
    }
}

#[test]
fn a_small_list_stays_on_block_0_and_grows_beyond() {
    let mut model = Model::new(384, Metric::Cosine);
    for (rows, pages) in [(0, 1), (1, 1), (95, 1), (1, 2), (95, 2), (1, 3)] {
        model.grow(rows);
        assert_eq!(model.pages.blocks(), pages, "{} rows", model.rows.len());
        model.check();
    }
    let mut built = Model::new(384, Metric::Cosine);
    built.build(96, false);
    assert_eq!(built.pages.blocks(), 1);
    built.grow(1);
    assert_eq!(built.pages.blocks(), 2);
    built.check();
}

#[test]
fn few_rows_are_looked_at() {
    let mut model = Model::new(256, Metric::Cosine);
    model.build(3000, true);
    let (recall, looked) = model.recall(20, 10, 1.9);
    assert!(
        recall > 0.98 && looked < 600.0,
        "recall {recall}, {looked} rows"
    );
}

#[test]
fn k_rows_come_back_whatever_falls_away() {
    let mut model = Model::new(64, Metric::Euclidean);
    model.build(3000, true);
    let query = model.vector();
    for share in [2, 10, 100, 1000] {
        let passes = |tid: EntryTid| (tid.block * 7 + u32::from(tid.offset)).is_multiple_of(share);
        let truth = model.exact_where(&query, 10, passes);
        let (answer, _) = model.nearest_where(&query, 10, 3.0, passes);
        assert_eq!(answer, truth, "one in {share}");
    }
    let (answer, _) = model.nearest(&query, 5000, 1.0);
    assert_eq!(answer.len(), 3000, "all of them, where more are asked for");
}

#[test]
fn vacuum_removes_and_packs() {
    let mut model = Model::new(100, Metric::DotProduct);
    model.grow(2000);
    let quiet = model.pages.commits.get();
    model.thin_out(0);
    assert!(
        model.pages.commits.get() <= quiet + 1,
        "a quiet index is not written"
    );
    model.thin_out(10);
    model.check();
    let done = model.maintain();
    assert!(done.rewritten, "it has outgrown its origin: {done:?}");
    model.check();
    let before = model.pages.commits.get();
    let done = model.maintain();
    assert!(
        !done.rewritten && model.pages.commits.get() == before,
        "{done:?}"
    );
    model.thin_out(50);
    model.check();
    assert!(model.maintain().rewritten);
    model.check();
    let (recall, _) = model.recall(20, 10, 3.0);
    assert!(recall > 0.99, "{recall}");
    // Free pages are used before the file grows.
    let pages = model.pages.blocks();
    model.grow(300);
    assert_eq!(model.pages.blocks(), pages);
    model.check();
    model.thin_out(100);
    model.maintain();
    model.check();
    assert_eq!(model.nearest(&model.centres[0].clone(), 3, 2.0).0, []);
}

#[test]
fn a_search_under_way_survives_a_rewrite() {
    let mut model = Model::new(64, Metric::Cosine);
    model.grow(1500);
    let query = model.vector();
    let truth = model.exact_where(&query, 10, |_| true);
    // What a backend knew before the list was written anew, and its pages filled again with another one.
    let before = model.state.clone();
    for round in 0..3 {
        let rows = model.rows.clone();
        rewrite(&model.pages, &mut model.state, round == 0, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        })
        .unwrap();
    }
    let now = std::mem::replace(&mut model.state, before.clone());
    assert_eq!(model.nearest(&query, 10, 4.0).0, truth);
    // What reads the tree anew takes the list's new centre along.
    let mut anew = before.clone();
    anew.read_tree(&model.pages).unwrap();
    assert_eq!(anew.meta, now.meta);
    assert_eq!(anew.centre.rotated(), now.centre.rotated());
    // An inserter that knew it too.
    model.grow(1);
    model.state = now;
    model.check();
}

#[test]
fn a_crash_leaves_pages_that_the_next_vacuum_frees() {
    for crash_at in 0.. {
        let mut model = Model::new(200, Metric::Cosine);
        model.grow(600);
        model.pages.commits_left.set(crash_at);
        let rows = model.rows.clone();
        let crashed = rewrite(&model.pages, &mut model.state, true, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        });
        model.pages.crash();
        model.state = IndexState::read(&model.pages).unwrap();
        model.check();
        model.maintain();
        model.check();
        let blocks = model.pages.blocks();
        let strays = (1..blocks).filter(|&block| {
            let page = model.pages.read(block).unwrap();
            special(&page).unwrap().kind().unwrap() == Kind::Free
        });
        assert!(strays.count() > 0 || crash_at == 0, "crash at {crash_at}");
        if crashed.is_ok() {
            assert!(crash_at > 10, "a rewrite takes many steps");
            break;
        }
    }
}

#[test]
fn free_pages_are_found_again_after_a_crash() {
    let mut model = Model::new(200, Metric::Cosine);
    model.grow(600);
    let rows = model.rows.clone();
    let write_anew = |model: &mut Model| {
        rewrite(&model.pages, &mut model.state, true, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        })
        .unwrap();
    };
    write_anew(&mut model);
    write_anew(&mut model);
    let blocks = model.pages.blocks();
    for _ in 0..3 {
        model.pages.crash();
        remove_dead(&model.pages, &mut model.state, &mut |_| false).unwrap();
        write_anew(&mut model);
        assert_eq!(model.pages.blocks(), blocks, "the file need not grow");
    }
    model.check();
}
