//! Pages damaged at random, by the million: whatever is then done with the index is done, or told to be damaged.
//!
//! What a page says cannot all be found out to be wrong: another code makes another estimate, a place that is another names another row. So a
//! right answer is one that ends, names no more rows than there are entries, and leaves no page locked. Everything else is an error of SQLSTATE XX002.
//! Overflows and assertions of the algorithm count as panics.
#![forbid(unsafe_code)]

use super::*;
use crate::error::SqlState;
use crate::filter::Needed;
use crate::index::members::Members;
use crate::layout::page::{HEADER, SPECIAL, init};
use crate::layout::{NO_BLOCK, PAGE};
use std::panic::AssertUnwindSafe;

/// Damaged pages, unless `TORTURE_PAGES` says how many: `tests/support/fuzz.sh` does with a million, in the profile that is made for it.
const PAGES: usize = 3_000;
/// Pages an operation may read, for each page there is: a search of a tree may read a chain once for each of its lists, and a few times over.
const MOST_READS: u64 = 2_000;

/// An index in some state, to be damaged over and over.
struct Patient {
    metric: Metric,
    dimension: usize,
    pages: Vec<Vec<u8>>,
    /// The same pages at an earlier time.
    before: Vec<Vec<u8>>,
    /// What a process remembers from before the damage.
    state: IndexState,
    rows: BTreeMap<EntryTid, Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

impl Patient {
    fn new(dimension: usize, metric: Metric, tree: bool, rows: usize) -> Self {
        let mut model = Model::in_form(tree, dimension, metric, rows);
        model.limits.tree_rows = 1;
        model.thin_out(10);
        let before = model.pages.contents();
        model.grow(rows / 4);
        if rows > 600 {
            model.learn(rows / 40);
        }
        model.thin_out(5);
        let queries = (0..4).map(|_| model.vector()).collect();
        Self {
            metric,
            dimension,
            before,
            pages: model.pages.contents(),
            state: model.state,
            rows: model.rows,
            queries,
        }
    }

    /// Damages a page, or a few, and does things with the index; how many of them were refused.
    fn suffer(&self, random: &mut Random) -> Outcome {
        let pages = MemPages::of(self.pages.clone());
        let damages = if random.below(4) == 0 {
            1 + random.below(3)
        } else {
            1
        };
        for _ in 0..damages {
            self.damage(&pages, random);
        }
        let mut outcome = Outcome {
            pages: damages,
            ..Outcome::default()
        };
        // What this process knew of it, or what one finds that has just begun.
        let mut known = (random.below(2) == 0).then(|| self.state.clone());
        for _ in 0..1 + random.below(3) {
            pages.reads_left.set(MOST_READS * u64::from(pages.blocks()));
            let state = known.take().map_or_else(|| self.begin(&pages), Ok);
            let done = state.and_then(|mut state| {
                self.treat(&pages, &mut state, random)?;
                Ok(state)
            });
            match done {
                Ok(state) => {
                    outcome.done += 1;
                    known = (random.below(2) == 0).then_some(state);
                }
                Err(error) => {
                    let told = error.sqlstate() == SqlState::IndexCorrupted;
                    assert!(told, "{error:?} of an index that is damaged");
                    outcome.refused += 1;
                }
            }
            assert!(!pages.is_locked(), "a page stays locked");
        }
        outcome
    }

    /// What a process finds that knows nothing yet but the table's column.
    fn begin(&self, pages: &MemPages) -> Result<IndexState, Error> {
        let state = IndexState::read(pages)?;
        state.meta.check_like(&self.state.meta)?;
        Ok(state)
    }

    /// One thing that is done with an index.
    fn treat(
        &self,
        pages: &MemPages,
        state: &mut IndexState,
        random: &mut Random,
    ) -> Result<(), Error> {
        state.refresh(pages)?;
        let limits = Limits {
            tree_rows: [1, 300, TREE_ROWS][random.below(3)],
            memory: 1 << 20,
        };
        let vector = &mut |tid: EntryTid| Ok(self.rows.get(&tid).cloned());
        let query = &self.queries[random.below(self.queries.len())];
        match random.below(16) {
            0..=5 => self.search(pages, state, query, random),
            6..=8 => {
                let mut encoder = Encoder::default();
                for number in 0..1 + random.below(200) {
                    let tid = EntryTid {
                        block: 1 << 20,
                        offset: number as u16 + 1,
                    };
                    insert(pages, state, &mut encoder, query, tid, random.next())?;
                }
                Ok(())
            }
            9 | 10 => check(pages, state, &mut Vec::new(), &mut |_| ()).map(|_| ()),
            11 => {
                let mut random = Random(random.next());
                remove_dead(pages, state, &mut |_| random.below(10) == 0).map(|_| ())
            }
            12 => rewrite(pages, state, random.below(2) == 0, vector).map(|_| ()),
            13 => self.learn(pages, state),
            _ => maintain(pages, state, limits, vector).map(|_| ()),
        }
    }

    /// A search of any kind, to its end.
    fn search(
        &self,
        pages: &MemPages,
        state: &IndexState,
        query: &[f32],
        random: &mut Random,
    ) -> Result<(), Error> {
        let most = u64::from(pages.blocks()) * entries_of_page(state);
        let k = [1, 10, 500][random.below(3)];
        let effort = match random.below(3) {
            0 => Effort::of_all_lists(2.0),
            1 => state.effort(k, 0.95),
            _ => Effort {
                epsilon: 0.0,
                gap: 0.0,
            },
        };
        let mut search = Search::new(pages, state.clone(), query, k, effort)?;
        match random.below(4) {
            0 => search = search.only(Needed::of_masks(&[0b11_0100, 1])).tell_first(),
            1 => search = search.only(Needed::of_masks(&[1])),
            2 => search.only_members(Members::of(self.rows.keys().copied().step_by(7))),
            _ => (),
        }
        if random.below(3) == 0 {
            search.sample()?;
            assert!(search.sampled_rows().len() <= crate::index::sample::ROWS);
        }
        let scorer = Scorer::new(self.metric, query);
        let (mut keys, mut named, mut bar) = (Vec::new(), 0, None);
        loop {
            let wave = search.next(bar)?;
            if wave.is_empty() {
                return Ok(());
            }
            named += wave.len() as u64;
            assert!(named <= most, "{named} rows of {most} entries");
            let rows = wave.iter().filter_map(|found| self.rows.get(&found.tid));
            keys.extend(rows.map(|vector| scorer.exact(vector)));
            keys.sort_by(f64::total_cmp);
            keys.truncate(k);
            bar = (keys.len() == k).then(|| self.metric.estimate_unit(keys[k - 1]).next_up());
        }
    }

    fn learn(&self, pages: &MemPages, state: &mut IndexState) -> Result<(), Error> {
        let rows = self.rows.iter().take(8);
        let queries: Vec<_> = rows.map(|(tid, vector)| (*tid, vector.clone())).collect();
        learn(pages, state, &queries, None, &mut |scorer, tids| {
            let key = |tid: &EntryTid| self.rows.get(tid).map(|vector| scorer.exact(vector));
            Ok(tids.iter().map(key).collect())
        })
    }

    /// Damages one page.
    fn damage(&self, pages: &MemPages, random: &mut Random) {
        let blocks = pages.blocks();
        let block = match random.below(4) {
            0 => 0,
            _ => random.below(blocks as usize) as u32,
        };
        let (kind, number) = (random.below(14), random.next());
        let other = pages.read(random.below(blocks as usize) as u32);
        let stale = &self.before[random.below(self.before.len())];
        let interesting = interesting(random, blocks);
        pages.with_page(block, |page| {
            let at = place(random, block);
            match kind {
                0..=2 => page[at] ^= 1 << (number % 8),
                3 => {
                    for _ in 0..1 + number % 8 {
                        page[random.below(PAGE)] = random.next() as u8;
                    }
                }
                4 => {
                    let end = (at + number as usize % 300).min(PAGE);
                    page[at..end].fill([0, 0xff, number as u8][random.below(3)]);
                }
                5..=8 => write_number(page, at, interesting, random.below(3)),
                9 => page.fill(0),
                10 => page.clone_from(stale),
                11 => page[at..].fill(0),
                12 => page.clone_from(&other.unwrap_or_default()),
                _ => {
                    let kinds = [
                        Kind::Meta,
                        Kind::List,
                        Kind::Centre,
                        Kind::Free,
                        Kind::Directory,
                    ];
                    let (list, generation) = (random.below(9) as u32, random.below(9) as u32);
                    init(page, kinds[random.below(5)], list, generation);
                    page[HEADER..SPECIAL].fill(number as u8);
                }
            }
        });
        if random.below(40) == 0 {
            // A file that is cut off.
            let left = 1 + random.below(blocks as usize);
            let mut some = pages.contents();
            some.truncate(left);
            pages.set_contents(&some);
        }
    }
}

/// How it went.
#[derive(Default)]
struct Outcome {
    pages: usize,
    done: usize,
    refused: usize,
}

/// More entries than a page has room for.
fn entries_of_page(state: &IndexState) -> u64 {
    (PAGE / state.geometry.row_bytes()) as u64 + 1
}

/// A place on a page: in the headers, the special area, the first entries, anywhere.
fn place(random: &mut Random, block: u32) -> usize {
    match random.below(4) {
        0 => SPECIAL + random.below(PAGE - SPECIAL),
        1 if block == 0 => HEADER + random.below(256),
        1 => random.below(400),
        2 => random.below(HEADER + 64),
        _ => random.below(PAGE),
    }
}

/// A number that means something to some field.
fn interesting(random: &mut Random, blocks: u32) -> u64 {
    let near =
        |number: u64, random: &mut Random| number.wrapping_add(random.next() % 5).wrapping_sub(2);
    match random.below(8) {
        0 => 0,
        1 => u64::from(NO_BLOCK),
        2 => u64::MAX,
        3 => near(u64::from(blocks), random),
        4 => near(1 << random.below(64), random),
        5 => u64::from(f32::NAN.to_bits()),
        6 => u64::from([f32::INFINITY, f32::MAX, -1.0, -0.0, 1e-40][random.below(5)].to_bits()),
        _ => random.next() % u64::from(blocks),
    }
}

/// Writes a field of two, four or eight bytes, at a place that is aligned as it is.
fn write_number(page: &mut [u8], at: usize, number: u64, width: usize) {
    let width = [2, 4, 8][width];
    let at = at / width * width;
    page[at..at + width].copy_from_slice(&number.to_ne_bytes()[..width]);
}

impl Random {
    /// A number below so many.
    fn below(&mut self, count: usize) -> usize {
        self.next() as usize % count
    }
}

fn patients() -> Vec<Patient> {
    let mut patients = Vec::new();
    for metric in Metric::ALL {
        for (dimension, tree, rows) in [
            (8, false, 300),
            (64, false, 900),
            (64, true, 900),
            (100, true, 1300),
            (2000, false, 60),
            (300, true, 700),
        ] {
            patients.push(Patient::new(dimension, metric, tree, rows));
        }
    }
    patients
}

#[test]
fn whatever_is_done_with_damaged_pages_is_done_or_told() {
    let of_environment = |name| {
        std::env::var(name)
            .ok()
            .and_then(|number| number.parse().ok())
    };
    let seed: u64 = of_environment("TORTURE_SEED").unwrap_or(20_260_101);
    let wanted = of_environment("TORTURE_PAGES").map_or(PAGES, |pages: u64| pages as usize);
    let patients = patients();
    let (mut pages, mut done, mut refused, mut round) = (0, 0, 0, 0);
    while pages < wanted {
        let patient = &patients[round as usize % patients.len()];
        let mut random = Random(seed.wrapping_add(round));
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| patient.suffer(&mut random)));
        let outcome = outcome.unwrap_or_else(|_| {
            panic!(
                "TORTURE_SEED={} repeats it: {:?}, {} dimensions",
                seed.wrapping_add(round),
                patient.metric,
                patient.dimension
            )
        });
        pages += outcome.pages;
        done += outcome.done;
        refused += outcome.refused;
        round += 1;
    }
    println!("{pages} damaged pages: {done} operations done, {refused} refused");
    assert!(
        done > pages / 4 && refused > pages / 20,
        "{done} done, {refused} refused"
    );
}
