//! A tree's lists written anew: one that is too large split, one that is too small given to others, one with many removed entries packed.
#![forbid(unsafe_code)]

use super::take_up::Bundle;
use super::tree::{TOO_LARGE, TOO_SMALL, tree_of, wanted_entries};
use super::{VectorOf, update_meta, walk_list};
use crate::error::Error;
use crate::index::chain::{ChainWriter, free_chain};
use crate::index::insert::{Encoder, insert_unknown};
use crate::index::pages::{Edit, Pages};
use crate::index::state::IndexState;
use crate::index::tree::{Tree, slot_of, unused_slot};
use crate::kernel::kernels;
use crate::kmeans::{Kmeans, Points};
use crate::layout::META_BLOCK;
use crate::layout::centroid::LARGEST_ELEMENT;
use crate::layout::directory::Slot;
use crate::layout::entry::{EntryTid, read_row};
use crate::layout::meta::{ListHead, Meta};
use crate::quantizer::Centre;
use crate::stop_point::StopPoint;
use std::collections::HashSet;
use std::sync::Arc;

/// Seed of splits.
const SEED: u64 = 0x5b11;

/// The live entries of a list in row form, each row version once.
pub fn entries_of(pages: &impl Pages, state: &IndexState, slot: &Slot) -> Result<Vec<u8>, Error> {
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
    update_meta(pages, StopPoint::BeginLists, |meta| {
        meta.rewriting = 1;
        meta.generations += lists;
        meta.lists += lists;
    })
}

/// In one change: these slots are as they are told, and the version is another.
pub fn swing(pages: &impl Pages, tree: &Tree, slots: &[(usize, Slot)]) -> Result<(), Error> {
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
    body.version = body.version.wrapping_add(1);
    body.write(page);
    edit.commit(StopPoint::SwingLists)
}

/// Frees a list that nothing leads to any more.
fn end(pages: &impl Pages, old: &Slot) -> Result<u64, Error> {
    let freed = free_chain(pages, old.head.first, old.list, old.head.generation)?;
    update_meta(pages, StopPoint::EndLists, |meta| meta.rewriting = 0)?;
    Ok(freed)
}

/// Makes two lists of one, around centroids of its halves.
pub fn split(
    pages: &impl Pages,
    state: &mut IndexState,
    at: usize,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let mut tree = tree_of(state)?;
    let old = tree.slots[at];
    let rows = entries_of(pages, state, &old)?;
    let Some(points) = halves(pages, state, &rows, vector)? else {
        // Vectors that are alike: to be tried again when there are half as many more.
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
/// to stay, or the vectors are too large for centroids.
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
    let bits = state.quantizer.code_bits();
    let (mut points, mut encoder) = (Points::new(bits), Encoder::default());
    for bytes in rows.step_by(step) {
        pages.pause();
        let Some(vector) = vector(EntryTid::from_bytes(&read_row(bytes)?.tid))? else {
            continue;
        };
        if let Some(scale) = encoder.rotate(state, &vector)? {
            points.push(encoder.rotated(), scale);
        }
    }
    if points.largest() >= LARGEST_ELEMENT {
        return Ok(None);
    }
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
    let (count, mut point) = (points.len(), Vec::new());
    let second = (0..count)
        .filter(|&number| {
            points.read(number, &mut point);
            nearer(&centres, &point, 1.0) == 1
        })
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

/// Writes the entries of a list to others.
pub fn merge(
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
            Some(vector) => bundle.add_instead(state, tree, &vector, &row, at)?,
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
    update_meta(pages, StopPoint::BeginMerge, |meta| meta.rewriting = 1)?;
    swing(pages, tree, &[(at, unused_slot())])?;
    end(pages, &old)
}

/// Writes a list anew, without the removed entries.
pub fn pack(pages: &impl Pages, state: &mut IndexState, at: usize) -> Result<u64, Error> {
    let tree = &tree_of(state)?;
    let old = tree.slots[at];
    let rows = entries_of(pages, state, &old)?;
    let meta = update_meta(pages, StopPoint::BeginPack, |meta| {
        meta.rewriting = 1;
        meta.generations += 1;
    })?;
    let mut writer = ChainWriter::new(pages, state.geometry, old.list, meta.generations);
    for row in rows.chunks_exact(state.geometry.row_bytes()) {
        writer.push(row)?;
    }
    let head = ListHead {
        centred: old.head.centred,
        ..writer.finish()?.head(meta.generations)
    };
    let slot = Slot { head, ..old };
    swing(pages, tree, &[(at, slot)])?;
    end(pages, &old)
}
