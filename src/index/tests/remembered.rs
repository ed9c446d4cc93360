//! Searches and inserts of a process that remembers a tree as it was, after its slots and pages were used for other lists.
#![forbid(unsafe_code)]

use super::*;
use crate::index::tree::Tree;
use crate::index::vacuum::Step;
use std::sync::Arc;

/// A tree, what a process remembers of it, and the slot that another list is in by now.
fn reused(metric: Metric) -> (Model, IndexState, usize) {
    // Of so many bits that the centroids lie on two pages: of one page all would be read whenever any is.
    let mut model = Model::new(320, metric);
    model.build_tree(3000);
    let remembered = model.state.clone();
    let slot = 4;
    model.take(Step::Merge(slot)).unwrap();
    // The larger a list, the likelier both its halves are large enough.
    let merged = tree(&model.state);
    let mut lists: Vec<usize> = merged.used().collect();
    lists.sort_by_key(|at| std::cmp::Reverse(merged.slots[*at].head.entries));
    for list in lists {
        if tree(&model.state).is_used(slot) {
            break;
        }
        model.take(Step::Split(list)).unwrap();
    }
    model.check_tree();
    let (then, now) = (tree(&remembered), tree(&model.state));
    let lists = [&then, &now].map(|tree| tree.slots[slot].list);
    assert!(
        now.is_used(slot) && lists[0] != lists[1],
        "the slot is used again"
    );
    let pages = [&then, &now].map(|tree| tree.centroids.centre(slot).rotated().to_vec());
    assert_ne!(pages[0], pages[1], "its centroid is another");
    (model, remembered, slot)
}

fn tree(state: &IndexState) -> Arc<Tree> {
    state.tree.clone().unwrap()
}

#[test]
fn a_search_notices_that_a_remembered_list_has_gone() {
    for metric in Metric::ALL {
        let (mut model, remembered, _) = reused(metric);
        let now = std::mem::replace(&mut model.state, remembered.clone());
        for _ in 0..10 {
            model.all_are_found();
        }
        // However few lists it looks at, what it finds is the same as what one finds that remembers nothing.
        for gap in [0.0, 0.5, 5.0] {
            let query = model.vector();
            let effort = Effort { epsilon: 2.0, gap };
            let [old, new] = [&remembered, &now].map(|state| {
                let state = state.clone();
                let mut search = Search::new(&model.pages, state, &query, 10, effort).unwrap();
                let mut found: Vec<EntryTid> = search
                    .next(None)
                    .unwrap()
                    .iter()
                    .map(|found| found.tid)
                    .collect();
                found.sort_unstable();
                (found, search.stats.lists)
            });
            assert!(old.1 > 0 && !old.0.is_empty());
            // Where it looks at no list that has gone, two lists may be one for it yet.
            assert!(
                old == new || gap < 1.0,
                "{metric:?} {gap}: {old:?}, not {new:?}"
            );
        }
    }
}

#[test]
fn what_is_looked_at_again_is_what_a_new_process_reads() {
    for metric in Metric::ALL {
        let (mut model, mut remembered, slot) = reused(metric);
        let old = tree(&remembered);
        // As a statement begins: the version tells that lists are others.
        remembered.refresh(&model.pages).unwrap();
        let (again, fresh) = (
            tree(&remembered),
            tree(&IndexState::read(&model.pages).unwrap()),
        );
        assert_eq!(again.slots, fresh.slots);
        assert_eq!(again.version, fresh.version);
        for number in fresh.used() {
            let points = [&again, &fresh].map(|tree| tree.centroids.centre(number));
            assert_eq!(points[0].rotated(), points[1].rotated(), "slot {number}");
        }
        // Codes too: of a query they tell the same, and in the slot that was used again not what they told before.
        let query = model.vector();
        let (mut rotated, mut code) = (Vec::new(), crate::quantizer::QueryCode::default());
        model.state.quantizer.rotate(&query, &mut rotated);
        code.prepare(&rotated, &model.state.centre, metric, 1.0);
        let [old, again, fresh] = [old, again, fresh].map(|tree| {
            let mut estimates = Vec::new();
            tree.centroids.estimates(&code, &mut estimates);
            estimates
        });
        assert_eq!(again, fresh);
        assert_ne!(old[slot], fresh[slot]);
    }
}

/// Appending goes by the list that takes new entries; a remembered tree does not mislead it.
#[test]
fn an_insert_by_a_remembered_tree_is_found() {
    let (mut model, remembered, _) = reused(Metric::Cosine);
    model.state = remembered;
    model.grow(200);
    model.all_are_found();
    model.state = IndexState::read(&model.pages).unwrap();
    model.check_tree();
    model.all_are_found();
}

/// Of the list that takes new entries pages are cut off, and used again at its end: under the same generation, and not where a walk expects them.
#[test]
fn a_search_notices_that_pages_were_cut_off_and_used_again() {
    for from_flat in [false, true] {
        let mut model = Model::new(64, Metric::Euclidean);
        // The list begins elsewhere than on block 0, which is never used for another page.
        if from_flat {
            model.grow(4000);
            model.maintain();
        } else {
            model.build_tree(3000);
            model.grow(1000);
            model.take(Step::TakeUp(model.state.list().last)).unwrap();
        }
        model.grow(4500);
        model.state.refresh(&model.pages).unwrap();
        let remembered = model.state.clone();
        let (first, generation) = (remembered.list().first, remembered.list().generation);
        assert!(first != 0 && remembered.tree.is_some() != from_flat);
        if from_flat {
            assert!(model.grow_tree().unwrap());
        }
        while model.state.list().first != remembered.list().last {
            model.take(Step::TakeUp(remembered.list().last)).unwrap();
            model.state.refresh(&model.pages).unwrap();
        }
        let is_used_again = |model: &Model| {
            let head = special(&model.pages.read(first).unwrap()).unwrap();
            head.is_of(0, generation)
        };
        for _ in 0..200 {
            model.grow(if is_used_again(&model) { 1 } else { 50 });
        }
        assert!(is_used_again(&model));
        let now = std::mem::replace(&mut model.state, remembered);
        model.all_are_found();
        model.state = now;
        model.all_are_found();
    }
}

/// All lists are others, on pages of which some were the old ones'.
#[test]
fn a_remembered_tree_that_was_chosen_anew_is_read_anew() {
    let mut model = Model::new(64, Metric::Cosine);
    model.build_tree(3000);
    let remembered = model.state.clone();
    for _ in 0..2 {
        model.take(Step::ChooseAgain).unwrap();
        model.check_tree();
    }
    model.state = remembered.clone();
    model.all_are_found();
    let mut again = remembered;
    again.refresh(&model.pages).unwrap();
    let fresh = IndexState::read(&model.pages).unwrap();
    assert_eq!(tree(&again).slots, tree(&fresh).slots);
    assert_eq!(
        tree(&again).centroids.records(),
        tree(&fresh).centroids.records()
    );
}
