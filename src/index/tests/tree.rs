//! The tree: built at once, grown from a flat index, split, merged and packed; a search and an insert in every state; crashes.
#![forbid(unsafe_code)]

use super::*;
use crate::index::plan::{Sample, rows_per_list};
use crate::index::vacuum::{Step, grow_tree, next_step};

impl Model {
    pub(super) fn build_tree(&mut self, count: usize) {
        self.build_tree_of(count, 2);
    }

    pub(super) fn build_tree_of(&mut self, count: usize, copies: u32) {
        let rows: Vec<_> = (0..count).map(|_| self.new_row()).collect();
        let sample: Vec<Vec<f32>> = rows.iter().map(|(_, vector)| vector.clone()).collect();
        let mut points = Sample::new(&self.state, count as u64);
        sample.iter().for_each(|vector| points.add(vector));
        let lists = count as u64 / rows_per_list(count as u64, copies);
        let plan = Plan::tree(points, None, (lists, copies), None, &mut || ());
        assert!(plan.lists() > 1);
        let mut builder = Builder::new(&self.pages, self.state.clone(), plan, None);
        for (tid, vector) in &rows {
            builder.push(vector, *tid, u64::from(tid.block)).unwrap();
        }
        self.state = builder.finish().unwrap();
    }

    pub(super) fn grow_tree(&mut self) -> Result<bool, Error> {
        let rows = &self.rows;
        let limits = Limits {
            tree_rows: 1,
            ..self.limits
        };
        grow_tree(&self.pages, &mut self.state, limits, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        })
    }

    fn next_step(&mut self) -> Option<Step> {
        let until = self.state.list().last;
        next_step(&self.pages, &mut self.state, until, self.limits).unwrap()
    }

    pub(super) fn take(&mut self, step: Step) -> Result<u64, Error> {
        let rows = &self.rows;
        step.take(&self.pages, &mut self.state, self.limits, &mut |tid| {
            Ok(rows.get(&tid).cloned())
        })
    }

    fn lists(&self) -> usize {
        self.state.tree.as_ref().map_or(0, |tree| tree.lists())
    }

    /// About as many lists as a tree of so many rows is to have.
    fn has_lists_of(&self, rows: u64) -> bool {
        let wanted = (rows / rows_per_list(rows, self.state.meta.copies)) as usize;
        (wanted - wanted / 10..=wanted + wanted / 10).contains(&self.lists())
    }

    /// Every row has one or two entries and no entry is without a row.
    pub(super) fn check_tree(&mut self) {
        let mut violations = Vec::new();
        let mut found: BTreeMap<EntryTid, usize> = BTreeMap::new();
        check(&self.pages, &mut self.state, &mut violations, &mut |tid| {
            *found.entry(tid).or_default() += 1;
        })
        .unwrap();
        assert_eq!(violations, []);
        let rows: Vec<&EntryTid> = self.rows.keys().collect();
        assert!(
            found.keys().collect::<Vec<_>>() == rows,
            "every row has an entry, every entry a row"
        );
    }

    pub(super) fn all_are_found(&mut self) {
        let query = self.vector();
        let truth = self.exact_where(&query, 10, |_| true);
        assert_eq!(self.nearest(&query, 10, 4.0).0, truth);
        let (all, _) = self.nearest(&query, self.rows.len() + 10, 1.0);
        assert_eq!(all.len(), self.rows.len());
    }
}

#[test]
fn a_tree_built_at_once_finds_the_nearest() {
    for metric in Metric::ALL {
        for dimension in [8, 64, 200] {
            let mut model = Model::new(dimension, metric);
            model.build_tree(2000);
            assert!(model.has_lists_of(2000));
            model.check_tree();
            model.all_are_found();
            model.grow(100);
            model.check_tree();
            model.all_are_found();
            assert_eq!(model.next_step(), None, "{metric:?} {dimension}");
        }
    }
}

#[test]
fn a_tree_of_single_entries_becomes_one_of_two() {
    for metric in Metric::ALL {
        let mut model = Model::new(64, metric);
        model.build_tree_of(6000, 1);
        assert!(model.has_lists_of(6000));
        assert_eq!((model.state.meta.copies, model.state.rows()), (1, 6000));
        assert_eq!(model.state.entries(), 6000);
        model.check_tree();
        model.all_are_found();
        let before = model.state.clone();
        // Fewer than three times the rows a tree begins at: nothing happens.
        model.limits.tree_rows = 2001;
        model.maintain();
        assert_eq!((model.state.meta.copies, model.state.entries()), (1, 6000));
        let blocks = model.pages.blocks();
        // Little memory: in several parts.
        (model.limits.tree_rows, model.limits.memory) = (2000, 1 << 20);
        let done = model.maintain();
        assert_eq!((model.state.meta.copies, done.steps), (2, 1));
        assert!(done.freed > 30, "{done:?}");
        assert_eq!((model.state.rows(), model.state.meta.chosen), (6000, 6000));
        assert!(model.has_lists_of(6000));
        model.check_tree();
        model.all_are_found();
        let version = model.state.meta.tree_generation;
        model.state = before;
        model.all_are_found();
        // Growth by less than a half leaves the lists as they are, but for the largest; by more there are others, on the pages of the old.
        for (more, again) in [(2500, false), (1500, true)] {
            model.grow(more);
            model.limits.tree_rows = 1;
            model.maintain();
            assert_eq!(model.state.meta.tree_generation != version, again);
            model.check_tree();
            model.all_are_found();
        }
        // Two trees side by side, each of more than twice the entries.
        assert!(model.pages.blocks() < blocks * 8);
        model.thin_out_tree(90);
        model.limits.tree_rows = 1;
        model.maintain();
        assert!(model.lists() < 20, "{}", model.lists());
        model.check_tree();
        model.all_are_found();
    }
}

#[test]
fn a_flat_index_becomes_a_tree_of_single_entries() {
    let mut model = Model::new(32, Metric::Cosine);
    model.grow(4000);
    model.limits.tree_rows = 2000;
    model.maintain();
    assert_eq!(model.state.meta.copies, 1);
    assert!((10..=16).contains(&model.lists()), "{}", model.lists());
    model.check_tree();
    model.all_are_found();
    model.thin_out_tree(75);
    model.limits.tree_rows = 2000;
    model.maintain();
    model.check_tree();
    model.all_are_found();
    assert!(model.lists() < 10, "{}", model.lists());
    assert_eq!(model.next_step(), None);
}

/// The pages of their centroids are not read.
#[test]
fn slots_at_the_end_may_be_unused() {
    let mut model = Model::new(1000, Metric::Euclidean);
    model.build_tree(1500);
    let slots = model.lists();
    for at in 5..slots {
        model.take(Step::Merge(at)).unwrap();
    }
    model.state = IndexState::read(&model.pages).unwrap();
    assert_eq!(model.lists(), 5);
    model.check_tree();
    model.all_are_found();
    model.grow(2000);
    model.maintain();
    model.state = IndexState::read(&model.pages).unwrap();
    model.check_tree();
    model.all_are_found();
}

#[test]
fn k_rows_come_back_whatever_lists_are_chosen() {
    let mut model = Model::new(32, Metric::Cosine);
    model.build_tree(3000);
    let query = model.vector();
    let effort = Effort {
        epsilon: 2.0,
        gap: 0.0,
    };
    for (share, k) in [(1, 10), (1, 2000), (50, 10), (1000, 3), (1000, 10)] {
        let passes = |tid: EntryTid| (tid.block * 7 + u32::from(tid.offset)).is_multiple_of(share);
        let there = model.rows.keys().filter(|tid| passes(**tid)).count();
        let mut search = Search::new(&model.pages, model.state.clone(), &query, k, effort).unwrap();
        let scorer = Scorer::new(Metric::Cosine, query.as_slice());
        let mut found: Vec<f64> = Vec::new();
        loop {
            found.sort_by(f64::total_cmp);
            let bar = (found.len() >= k).then(|| Metric::Cosine.estimate_unit(found[k - 1]));
            let wave = search.next(bar).unwrap();
            if wave.is_empty() {
                break;
            }
            let passing = wave.iter().filter(|candidate| passes(candidate.tid));
            found.extend(passing.map(|candidate| scorer.exact(&model.rows[&candidate.tid])));
        }
        assert!(
            found.len() >= k.min(there),
            "{} of {k}, one in {share}",
            found.len()
        );
    }
}

#[test]
fn a_flat_index_becomes_a_tree_and_keeps_up() {
    let mut model = Model::new(32, Metric::Cosine);
    model.grow(4000);
    let before = model.state.clone();
    assert!(model.grow_tree().unwrap());
    model.check_tree();
    assert!(model.has_lists_of(4000));
    let mut steps = 0;
    while let Some(step) = model.next_step() {
        // A search and an insert between any two steps, and a search by what was known before all of them.
        model.take(step).unwrap();
        model.check_tree();
        model.all_are_found();
        let now = std::mem::replace(&mut model.state, before.clone());
        model.all_are_found();
        model.grow(1);
        model.state = now;
        steps += 1;
        assert!(steps < 1000);
    }
    assert!(steps > 0);
    assert!(model.state.tree.as_ref().unwrap().entries() > 6000);
    let quiet = model.pages.commits.get();
    assert_eq!(model.maintain().steps, 0);
    assert_eq!(
        model.pages.commits.get(),
        quiet,
        "a quiet index is not written"
    );
    // It doubles twice, and nine of ten go.
    for _ in 0..2 {
        let rows = model.rows.len();
        model.grow(rows);
        assert!(model.maintain().steps > 0);
        model.check_tree();
        model.all_are_found();
    }
    let lists = model.lists();
    assert!(lists > 15, "{lists}");
    model.thin_out_tree(90);
    let done = model.maintain();
    assert!(done.freed > 0, "{done:?}");
    model.check_tree();
    model.all_are_found();
    assert!(model.lists() < lists / 2, "{} of {lists}", model.lists());
    model.thin_out_tree(100);
    model.maintain();
    model.check_tree();
    model.grow(500);
    model.all_are_found();
}

impl Model {
    fn thin_out_tree(&mut self, percent: u64) {
        let dead: BTreeSet<EntryTid> = self
            .rows
            .keys()
            .copied()
            .filter(|_| self.random.next() % 100 < percent)
            .collect();
        self.rows.retain(|tid, _| !dead.contains(tid));
        let removal = remove_dead(&self.pages, &mut self.state, &mut |tid| dead.contains(&tid));
        // Of two entries one may be in the list that takes new ones, after a crash, or be the only one.
        let (removed, dead) = (removal.unwrap().removed, dead.len() as u64);
        assert!(
            removed <= dead && removed >= dead / 2,
            "{removed} of {dead}"
        );
        if self.state.meta.copies == 1 {
            assert_eq!(removed, dead);
        }
    }
}

/// Rows of which no code can be made go back to the first list: a VACUUM that waited for it to become short would never end.
#[test]
fn rows_without_a_code_are_found_and_do_not_keep_vacuum_busy() {
    let mut model = Model::new(16, Metric::Euclidean);
    model.grow(3000);
    model.grow_tree().unwrap();
    let mut encoder = Encoder::default();
    for number in 0..6000 {
        let (tid, mut vector) = model.new_row();
        vector
            .iter_mut()
            .for_each(|element| *element = 2e18 + number as f32);
        model.rows.insert(tid, vector.clone());
        insert(
            &model.pages,
            &mut model.state,
            &mut encoder,
            &vector,
            tid,
            0,
        )
        .unwrap();
    }
    let done = model.maintain();
    assert!(done.steps > 0 && done.steps < 50, "{done:?}");
    model.check_tree();
    model.all_are_found();
    let again = model.maintain();
    assert!(again.steps < 50, "{again:?}");
    // They are where every search looks.
    let effort = Effort {
        epsilon: 2.0,
        gap: f32::NEG_INFINITY,
    };
    let query = model.vector();
    let mut search = Search::new(&model.pages, model.state.clone(), &query, 10, effort).unwrap();
    search.next(None).unwrap();
    assert!(search.stats.lists == 1 && search.stats.codes >= 6000);
    model.check_tree();
    // Counted with the rows they are, they do not make the tree seem outgrown for ever.
    model.thin_out_tree(1);
    model.limits.tree_rows = 1;
    model.maintain();
    model.check_tree();
}

/// Each VACUUM is of another process, which may remember the tree as it was long ago.
#[test]
fn a_vacuum_that_remembers_an_old_tree_looks_again() {
    let mut model = Model::new(16, Metric::Cosine);
    model.grow(3000);
    model.grow_tree().unwrap();
    let old = model.state.clone();
    model.maintain();
    for round in 0..4 {
        model.grow(2500);
        model.state = old.clone();
        model.maintain();
        model.check_tree();
        model.all_are_found();
        if round % 2 == 1 {
            model.state = old.clone();
            model.thin_out_tree(if round == 1 { 90 } else { 30 });
            model.state = old.clone();
            model.maintain();
            model.check_tree();
            let tree = model.state.tree.clone().unwrap();
            let dead: u64 = tree.used().map(|at| tree.slots[at].head.dead).sum();
            assert!(dead * 3 < tree.entries(), "{dead} dead entries left");
        }
    }
}

#[test]
fn a_crash_in_any_step_loses_nothing() {
    // Of each kind of step, one is crashed at every commit.
    let mut seen = BTreeSet::new();
    let kinds = [
        (0, "take up"),
        (1, "split"),
        (2, "merge"),
        (3, "pack"),
        (4, "choose again"),
    ];
    let kind = |step: Step| match step {
        Step::TakeUp(_) => 0,
        Step::Split(_) => 1,
        Step::Merge(_) => 2,
        Step::Pack(_) => 3,
        Step::ChooseAgain => 4,
    };
    let start = || {
        let mut model = Model::new(16, Metric::Euclidean);
        model.grow(5000);
        model
    };
    for (wanted, name) in kinds {
        for crash_at in (0..).step_by(if [0, 4].contains(&wanted) { 61 } else { 5 }) {
            let mut model = start();
            if wanted == 4 {
                model.limits.tree_rows = 2000;
                model.maintain();
                model.limits.tree_rows = 1;
            } else {
                model.grow_tree().unwrap();
            }
            let mut found = None;
            for round in 0.. {
                match model.next_step() {
                    Some(step) if kind(step) == wanted => {
                        found = Some(step);
                        break;
                    }
                    Some(step) => drop(model.take(step).unwrap()),
                    None if round > 2000 => break,
                    None if wanted == 1 => {
                        model.centres.truncate(1);
                        model.grow(1000);
                    }
                    None => model.thin_out_tree(if wanted == 2 { 95 } else { 40 }),
                }
            }
            let step = found.unwrap_or_else(|| panic!("no step to {name}"));
            seen.insert(kind(step));
            model.pages.commits_left.set(crash_at);
            let crashed = model.take(step);
            model.pages.crash();
            model.state = IndexState::read(&model.pages).unwrap();
            model.check_tree();
            model.all_are_found();
            model.maintain();
            model.check_tree();
            model.all_are_found();
            if crashed.is_ok() {
                assert!(crash_at > 0, "{name} takes steps");
                break;
            }
        }
    }
    assert_eq!(seen.len(), kinds.len());
}

#[test]
fn a_crash_while_it_becomes_a_tree_loses_nothing() {
    for crash_at in (0..).step_by(3) {
        let mut model = Model::new(16, Metric::Cosine);
        model.grow(1500);
        model.pages.commits_left.set(crash_at);
        let grown = model.grow_tree();
        model.pages.crash();
        model.state = IndexState::read(&model.pages).unwrap();
        model.check_tree();
        model.maintain();
        model.check_tree();
        model.all_are_found();
        if grown.is_ok() {
            break;
        }
    }
}

#[test]
fn equal_vectors_are_not_split_for_ever() {
    let mut model = Model::new(16, Metric::Cosine);
    model.grow(1000);
    model.grow_tree().unwrap();
    let same = model.vector();
    let mut encoder = Encoder::default();
    for _ in 0..4000 {
        let (tid, _) = model.new_row();
        model.rows.insert(tid, same.clone());
        insert(&model.pages, &mut model.state, &mut encoder, &same, tid, 0).unwrap();
    }
    model.maintain();
    model.check_tree();
    assert_eq!(model.next_step(), None);
}
