//! Searches of some of the rows: those whose signatures hold what is needed, and those that are known to be all that may match.
#![forbid(unsafe_code)]

use super::*;
use crate::filter::Needed;
use crate::index::members::Members;

/// In a tree more of the lists are looked at, the fewer rows may match; and nothing else is handed out.
#[test]
fn only_rows_whose_signatures_hold_what_is_needed() {
    for (tree, masks) in [
        (false, [1, 1]),
        (true, [1, 1]),
        (true, [0b11_0100, 0b1100_1000]),
    ] {
        let mut model = Model::in_form(tree, 64, Metric::Cosine, 6000);
        model.grow(200);
        model.learn(40);
        let needed = Needed::of_masks(&masks);
        let may_match = |tid: EntryTid| needed.admits(u64::from(tid.block));
        let (mut hits, mut lists, mut all, mut held_back) = (0, 0, 0, 0);
        for _ in 0..20 {
            let query = model.vector();
            let truth = model.exact_where(&query, 10, may_match);
            assert_eq!(truth.len(), 10);
            let effort = model.state.effort(10, 0.99);
            let search = |needed: Option<Needed>| {
                let state = model.state.clone();
                let search = Search::new(&model.pages, state, &query, 10, effort).unwrap();
                match needed {
                    Some(needed) => search.only(needed),
                    None => search,
                }
            };
            let (found, _) = model.run(search(Some(needed.clone())), &query, 10, |tid| {
                assert!(may_match(tid));
                true
            });
            hits += found.iter().filter(|tid| truth.contains(tid)).count();
            // One that tells first is held back from the others of its lists, and then is the same.
            let (told, _) = model.run(
                search(Some(needed.clone())).tell_first(),
                &query,
                10,
                |_| true,
            );
            assert_eq!(told, found);
            let mut passes = [
                search(None),
                search(Some(needed.clone())),
                search(Some(needed.clone())).tell_first(),
            ];
            for search in &mut passes {
                search.next(None).unwrap();
            }
            let [plain, whole, held] = passes.each_ref().map(|search| search.stats);
            assert!((plain.lists..=whole.lists).contains(&held.lists));
            assert_eq!(plain.excluded, 0);
            lists += whole.lists;
            held_back += whole.lists - held.lists;
            all += plain.lists;
            if tree {
                passes[2].next(None).unwrap();
                let resumed = passes[2].stats;
                assert_eq!(resumed.passes, 1);
                assert_eq!(
                    (resumed.lists, resumed.codes, resumed.excluded),
                    (whole.lists, whole.codes, whole.excluded)
                );
            }
        }
        assert!(hits >= 194, "{hits} of 200 {tree} {masks:?}");
        // Of a half of the rows the ten nearest are among the twenty nearest of all, whose lists are hardly more.
        let few = masks[0] != 1;
        assert!(lists >= all && (lists > all || !few), "{lists} and {all}");
        assert!(held_back > 0 || !few);
    }
}

impl Model {
    /// Of so many rows, as a tree or flat.
    pub(super) fn in_form(tree: bool, dimension: usize, metric: Metric, rows: usize) -> Self {
        let mut model = Self::new(dimension, metric);
        if tree {
            model.build_tree(rows);
        } else {
            model.grow(rows);
        }
        model
    }

    /// The nearest of some rows, which are known from the first wave on or from the beginning.
    fn nearest_members(
        &self,
        query: &[f32],
        is_member: impl Fn(EntryTid) -> bool,
        after_wave: bool,
    ) -> (Vec<EntryTid>, u64) {
        let effort = self.state.effort(10, 0.99);
        let search = Search::new(&self.pages, self.state.clone(), query, 10, effort).unwrap();
        let mut search = search.only(Needed::all());
        let mut found = Vec::new();
        if after_wave {
            let wave = search.next(None).unwrap().to_vec();
            found.extend(wave.iter().map(|found| found.tid));
        }
        let members = self.rows.keys().copied().filter(|tid| is_member(*tid));
        search.only_members(Members::of(members));
        let known = found.clone();
        found.retain(|tid| is_member(*tid));
        self.go_on(search, query, 10, found, |tid| {
            assert!(is_member(tid) && !known.contains(&tid));
            true
        })
    }
}

/// However few they are and wherever they lie: recall is kept, and hardly more rows are looked at than if all matched.
#[test]
fn only_rows_that_are_known_to_match() {
    for tree in [false, true] {
        let mut model = Model::in_form(tree, 64, Metric::Cosine, 6000);
        model.grow(200);
        model.learn(40);
        for share in [1, 10, 200] {
            let is_member =
                |tid: EntryTid| (tid.block * 7 + u32::from(tid.offset)).is_multiple_of(share);
            let (mut hits, mut looked_at, mut of_all) = (0, 0, 0);
            for number in 0..20 {
                let query = model.vector();
                let truth = model.exact_where(&query, 10, is_member);
                assert_eq!(truth.len(), 10);
                let (found, rows) = model.nearest_members(&query, is_member, number % 2 == 0);
                hits += found.iter().filter(|tid| truth.contains(tid)).count();
                looked_at += rows;
                of_all += model.nearest_members(&query, |_| true, false).1;
            }
            assert!(hits >= 194, "{hits} of 200: {tree}, one in {share}");
            assert!(
                looked_at <= of_all * 3 / 2,
                "{looked_at}: {tree}, one in {share}"
            );
        }
    }
}

#[test]
fn fewer_known_rows_than_are_wanted_all_come() {
    for tree in [false, true] {
        let mut model = Model::in_form(tree, 32, Metric::Euclidean, 3000);
        let query = model.vector();
        let last = *model.rows.keys().next_back().unwrap();
        for is_member in [|_, _| false, |tid: EntryTid, last: EntryTid| tid == last] {
            let truth = model.exact_where(&query, 10, |tid| is_member(tid, last));
            for after_wave in [false, true] {
                let found = model.nearest_members(&query, |tid| is_member(tid, last), after_wave);
                assert_eq!(found.0, truth);
            }
        }
    }
}

/// The signature of a row is its block's number.
#[test]
fn a_sample_tells_how_many_rows_may_match() {
    for tree in [false, true] {
        let mut model = Model::in_form(tree, 64, Metric::Cosine, 6000);
        let query = model.vector();
        let sampled = |masks: &[u64]| {
            let effort = Effort::of_all_lists(2.0);
            let search = Search::new(&model.pages, model.state.clone(), &query, 10, effort);
            let mut search = search.unwrap().only(Needed::of_masks(masks));
            search.sample().unwrap();
            assert!(search.stats.pages <= 24 && search.stats.codes == 0);
            search.sampled()
        };
        assert!(sampled(&[0]).is_none());
        // The lowest bit of the block is one for every other page's rows; the highest is for none.
        let half = sampled(&[1]).unwrap().may_match;
        assert!((0.35..0.65).contains(&half), "{half}");
        assert!(sampled(&[1 << 63]).unwrap().may_match < 0.005);
    }
}

/// Of random bits a mask's are there by chance: as many admit it as are to be expected if none matches.
#[test]
fn what_is_admitted_by_chance_does_not_count() {
    let mut model = Model::new(64, Metric::Cosine);
    let mut encoder = Encoder::default();
    let (mut matching, mask) = (0, 0b1111 << 40);
    for number in 0..3000_u64 {
        let (tid, vector) = model.new_row();
        let bits = (0..20).fold(0, |bits, _| bits | 1 << (model.random.next() % 64));
        let is_match = number % 50 == 0;
        matching += u64::from(is_match);
        let signature = if is_match { bits | mask } else { bits };
        insert(
            &model.pages,
            &mut model.state,
            &mut encoder,
            &vector,
            tid,
            signature,
        )
        .unwrap();
    }
    let query = model.vector();
    let effort = Effort::of_all_lists(2.0);
    let search = Search::new(&model.pages, model.state.clone(), &query, 10, effort).unwrap();
    let mut search = search.only(Needed::of_masks(&[mask]));
    search.sample().unwrap();
    let shares = search.sampled().unwrap();
    assert_eq!(matching, 60);
    assert!(shares.may_match > 0.02, "{shares:?}");
    assert!((0.003..0.05).contains(&shares.matching), "{shares:?}");
}
