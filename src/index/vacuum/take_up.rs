//! Entries on their way into a tree's lists: those of the first list's oldest pages, and whatever else is to be written to a list.
#![forbid(unsafe_code)]

use super::rewrite::unpack;
use super::tree::tree_of;
use super::{VectorOf, update_meta};
use crate::error::Error;
use crate::index::assign::Assigner;
use crate::index::chain::free_page;
use crate::index::insert::{Encoder, insert_unknown};
use crate::index::pages::{Edit, Pages};
use crate::index::state::IndexState;
use crate::index::tree::Tree;
use crate::layout::entry::{EntryTid, read_row};
use crate::layout::meta::Meta;
use crate::layout::page::{Kind, init, set_special, special};
use crate::layout::{META_BLOCK, NO_BLOCK, corrupted};
use crate::quantizer::Row;
use crate::stop_point::StopPoint;
use std::collections::BTreeMap;

/// Pages taken up in one step.
const PAGES_A_STEP: usize = 32;

/// Entries on their way to lists, by slot.
#[derive(Default)]
pub struct Bundle {
    rows: BTreeMap<usize, Vec<u8>>,
    encoder: Encoder,
    assigner: Assigner,
}

impl Bundle {
    /// Adds a row version's entries for the lists it belongs to. False if it belongs to none that can tell anything of it: then it must be in the
    /// first list.
    pub fn add(
        &mut self,
        state: &IndexState,
        tree: &Tree,
        vector: &[f32],
        row: &Row<'_>,
    ) -> Result<bool, Error> {
        self.encoder.rotate(state, vector)?;
        let Some((first, second)) = self.assign(state, tree, None) else {
            return Ok(false);
        };
        Ok(self.push(state, tree, first, row)?
            && match second {
                Some(second) => self.push(state, tree, second, row)?,
                None => true,
            })
    }

    /// Adds the entry that a row version of a list that goes is to have instead. Its other one, if it has two, is where it is.
    pub fn add_instead(
        &mut self,
        state: &IndexState,
        tree: &Tree,
        vector: &[f32],
        row: &Row<'_>,
        without: usize,
    ) -> Result<bool, Error> {
        self.encoder.rotate(state, vector)?;
        let Some((first, second)) = self.assign(state, tree, None) else {
            return Ok(false);
        };
        let has = [Some(first), second];
        let Some((first, second)) = self.assign(state, tree, Some(without)) else {
            return Ok(false);
        };
        let instead = [Some(first), second]
            .into_iter()
            .flatten()
            .find(|list| !has.contains(&Some(*list)))
            .unwrap_or(first);
        self.push(state, tree, instead, row)
    }

    /// The lists of the vector that was rotated.
    fn assign(
        &mut self,
        state: &IndexState,
        tree: &Tree,
        without: Option<usize>,
    ) -> Option<(usize, Option<usize>)> {
        let is_used = |number| tree.is_used(number) && Some(number) != without;
        let rotated = self.encoder.rotated();
        self.assigner
            .assign(state, &tree.centroids, is_used, rotated)
    }

    /// Adds an entry of it for a list. False if that could tell nothing.
    fn push(
        &mut self,
        state: &IndexState,
        tree: &Tree,
        list: usize,
        row: &Row<'_>,
    ) -> Result<bool, Error> {
        let tid = EntryTid::from_bytes(&row.tid);
        let centre = tree.centroids.centre(list);
        let entry = self.encoder.row(state, &centre, tid, row.signature);
        if !read_row(entry)?.factors.error.is_finite() {
            return Ok(false);
        }
        self.rows.entry(list).or_default().extend_from_slice(entry);
        Ok(true)
    }

    /// Appends all to their lists.
    pub fn write(self, pages: &impl Pages, state: &IndexState, tree: &Tree) -> Result<(), Error> {
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
        edit.commit(StopPoint::TakeUpPage)?;
    }
    Ok(())
}

/// Writes the entries of the first list's oldest pages to the tree, then cuts these pages off.
pub fn take_up(
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
                Some(vector) => bundle.add(state, tree, &vector, &row)?,
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
    update_meta(pages, StopPoint::BeginCut, |meta| meta.rewriting = 1)?;
    cut(pages, block, taken)?;
    let mut freed = 0;
    for block in passed.into_iter().filter(|&block| block != META_BLOCK) {
        pages.pause();
        free_page(pages, block)?;
        freed += 1;
    }
    update_meta(pages, StopPoint::EndCut, |meta| meta.rewriting = 0)?;
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
    body.cuts = body.cuts.wrapping_add(1);
    init(page, Kind::Meta, 0, 0);
    body.write(page);
    edit.commit(StopPoint::Cut)
}
