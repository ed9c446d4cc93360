//! Pages of any bytes: each by itself, and as pages of an index that is searched, written and put in order.
#![forbid(unsafe_code)]

use crate::error::{Error, SqlState};
use crate::index::check::check;
use crate::index::insert::{Encoder, insert};
use crate::index::mem_pages::MemPages;
use crate::index::pages::ReadPages;
use crate::index::plan::Limits;
use crate::index::search::{Effort, Search};
use crate::index::state::IndexState;
use crate::index::vacuum::{maintain, remove_dead};
use crate::layout::entry::{Entries, EntryTid, Geometry};
use crate::layout::meta::Meta;
use crate::layout::page::special;
use crate::layout::{PAGE, centre, directory};
use crate::metric::Metric;
use crate::random;
use std::cell::RefCell;

const DIMENSION: usize = 24;
const SEED: u64 = 7;
/// More pages than anything that ends reads of so small a file.
const MOST_READS: u64 = 100_000;
/// Rows of the indexes: one stays flat, one gets lists.
const ROWS: [u64; 2] = [300, 1500];
const LIMITS: Limits = Limits {
    tree_rows: 1000,
    memory: 1 << 20,
};

thread_local! {
    /// The pages of an index of each metric and form, made when first needed.
    static WHOLE: RefCell<[Vec<Vec<u8>>; 6]> = RefCell::default();
}

/// The first byte chooses an index; four bytes each name a page, a place on it and a byte; the last ones what is done.
pub fn pages(data: &[u8]) {
    let [chosen, data @ ..] = data else {
        return;
    };
    by_itself(data);
    let chosen = usize::from(*chosen) % 6;
    let pages = MemPages::of(whole(chosen));
    let (edits, work) = data.split_at(data.len() - data.len().min(4));
    for edit in edits.as_chunks::<4>().0 {
        let block = u32::from(edit[0]) % pages.blocks();
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]])) % PAGE;
        pages.with_page(block, |page| page[at] = edit[3]);
    }
    for work in work {
        pages.reads_left.set(MOST_READS);
        if let Err(error) = treat(&pages, *work, chosen) {
            assert!(error.sqlstate() == SqlState::IndexCorrupted, "{error}");
        }
        assert!(!pages.is_locked(), "a page stays locked");
    }
}

/// One page, whatever its kind is taken for.
fn by_itself(data: &[u8]) {
    let mut page = vec![0; PAGE];
    let (front, back) = data.split_at(data.len() / 2);
    let (front, back) = (
        &front[..front.len().min(PAGE / 2)],
        &back[..back.len().min(PAGE / 2)],
    );
    page[..front.len()].copy_from_slice(front);
    page[PAGE - back.len()..].copy_from_slice(back);
    let _ = (
        special(&page).and_then(|head| head.kind()),
        Meta::read(&page),
    );
    let _ = directory::read(&page, &mut Vec::new());
    if let Ok(bytes) = centre::read(&page) {
        assert!(centre::from_bytes(bytes).len() * 4 <= bytes.len());
    }
    for bits in [64, 1024, 20_032] {
        if let Ok(entries) = Entries::of(Geometry::new(bits), &page) {
            let tids = (0..entries.len()).map(|number| entries.tid(number));
            assert!(tids.count() <= PAGE / Geometry::new(bits).row_bytes());
        }
    }
}

fn whole(chosen: usize) -> Vec<Vec<u8>> {
    WHOLE.with_borrow_mut(|whole| {
        if whole[chosen].is_empty() {
            whole[chosen] = made(chosen).unwrap_or_default();
        }
        whole[chosen].clone()
    })
}

fn made(chosen: usize) -> Result<Vec<Vec<u8>>, Error> {
    let pages = MemPages::new(expected(chosen).new_page());
    let mut state = IndexState::read(&pages)?;
    let mut encoder = Encoder::default();
    for number in 1..=ROWS[chosen / 3] {
        let tid = place(number);
        insert(&pages, &mut state, &mut encoder, &vector(tid), tid, number)?;
    }
    remove_dead(&pages, &mut state, &mut |tid| tid.block.is_multiple_of(11))?;
    maintain(&pages, &mut state, LIMITS, &mut |tid| Ok(Some(vector(tid))))?;
    Ok(pages.contents())
}

fn expected(chosen: usize) -> Meta {
    Meta::new(DIMENSION, Metric::ALL[chosen % 3], SEED)
}

fn place(number: u64) -> EntryTid {
    EntryTid {
        block: number as u32 / 7,
        offset: (number % 7 + 1) as u16,
    }
}

/// The vector of a row, which its place tells.
fn vector(tid: EntryTid) -> Vec<f32> {
    let mut seed = u64::from(tid.block) << 16 | u64::from(tid.offset);
    let mut element = || (random::next(&mut seed) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..DIMENSION).map(|_| element()).collect()
}

fn treat(pages: &MemPages, work: u8, chosen: usize) -> Result<(), Error> {
    let mut state = IndexState::read(pages)?;
    state.meta.check_like(&expected(chosen))?;
    match work % 5 {
        0 => {
            let tid = place(1 << 20);
            insert(
                pages,
                &mut state,
                &mut Encoder::default(),
                &vector(tid),
                tid,
                1,
            )
        }
        1 => check(pages, &mut state, &mut Vec::new(), &mut |_| ()).map(|_| ()),
        2 => remove_dead(pages, &mut state, &mut |tid| tid.block.is_multiple_of(5)).map(|_| ()),
        3 => maintain(pages, &mut state, LIMITS, &mut |tid| Ok(Some(vector(tid)))).map(|_| ()),
        _ => {
            let most = pages.blocks() as usize * (PAGE / state.geometry.row_bytes());
            let mut search = Search::new(
                pages,
                state,
                &vector(place(5)),
                10,
                Effort::of_all_lists(2.0),
            )?;
            let mut named = 0;
            loop {
                let wave = search.next(None)?.len();
                named += wave;
                assert!(named <= most, "{named} rows of {most} entries");
                if wave == 0 {
                    return Ok(());
                }
            }
        }
    }
}
