//! A flat index becomes a tree, and a tree that has outgrown its lists gets others.
#![forbid(unsafe_code)]

use super::tree::tree_of;
use super::{VectorOf, count, some_rows, update_meta, walk_list};
use crate::error::Error;
use crate::index::build::{Builder, write_tree};
use crate::index::chain::{ChainWriter, free_chain};
use crate::index::insert::insert_unknown;
use crate::index::pages::Pages;
use crate::index::plan::{Limits, Plan, Sample};
use crate::index::state::IndexState;
use crate::index::tree::{Tree, slot_of};
use crate::layout::entry::{EntryTid, read_row};
use crate::quantizer::{Factors, Row};
use crate::stop_point::StopPoint;
use std::sync::Arc;

/// Makes a tree of a flat index, its lists empty yet. False if its vectors do not allow it.
pub fn grow_tree(
    pages: &impl Pages,
    state: &mut IndexState,
    limits: Limits,
    vector: &mut VectorOf<'_>,
) -> Result<bool, Error> {
    let rows = count(pages, state)?.live;
    let copies = limits.copies(rows);
    let plan = plan(pages, state, (rows, rows), limits, vector)?;
    if plan.lists() < 2 {
        return Ok(false);
    }
    let centroids = plan.into_centroids();
    let count = centroids.len() as u32;
    let generation = update_meta(pages, StopPoint::BeginGrow, |meta| {
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
        slots.push(slot_of(list, chain.head(generation)));
    }
    let (directory, centroids) = write_tree(pages, &centroids, &slots, generation)?;
    update_meta(pages, StopPoint::GrownTree, |meta| {
        meta.directory = directory;
        meta.centroids = centroids;
        meta.tree_generation = generation;
        meta.lists = first_list + count;
        meta.version = meta.version.wrapping_add(1);
        meta.rewriting = 0;
        meta.learned = 0;
        meta.copies = copies;
        meta.chosen = rows;
    })?;
    state.refresh(pages)?;
    Ok(true)
}

/// Lists for so many rows, of so many entries, chosen by some of them.
fn plan(
    pages: &impl Pages,
    state: &IndexState,
    (rows, entries): (u64, u64),
    limits: Limits,
    vector: &mut VectorOf<'_>,
) -> Result<Plan, Error> {
    let (lists, copies) = limits.lists(rows);
    let lists = lists.max(2);
    let wanted = limits.sampled(lists, state.quantizer.code_bits());
    let mut sampled = some_rows(pages, state, entries, wanted)?;
    // As they lie in the table.
    sampled.sort_unstable();
    let mut sample = Sample::new(state, wanted);
    for tid in sampled {
        pages.pause();
        if let Some(vector) = vector(tid)? {
            sample.add(&vector);
        }
    }
    let centre = Some(Arc::clone(&state.centre));
    let shape = (lists, copies);
    Ok(Plan::tree(sample, centre, shape, None, &mut || {
        pages.pause()
    }))
}

/// Whether a tree's lists are to be chosen anew: it has outgrown them, or they it, or its rows are to have another entry each. In between
/// lists are split and merged one by one; after a growth by much more that makes searches look at twice as many entries for the same recall.
pub fn has_outgrown(state: &IndexState, limits: Limits) -> bool {
    let (rows, chosen) = (state.rows(), state.meta.chosen);
    state.tree.is_some()
        && (rows > chosen + chosen / 2
            || rows < chosen / 4
            || rows >= chosen && limits.copies(rows) > state.meta.copies)
}

/// Chooses a tree's lists anew and writes all its entries to them, aside; then the index has that tree in one step, and the old one's pages
/// become free. Answers how many.
pub fn choose_again(
    pages: &impl Pages,
    state: &mut IndexState,
    limits: Limits,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let old = tree_of(state)?;
    let rows = state.rows();
    let plan = plan(pages, state, (rows, state.entries()), limits, vector)?;
    if plan.lists() < 2 {
        // Vectors that allow no other lists: not to be tried again before there are more of them.
        update_meta(pages, StopPoint::NoChoice, |meta| meta.chosen = rows + 1)?;
        return Ok(0);
    }
    let lists = plan.lists() as u32;
    update_meta(pages, StopPoint::BeginChoice, |meta| {
        meta.rewriting = 1;
        meta.generations += 1 + lists;
        meta.lists += lists;
    })?;
    let (mut builder, mut gone) = (Builder::aside(pages, state.clone(), plan), Vec::new());
    let room = limits.memory / 4 / size_of::<(EntryTid, u64)>();
    let parts = (old.entries() as usize / room.max(1) + 1) as u32;
    for part in 0..parts {
        for (tid, signature) in rows_of_lists(pages, state, &old, (part, parts))? {
            pages.pause();
            match vector(tid)? {
                Some(vector) => builder.push(&vector, tid, signature)?,
                None => gone.push((tid, signature)),
            }
        }
    }
    let new = builder.finish_aside()?;
    for row in new.unlisted.chunks_exact(state.geometry.row_bytes()) {
        insert_unknown(pages, state, read_row(row)?)?;
    }
    // Of rows removed meanwhile: VACUUM finds them when it comes the next time.
    let code = vec![0; state.quantizer.code_bytes()];
    for (tid, signature) in gone {
        let row = Row {
            factors: Factors::UNKNOWN,
            tid: tid.to_bytes(),
            signature,
            code: &code,
        };
        insert_unknown(pages, state, row)?;
    }
    update_meta(pages, StopPoint::ChosenTree, |meta| {
        new.name(meta);
        meta.learned = 0;
    })?;
    let mut freed = 0;
    for slot in old.used().map(|at| &old.slots[at]) {
        freed += free_chain(pages, slot.head.first, slot.list, slot.head.generation)?;
    }
    let generation = state.meta.tree_generation;
    for first in [state.meta.directory, state.meta.centroids] {
        freed += free_chain(pages, first, 0, generation)?;
    }
    state.read_tree(pages)?;
    // With those that are in no list: or it would seem outgrown at once, and again.
    let rows = rows.max(state.rows());
    update_meta(pages, StopPoint::EndChoice, |meta| {
        meta.rewriting = 0;
        meta.chosen = rows;
    })?;
    Ok(freed)
}

/// The row versions of a tree's lists and their signatures, once each, in the order of their places: of so many parts of about equal
/// size the ones of one.
fn rows_of_lists(
    pages: &impl Pages,
    state: &IndexState,
    tree: &Tree,
    (part, parts): (u32, u32),
) -> Result<Vec<(EntryTid, u64)>, Error> {
    let mut rows = Vec::new();
    for slot in tree.used().map(|at| &tree.slots[at]) {
        walk_list(pages, state, &slot.head, slot.list, &mut |entries| {
            for row in entries
                .copy_rows(0)
                .chunks_exact(state.geometry.row_bytes())
            {
                let row = read_row(row)?;
                let tid = EntryTid::from_bytes(&row.tid);
                if tid.is_live() && tid.block % parts == part {
                    rows.push((tid, row.signature));
                }
            }
            Ok(())
        })?;
    }
    rows.sort_unstable();
    rows.dedup_by_key(|(tid, _)| *tid);
    Ok(rows)
}
