//! A flat index becomes a tree, and a tree whose rows have one entry each one whose rows have two.
#![forbid(unsafe_code)]

use super::relist::{entries_of, swing};
use super::take_up::Bundle;
use super::tree::tree_of;
use super::{VectorOf, count, some_rows, update_meta};
use crate::error::Error;
use crate::index::build::{Plan, SAMPLE_PER_LIST, Sample, copies, rows_per_list, write_tree};
use crate::index::chain::ChainWriter;
use crate::index::pages::Pages;
use crate::index::state::IndexState;
use crate::index::tree::slot_of;
use crate::layout::entry::{EntryTid, read_row};
use std::sync::Arc;

/// Vectors of a sample that lists are chosen by, in bytes; they are held twice meanwhile.
const SAMPLE_BYTES: usize = 32 << 20;

/// Makes a tree of a flat index, its lists empty yet. False if its vectors do not allow it.
pub fn grow_tree(
    pages: &impl Pages,
    state: &mut IndexState,
    tree_rows: u64,
    vector: &mut VectorOf<'_>,
) -> Result<bool, Error> {
    let rows = count(pages, state)?.live;
    let copies = copies(rows, tree_rows);
    let bytes = state.quantizer.code_bits() * size_of::<f32>();
    let lists = rows / rows_per_list(rows, copies);
    let wanted = (lists * SAMPLE_PER_LIST).min((SAMPLE_BYTES / bytes) as u64);
    let mut sample = Sample::new(state);
    for tid in some_rows(pages, state, rows, wanted)? {
        pages.pause();
        if let Some(vector) = vector(tid)? {
            sample.add(&vector);
        }
    }
    let centre = Some(Arc::clone(&state.centre));
    let plan = Plan::tree(sample, centre, (lists, copies), None, &mut || pages.pause());
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
        let chain = ChainWriter::new(pages, state.geometry, list, generation).finish()?;
        slots.push(slot_of(list, chain.head(generation), copies));
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
        meta.copies = copies;
    })?;
    state.refresh(pages)?;
    Ok(true)
}

/// Says that each row of a tree is to have two entries, if there are that many. Its lists get the second ones by a step for each.
pub fn grow_copies(
    pages: &impl Pages,
    state: &mut IndexState,
    tree_rows: u64,
) -> Result<(), Error> {
    if state.meta.copies == 1 && copies(state.rows(), tree_rows) == 2 {
        update_meta(pages, |meta| {
            meta.copies = 2;
            meta.learned = 0;
        })?;
        state.read_tree(pages)?;
    }
    Ok(())
}

/// Writes second entries for the rows of a list, but for those whose first entry is in another: theirs are written with that one's.
pub fn add_seconds(
    pages: &impl Pages,
    state: &mut IndexState,
    at: usize,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let tree = &tree_of(state)?;
    let rows = entries_of(pages, state, &tree.slots[at])?;
    let mut bundle = Bundle::default();
    for bytes in rows.chunks_exact(state.geometry.row_bytes()) {
        pages.pause();
        let row = read_row(bytes)?;
        if let Some(vector) = vector(EntryTid::from_bytes(&row.tid))? {
            bundle.add_second(state, tree, &vector, &row, at)?;
        }
    }
    bundle.write(pages, state, tree)?;
    let mut slot = tree.slots[at];
    slot.seconds = 1;
    swing(pages, tree, &[(at, slot)])?;
    Ok(0)
}
