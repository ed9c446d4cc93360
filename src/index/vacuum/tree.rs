//! VACUUM's work on a tree, in steps: each leaves a whole index behind, and searches and inserts go on between them and meanwhile.
//!
//! ```text
//! grow      a flat index's list becomes the first list of a tree whose others are empty
//! take up   entries of the first list's oldest pages are written to the lists they belong to, then the pages are cut off the first list
//! split     a list that has grown too large becomes two around centroids of their own
//! merge     the entries of a list that has become too small are written to others, then it goes
//! pack      a list with many removed entries is written anew
//! ```
//!
//! Nobody but VACUUM writes to a tree's lists, and only one VACUUM works on an index. Entries are written where they go before they are
//! taken from where they were: after a crash in between a row has an entry too many, which does no harm and goes when its list is next
//! written anew. A search reads the first list before the others, and a list given up is noticed by its pages' generation.
#![forbid(unsafe_code)]

use super::rewrite::unpack;
use super::{VectorOf, count, is_thin, some_rows, update_meta, walk_list};
use crate::error::Error;
use crate::index::assign::Assigner;
use crate::index::build::{Plan, SAMPLE_PER_LIST, Sample, rows_per_list, write_tree};
use crate::index::chain::{ChainWriter, free_chain, free_page};
use crate::index::insert::{Encoder, insert_unknown};
use crate::index::pages::{Edit, Pages};
use crate::index::state::IndexState;
use crate::index::tree::{Tree, slot_of, unused_slot};
use crate::kernel::kernels;
use crate::kmeans::Kmeans;
use crate::layout::directory::Slot;
use crate::layout::entry::{EntryTid, read_row};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init, set_special, special};
use crate::layout::{META_BLOCK, NO_BLOCK, corrupted};
use crate::quantizer::{Centre, Row};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Entries of a list as it should be: two for a row.
fn wanted_entries(state: &IndexState) -> u64 {
    2 * rows_per_list(state.rows())
}

/// A list of so many times as many is split …
const TOO_LARGE: u64 = 2;
/// … and one of a share of them is merged: one in so many.
const TOO_SMALL: u64 = 4;
/// Entries of the first list are taken up when there are so many pages of them: before, scanning them costs less than the work.
const TAKE_UP_PAGES: u64 = 16;
/// Pages taken up in one step.
const PAGES_A_STEP: usize = 32;
/// Vectors of a sample that lists are chosen by, in bytes; they are held twice meanwhile.
const SAMPLE_BYTES: usize = 32 << 20;
/// Seed of splits.
const SEED: u64 = 0x5b11;

/// One step of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write entries of the first list's pages before this one to the other lists.
    TakeUp(u32),
    /// Make two lists of the one in this slot.
    Split(usize),
    /// Write the entries of the list in this slot to others.
    Merge(usize),
    /// Write the list in this slot anew.
    Pack(usize),
}

/// The next step that is worth it; none of a flat index. Pages of the first list from `until` on are left to the next VACUUM.
pub fn next_step(
    pages: &impl Pages,
    state: &mut IndexState,
    until: u32,
) -> Result<Option<Step>, Error> {
    let Some(tree) = state.tree.clone() else {
        return Ok(None);
    };
    let lists = tree.lists();
    let head = |at: usize| tree.slots[at].head;
    // First of all, so that no list becomes much larger than it should be while entries are taken up.
    let wanted = wanted_entries(state);
    let large = |at: &usize| head(*at).entries > wanted * TOO_LARGE && !is_hopeless(&head(*at));
    if let Some(at) = tree.used().find(large) {
        return Ok(Some(Step::Split(at)));
    }
    if has_pages(pages, state.list(), until, TAKE_UP_PAGES)? {
        return Ok(Some(Step::TakeUp(until)));
    }
    Ok(tree.used().find_map(|at| {
        if head(at).entries < wanted / TOO_SMALL && lists > 1 {
            Some(Step::Merge(at))
        } else if is_thin(&head(at)) {
            Some(Step::Pack(at))
        } else {
            None
        }
    }))
}

/// A list of equal vectors cannot be split: `centred` tells that it was tried at this size.
fn is_hopeless(head: &ListHead) -> bool {
    head.centred > 0 && head.entries < head.centred.saturating_mul(2)
}

/// Whether the first list has so many pages before `until`.
fn has_pages(pages: &impl Pages, list: &ListHead, until: u32, wanted: u64) -> Result<bool, Error> {
    let (mut block, mut passed) = (list.first, 0);
    while block != NO_BLOCK && block != until && passed < wanted {
        pages.pause();
        let head = special(&pages.read(block)?)?;
        if !head.is_of(0, list.generation) {
            return Err(corrupted("page in a list it is not of"));
        }
        passed += 1;
        block = head.next;
    }
    Ok(passed == wanted)
}

/// Makes a tree of a flat index, its lists empty yet. False if its vectors do not allow it.
pub fn grow_tree(
    pages: &impl Pages,
    state: &mut IndexState,
    vector: &mut VectorOf<'_>,
) -> Result<bool, Error> {
    let rows = count(pages, state)?.live;
    let bytes = state.quantizer.code_bits() * size_of::<f32>();
    let lists = rows / rows_per_list(rows);
    let wanted = (lists * SAMPLE_PER_LIST).min((SAMPLE_BYTES / bytes) as u64);
    let mut sample = Sample::new(state);
    for tid in some_rows(pages, state, rows, wanted)? {
        pages.pause();
        if let Some(vector) = vector(tid)? {
            sample.add(&vector);
        }
    }
    let centre = Some(Arc::clone(&state.centre));
    let plan = Plan::tree(sample, centre, lists, None, &mut || pages.pause());
    if plan.lists() < 2 {
        return Ok(false);
    }
    let centroids = plan.into_centroids();
    let count = centroids.len() as u32;
    let generation = update_meta(pages, |meta| {
        meta.rewriting = 1;
        meta.generations += 1 + count;
    })?
    .generations
        - count;
    let first_list = state.meta.lists;
    let mut slots = Vec::with_capacity(centroids.len());
    for number in 1..=count {
        let (list, generation) = (first_list + number, generation + number);
        slots.push(empty_list(pages, state, list, generation)?);
    }
    let (directory, centroids) = write_tree(pages, &centroids, &slots, generation)?;
    update_meta(pages, |meta| {
        meta.directory = directory;
        meta.centroids = centroids;
        meta.tree_generation = generation;
        meta.lists = first_list + count;
        meta.version += 1;
        meta.rewriting = 0;
        meta.learned = 0;
    })?;
    state.refresh(pages)?;
    Ok(true)
}

fn empty_list(
    pages: &impl Pages,
    state: &IndexState,
    list: u32,
    generation: u32,
) -> Result<Slot, Error> {
    let chain = ChainWriter::new(pages, state.geometry, list, generation).finish()?;
    Ok(slot_of(list, chain.head(generation)))
}

impl Step {
    /// Takes the step and answers how many pages became free.
    pub fn take(
        self,
        pages: &impl Pages,
        state: &mut IndexState,
        vector: &mut VectorOf<'_>,
    ) -> Result<u64, Error> {
        let freed = match self {
            Self::TakeUp(until) => take_up(pages, state, until, vector)?,
            Self::Split(at) => split(pages, state, at, vector)?,
            Self::Merge(at) => merge(pages, state, at, vector)?,
            Self::Pack(at) => pack(pages, state, at)?,
        };
        state.refresh(pages)?;
        state.read_tree(pages)?;
        Ok(freed)
    }
}

fn tree_of(state: &IndexState) -> Result<Arc<Tree>, Error> {
    let tree = state.tree.clone();
    tree.ok_or_else(|| corrupted("tree without a directory"))
}

/// Entries on their way to lists, by slot.
#[derive(Default)]
struct Bundle {
    rows: BTreeMap<usize, Vec<u8>>,
    encoder: Encoder,
    assigner: Assigner,
}

impl Bundle {
    /// Adds a row version's entries for the lists it belongs to, but not for `without`. False if it belongs to none that can tell anything
    /// of it: then it must be in the first list.
    fn add(
        &mut self,
        state: &IndexState,
        tree: &Tree,
        vector: &[f32],
        row: &Row<'_>,
        without: Option<usize>,
    ) -> Result<bool, Error> {
        let tid = EntryTid::from_bytes(&row.tid);
        self.encoder.rotate(state, vector)?;
        let rotated = self.encoder.rotated();
        let is_used = |number| tree.is_used(number);
        let assigned = self
            .assigner
            .assign(state, &tree.centroids, is_used, rotated);
        let Some((first, second)) = assigned else {
            return Ok(false);
        };
        let mut lists = [Some(first), second];
        if without.is_some() {
            // Its other entry is where it is: only that of the list that goes is written elsewhere.
            lists = [
                lists
                    .into_iter()
                    .flatten()
                    .find(|list| Some(*list) != without),
                None,
            ];
        }
        if lists == [None; 2] {
            return Ok(false);
        }
        for list in lists.into_iter().flatten() {
            let entry = self
                .encoder
                .row(state, &tree.centroids.centre(list), tid, row.signature);
            if !read_row(entry)?.factors.error.is_finite() {
                return Ok(false);
            }
            self.rows.entry(list).or_default().extend_from_slice(entry);
        }
        Ok(true)
    }

    /// Appends all to their lists.
    fn write(self, pages: &impl Pages, state: &IndexState, tree: &Tree) -> Result<(), Error> {
        for (list, rows) in self.rows {
            append(pages, state, tree, list, &rows)?;
        }
        Ok(())
    }
}

/// Appends entries to a list, a page in each change.
fn append(
    pages: &impl Pages,
    state: &IndexState,
    tree: &Tree,
    number: usize,
    rows: &[u8],
) -> Result<(), Error> {
    let mut slot = tree.slots[number];
    let mut rows = rows.chunks_exact(state.geometry.row_bytes()).peekable();
    slot.head.entries += rows.len() as u64;
    while rows.peek().is_some() {
        pages.pause();
        let mut edit = pages.edit();
        let last = edit.open(slot.head.last)?;
        let page = edit.bytes_mut(last)?;
        let head = special(page)?;
        if !head.is_of(slot.list, slot.head.generation) || head.next != NO_BLOCK {
            return Err(corrupted(format!(
                "page {} is not the last of list {}",
                slot.head.last, slot.list
            )));
        }
        while let Some(row) = rows.peek() {
            if !state.geometry.append(edit.bytes_mut(last)?, row)? {
                break;
            }
            rows.next();
        }
        if rows.peek().is_some() {
            let (new, block) = edit.create()?;
            init(
                edit.bytes_mut(new)?,
                Kind::List,
                slot.list,
                slot.head.generation,
            );
            let page = edit.bytes_mut(last)?;
            let mut linked = special(page)?;
            linked.next = block;
            set_special(page, &linked);
            slot.head.last = block;
        }
        // The count goes along with the last change.
        if slot.head.last != tree.slots[number].head.last || rows.peek().is_none() {
            tree.set_slot(&mut edit, number, &slot)?;
        }
        edit.commit()?;
    }
    Ok(())
}

/// Writes the entries of the first list's oldest pages to the tree, then cuts these pages off.
fn take_up(
    pages: &impl Pages,
    state: &mut IndexState,
    until: u32,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let tree = &tree_of(state)?;
    let list = *state.list();
    let (mut bundle, mut unknown) = (Bundle::default(), Vec::new());
    let (mut passed, mut block, mut taken) = (Vec::new(), list.first, 0);
    while passed.len() < PAGES_A_STEP && block != until {
        let (rows, _, next) = unpack(state, &pages.read(block)?, &list, 0)?;
        if next == NO_BLOCK {
            break; // where inserters append
        }
        for bytes in rows.chunks_exact(state.geometry.row_bytes()) {
            let row = read_row(bytes)?;
            let tid = EntryTid::from_bytes(&row.tid);
            if !tid.is_live() {
                continue;
            }
            pages.pause();
            taken += 1;
            let known = match vector(tid)? {
                Some(vector) => bundle.add(state, tree, &vector, &row, None)?,
                None => false,
            };
            if !known {
                unknown.push(bytes.to_vec());
            }
        }
        passed.push(block);
        block = next;
    }
    for bytes in &unknown {
        insert_unknown(pages, state, read_row(bytes)?)?;
    }
    bundle.write(pages, state, tree)?;
    update_meta(pages, |meta| meta.rewriting = 1)?;
    cut(pages, block, taken)?;
    let mut freed = 0;
    for block in passed.into_iter().filter(|&block| block != META_BLOCK) {
        pages.pause();
        free_page(pages, block)?;
        freed += 1;
    }
    update_meta(pages, |meta| meta.rewriting = 0)?;
    Ok(freed)
}

/// Makes `first` the first page of the first list. Block 0 then holds no entries of it any more.
fn cut(pages: &impl Pages, first: u32, taken: u64) -> Result<(), Error> {
    let mut edit = pages.edit();
    let meta = edit.open(META_BLOCK)?;
    let page = edit.bytes_mut(meta)?;
    let mut body = Meta::read(page)?;
    body.list.first = first;
    body.list.entries = body.list.entries.saturating_sub(taken);
    body.list.dead = 0;
    init(page, Kind::Meta, 0, 0);
    body.write(page);
    edit.commit()
}

/// The live entries of a list in row form, each row version once.
fn entries_of(pages: &impl Pages, state: &IndexState, slot: &Slot) -> Result<Vec<u8>, Error> {
    let bytes = state.geometry.row_bytes();
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    walk_list(pages, state, &slot.head, slot.list, &mut |entries| {
        for row in entries.copy_rows(0).chunks_exact(bytes) {
            let tid = EntryTid::from_bytes(&read_row(row)?.tid);
            if tid.is_live() && seen.insert(tid) {
                rows.extend_from_slice(row);
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Takes numbers for lists that are about to be written aside: the last ones of what the meta page says now.
fn begin(pages: &impl Pages, lists: u32) -> Result<Meta, Error> {
    update_meta(pages, |meta| {
        meta.rewriting = 1;
        meta.generations += lists;
        meta.lists += lists;
    })
}

/// In one change: these slots are as they are told, and the version is another.
fn swing(pages: &impl Pages, tree: &Tree, slots: &[(usize, Slot)]) -> Result<(), Error> {
    let mut edit = pages.edit();
    let mut open: Vec<(u32, usize)> = Vec::new();
    for (number, slot) in slots {
        let block = tree.directory_block(*number)?;
        let page = match open.iter().find(|(known, _)| *known == block) {
            Some((_, page)) => *page,
            None => {
                let page = edit.open(block)?;
                open.push((block, page));
                page
            }
        };
        let place = number % crate::layout::directory::per_page();
        crate::layout::directory::write(edit.bytes_mut(page)?, place, slot)?;
    }
    let meta = edit.open(META_BLOCK)?;
    let page = edit.bytes_mut(meta)?;
    let mut body = Meta::read(page)?;
    body.version += 1;
    body.write(page);
    edit.commit()
}

/// Frees a list that nothing leads to any more.
fn end(pages: &impl Pages, old: &Slot) -> Result<u64, Error> {
    let freed = free_chain(pages, old.head.first, old.list, old.head.generation)?;
    update_meta(pages, |meta| meta.rewriting = 0)?;
    Ok(freed)
}

fn split(
    pages: &impl Pages,
    state: &mut IndexState,
    at: usize,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let mut tree = tree_of(state)?;
    let old = tree.slots[at];
    let rows = entries_of(pages, state, &old)?;
    let Some(points) = halves(pages, state, &rows, vector)? else {
        // Vectors that are alike: to be tried again when there are twice as many.
        let mut slot = old;
        slot.head.centred = old.head.entries;
        swing(pages, &tree, &[(at, slot)])?;
        return Ok(0);
    };
    let meta = begin(pages, 2)?;
    // Nobody else holds it now, so that it is not copied.
    state.tree = None;
    let mut taken = vec![at];
    for point in points {
        let number = Arc::make_mut(&mut tree).prepare_slot(pages, state, point, &taken)?;
        taken.push(number);
    }
    let centres = [taken[1], taken[2]].map(|number| tree.centroids.centre(number));
    let mut lists = [1, 0].map(|back| {
        let (list, generation) = (meta.lists - back, meta.generations - back);
        ChainWriter::new(pages, state.geometry, list, generation)
    });
    let (mut encoder, mut unknown) = (Encoder::default(), Vec::new());
    for bytes in rows.chunks_exact(state.geometry.row_bytes()) {
        pages.pause();
        let row = read_row(bytes)?;
        let tid = EntryTid::from_bytes(&row.tid);
        let scale = match vector(tid)? {
            Some(vector) => encoder.rotate(state, &vector)?,
            None => None,
        };
        let Some(scale) = scale else {
            unknown.push(bytes);
            continue;
        };
        let side = nearer(&centres, encoder.rotated(), scale);
        let entry = encoder.row(state, &centres[side], tid, row.signature);
        if read_row(entry)?.factors.error.is_finite() {
            lists[side].push(entry)?;
        } else {
            unknown.push(bytes);
        }
    }
    let mut slots = vec![(at, unused_slot())];
    for (writer, number) in lists.into_iter().zip([taken[1], taken[2]]) {
        let (list, generation) = writer.owner();
        slots.push((number, slot_of(list, writer.finish()?.head(generation))));
    }
    state.tree = Some(tree);
    for bytes in unknown {
        insert_unknown(pages, state, read_row(bytes)?)?;
    }
    let tree = tree_of(state)?;
    swing(pages, &tree, &slots)?;
    end(pages, &old)
}

/// The centroids of a list's halves, by as many of its rows as a list that is just too large has. None if one half would be too small
/// to stay.
fn halves(
    pages: &impl Pages,
    state: &IndexState,
    rows: &[u8],
    vector: &mut VectorOf<'_>,
) -> Result<Option<[Vec<f32>; 2]>, Error> {
    let wanted = wanted_entries(state);
    let rows = rows.chunks_exact(state.geometry.row_bytes());
    let step = rows
        .len()
        .div_ceil(2 * (wanted * TOO_LARGE) as usize)
        .max(1);
    let (mut points, mut encoder) = (Vec::new(), Encoder::default());
    for bytes in rows.step_by(step) {
        pages.pause();
        let Some(vector) = vector(EntryTid::from_bytes(&read_row(bytes)?.tid))? else {
            continue;
        };
        if let Some(scale) = encoder.rotate(state, &vector)? {
            points.extend(encoder.rotated().iter().map(|element| element * scale));
        }
    }
    let bits = state.quantizer.code_bits();
    let mut kmeans = Kmeans {
        dimension: bits,
        seed: SEED,
        workers: None,
        pause: &mut || pages.pause(),
    };
    let found = kmeans.choose(&points, 2);
    if found.len() < 2 {
        return Ok(None);
    }
    let centres = [0, 1].map(|number| Centre::new(found.get(number).to_vec()));
    let points = points.chunks_exact(bits);
    let count = points.len();
    let second = points
        .filter(|point| nearer(&centres, point, 1.0) == 1)
        .count();
    // Of a sample the same share is asked for, twice over: a half that is merged again would be split again.
    let least = (wanted / TOO_SMALL) as usize * if step > 1 { 2 } else { 1 };
    let halves = [0, 1].map(|number| found.get(number).to_vec());
    Ok((second.min(count - second) >= least).then_some(halves))
}

/// Which of two centres is nearer to a vector.
fn nearer(centres: &[Centre; 2], rotated: &[f32], scale: f32) -> usize {
    let dot = kernels().dot;
    let [first, second] = centres
        .each_ref()
        .map(|centre| centre.squared_norm() as f32 - 2.0 * scale * dot(rotated, centre.rotated()));
    usize::from(second < first)
}

fn merge(
    pages: &impl Pages,
    state: &mut IndexState,
    at: usize,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let tree = &tree_of(state)?;
    let old = tree.slots[at];
    let rows = entries_of(pages, state, &old)?;
    let (mut bundle, mut unknown) = (Bundle::default(), Vec::new());
    for bytes in rows.chunks_exact(state.geometry.row_bytes()) {
        pages.pause();
        let row = read_row(bytes)?;
        let known = match vector(EntryTid::from_bytes(&row.tid))? {
            Some(vector) => bundle.add(state, tree, &vector, &row, Some(at))?,
            None => false,
        };
        if !known {
            unknown.push(bytes.to_vec());
        }
    }
    for bytes in &unknown {
        insert_unknown(pages, state, read_row(bytes)?)?;
    }
    bundle.write(pages, state, tree)?;
    update_meta(pages, |meta| meta.rewriting = 1)?;
    swing(pages, tree, &[(at, unused_slot())])?;
    end(pages, &old)
}

fn pack(pages: &impl Pages, state: &mut IndexState, at: usize) -> Result<u64, Error> {
    let tree = &tree_of(state)?;
    let old = tree.slots[at];
    let rows = entries_of(pages, state, &old)?;
    let meta = update_meta(pages, |meta| {
        meta.rewriting = 1;
        meta.generations += 1;
    })?;
    let mut writer = ChainWriter::new(pages, state.geometry, old.list, meta.generations);
    for row in rows.chunks_exact(state.geometry.row_bytes()) {
        writer.push(row)?;
    }
    let slot = slot_of(old.list, writer.finish()?.head(meta.generations));
    swing(pages, tree, &[(at, slot)])?;
    end(pages, &old)
}
