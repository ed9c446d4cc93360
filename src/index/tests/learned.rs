//! What an index learns of the effort that recall goals take, alone and with helpers that search a copy of its pages.
#![forbid(unsafe_code)]

use super::*;
use crate::index::snapshot::Snapshot;

#[test]
fn what_is_learned_keeps_the_goal_with_less_work() {
    let mut model = Model::new(128, Metric::Cosine);
    model.build(3000, true);
    let theory = model.state.effort(10, 0.99).epsilon;
    model.learn(80);
    for goal in [0.9, 0.99] {
        let epsilon = model.state.effort(10, goal).epsilon;
        let (recall, _) = model.recall(40, 10, epsilon);
        assert!(
            recall >= f64::from(goal) - 0.01,
            "goal {goal}: {recall} with ε {epsilon}"
        );
    }
    assert!(model.state.effort(10, 0.99).epsilon < theory + 0.2);
    let mut before = 0.0;
    for goal in [0.5, 0.7, 0.8, 0.95, 0.99, 0.999, 0.9999] {
        let epsilon = model.state.effort(10, goal).epsilon;
        assert!(epsilon >= before, "ε grows with the goal");
        before = epsilon;
    }
}

#[test]
fn fewer_lists_are_fewer_codes() {
    let mut model = Model::new(64, Metric::Euclidean);
    model.build_tree(4000);
    let query = model.vector();
    let scanned = |model: &Model, gap: f32| {
        let effort = Effort { epsilon: 2.0, gap };
        let mut search =
            Search::new(&model.pages, model.state.clone(), &query, 10, effort).unwrap();
        search.next(None).unwrap();
        (search.stats.lists, search.stats.codes)
    };
    let (lists, few) = scanned(&model, 0.0);
    let (all_lists, all) = scanned(&model, f32::INFINITY);
    assert!(lists < 6 && all_lists >= 30, "{lists} of {all_lists}");
    assert!(few * 3 < all && all <= 8000, "{few} of {all}");
}

#[test]
fn helpers_learn_the_same() {
    let workers = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let workers = workers.unwrap();
    for is_tree in [false, true] {
        let mut model = Model::new(48, Metric::Euclidean);
        if is_tree {
            model.build_tree(8000);
        } else {
            model.build(2000, true);
        }
        let mut learned = |helpers| {
            model.learn_with(100, helpers);
            (model.state.meta.epsilon, model.state.meta.gaps)
        };
        let alone = learned(None);
        assert!(alone.0[0][0] < alone.0[0][7]);
        for memory in [0, usize::MAX] {
            let workers = &workers;
            assert_eq!(learned(Some(Helpers { workers, memory })), alone);
        }
    }
}

#[test]
fn a_snapshot_holds_all_pages_or_is_none() {
    let mut model = Model::new(64, Metric::Cosine);
    model.build(2000, true);
    let bytes = model.pages.blocks() as usize * crate::layout::PAGE;
    assert!(Snapshot::of(&model.pages, bytes - 1).unwrap().is_none());
    let snapshot = Snapshot::of(&model.pages, bytes).unwrap().unwrap();
    for block in 0..model.pages.blocks() {
        assert_eq!(
            snapshot.read(block).unwrap(),
            model.pages.read(block).unwrap()
        );
    }
    assert!(snapshot.read(model.pages.blocks()).is_err());
}

#[test]
fn a_tree_learns_how_many_lists_it_takes() {
    let mut model = Model::new(48, Metric::Cosine);
    model.build_tree(8000);
    model.learn(200);
    let metric = model.state.metric;
    let efforts = [0.5, 0.9, 0.99, 0.999, 0.9999].map(|goal| model.state.effort(10, goal));
    assert!(efforts.is_sorted_by(|a, b| a.epsilon <= b.epsilon && a.gap <= b.gap));
    for (goal, k) in [(0.5, 10), (0.9, 10), (0.99, 10), (0.99, 100), (0.999, 100)] {
        let effort = model.state.effort(k, goal);
        let (mut hits, mut wanted) = (0, 0);
        for _ in 0..20 {
            let query = model.vector();
            let truth = model.exact_where(&query, k, |_| true);
            let scorer = Scorer::new(metric, query.as_slice());
            let mut search =
                Search::new(&model.pages, model.state.clone(), &query, k, effort).unwrap();
            let mut best: Vec<(f64, EntryTid)> = Vec::new();
            loop {
                let bar = (best.len() == k).then(|| metric.estimate_unit(best[k - 1].0));
                let wave = search.next(bar).unwrap();
                if wave.is_empty() {
                    break;
                }
                best.extend(
                    wave.iter()
                        .map(|found| (scorer.exact(&model.rows[&found.tid]), found.tid)),
                );
                best.sort_by(|a, b| a.0.total_cmp(&b.0));
                best.truncate(k);
            }
            hits += best.iter().filter(|(_, tid)| truth.contains(tid)).count();
            wanted += k;
        }
        let recall = hits as f32 / wanted as f32;
        assert!(
            recall >= goal - 0.02,
            "{recall} for {goal} at {k}: {effort:?}"
        );
    }
}
