//! Pages whose bits were changed: an error says so, or an answer comes all the same; never a panic, and never a search without an end.
#![forbid(unsafe_code)]

use super::*;
use crate::layout::page::{PD_UPPER, SPECIAL, area};

impl Model {
    /// Flips so many bits, one at a time: in how many cases a search told of it, and in how many it found rows.
    fn damage(&mut self, rounds: usize) -> (usize, usize) {
        let mut random = Random(7);
        let query = self.vector();
        let (mut told, mut found) = (0, 0);
        for _ in 0..rounds {
            let block = random.next() as u32 % self.pages.blocks();
            // Headers, special areas and entries alike.
            let at = match random.next() % 3 {
                0 => SPECIAL + random.next() as usize % 24,
                1 => random.next() as usize % 300,
                _ => random.next() as usize % 8192,
            };
            let bit = 1 << (random.next() % 8);
            self.pages.with_page(block, |page| page[at] ^= bit);
            match self.first_wave(&query) {
                Ok(rows) => found += usize::from(rows > 0),
                Err(
                    Error::Corrupted { .. }
                    | Error::UnknownFormat { .. }
                    | Error::DimensionMismatch { .. },
                ) => told += 1,
                Err(other) => panic!("{other}"),
            }
            self.pages.with_page(block, |page| page[at] ^= bit);
        }
        (told, found)
    }

    /// Rows that a process that knows nothing yet would look at first.
    fn first_wave(&self, query: &[f32]) -> Result<usize, Error> {
        let state = IndexState::read(&self.pages)?;
        let effort = Effort::of_all_lists(2.0);
        let mut search = Search::new(&self.pages, state, query, 10, effort)?;
        search.next(None).map(<[_]>::len)
    }

    /// A page of the tree's centroids, and the place of the first record on it.
    fn first_centroid(&self) -> (u32, usize) {
        (self.state.meta.centroids, area(Kind::Centre).start)
    }
}

#[test]
fn damage_is_told_and_never_a_panic() {
    let mut model = Model::new(64, Metric::Euclidean);
    model.grow(900);
    let (told, found) = model.damage(1500);
    assert!(told > 50 && found > 50, "{told} told, {found} found");
    model.pages.with_page(1, |page| page[SPECIAL + 16] ^= 1);
    assert!(!model.violations().is_empty());
}

#[test]
fn damage_of_a_tree_is_told_and_never_a_panic() {
    for metric in Metric::ALL {
        let mut model = Model::new(64, metric);
        model.build_tree(900);
        let (told, found) = model.damage(1500);
        assert!(told > 50 && found > 50, "{told} told, {found} found");
    }
}

/// Noted as free, it would be given to the next who wants a page.
#[test]
fn a_meta_page_that_looks_new_is_not_used_again() {
    let mut model = Model::new(64, Metric::Euclidean);
    model.grow(300);
    model
        .pages
        .with_page(0, |page| page[PD_UPPER..][..2].fill(0));
    let removal = remove_dead(&model.pages, &mut model.state, &mut |_| false);
    assert!(matches!(removal, Err(Error::Corrupted { .. })));
    // Into pages of their own.
    model.grow(300);
}

/// Whatever bit of a centroid's step, norm or elements is another, a search says so rather than look at the wrong lists.
#[test]
fn no_search_goes_by_a_damaged_centroid() {
    let mut model = Model::new(64, Metric::Cosine);
    model.build_tree(900);
    let query = model.vector();
    let (block, start) = model.first_centroid();
    let entry = crate::quantizer::row_bytes(64);
    let (head, elements) = (start..start + 8, start + 8 + entry..start + 8 + entry + 64);
    let (mut told, mut bits) = (0, 0);
    for at in head.chain(elements) {
        for bit in (0..8).map(|bit| 1 << bit) {
            model.pages.with_page(block, |page| page[at] ^= bit);
            match model.first_wave(&query) {
                Ok(rows) => assert!(rows > 0),
                Err(Error::Corrupted { .. }) => told += 1,
                Err(other) => panic!("{other}"),
            }
            model.pages.with_page(block, |page| page[at] ^= bit);
            bits += 1;
        }
    }
    // The last bits of step and norm are within what rounding leaves, and an element that is a step more or less may be.
    assert!(told * 10 > bits * 9, "{told} of {bits}");
    assert!(model.first_wave(&query).unwrap() > 0);
}

/// A process that knows the tree reads but the centroids of lists that are new to it: those are looked at too.
#[test]
fn a_damaged_centroid_of_a_new_list_is_told() {
    let mut model = Model::new(16, Metric::Cosine);
    model.build_tree(900);
    let mut before = model.state.clone();
    let old = model.state.meta.version;
    model.centres.truncate(1);
    while model.state.meta.version == old {
        model.grow(1000);
        model.maintain();
    }
    let mut known = before.clone();
    known.read_tree(&model.pages).unwrap();
    // All steps on all its pages: of lists that stayed too, which are not read again.
    let chain = centroid_pages(&model);
    let record = crate::layout::centroid::bytes(known.quantizer.code_bits());
    for block in chain {
        model.pages.with_page(block, |page| {
            let area = area(Kind::Centre);
            for place in area
                .clone()
                .step_by(record)
                .filter(|at| at + record <= area.end)
            {
                page[place..place + 8].fill(0xff);
            }
        });
    }
    assert!(known.refresh(&model.pages).is_ok(), "nothing new is read");
    let told = before.read_tree(&model.pages);
    assert!(matches!(told, Err(Error::Corrupted { .. })));
}

fn centroid_pages(model: &Model) -> Vec<u32> {
    let mut found = Vec::new();
    let (first, generation) = (model.state.meta.centroids, model.state.meta.tree_generation);
    let mut note = |block, _: &[u8]| {
        found.push(block);
        Ok(())
    };
    assert!(model.pages.walk(first, 0, generation, &mut note).unwrap());
    found
}
