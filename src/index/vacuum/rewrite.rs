//! Writing the list that takes new entries anew, aside, and putting it in place in one step. Inserters go on meanwhile.
#![forbid(unsafe_code)]

use super::mean::Mean;
use super::{VectorOf, some_rows, update_meta};
use crate::error::Error;
use crate::index::chain::{ChainWriter, free_chain, free_page, write_centre};
use crate::index::insert::Encoder;
use crate::index::pages::{Edit, Pages};
use crate::index::state::IndexState;
use crate::layout::entry::{Entries, EntryTid, read_row};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init, special};
use crate::layout::{META_BLOCK, NO_BLOCK, corrupted};
use crate::quantizer::{Centre, Factors, Row};
use crate::stop_point::StopPoint;

/// A centre is the mean of so many entries' vectors, spread evenly over the list.
pub const CENTRE_SAMPLE: u64 = 4096;
/// So many times what was appended meanwhile is carried over without a lock; then, if inserters are faster, under it.
const TRIES: usize = 8;

/// Writes the list anew; with a new centre if `recentre`. Answers how many pages became free.
pub fn rewrite(
    pages: &impl Pages,
    state: &mut IndexState,
    recentre: bool,
    vector: &mut VectorOf<'_>,
) -> Result<u64, Error> {
    let old = *state.list();
    let generation = update_meta(pages, StopPoint::BeginRewrite, |meta| {
        meta.generations += 1;
        meta.rewriting = 1;
    })?
    .generations;
    let mut new = state.clone();
    if recentre {
        new.centre = std::sync::Arc::new(mean(pages, state, vector)?);
    }
    let centre = write_centre(pages, &new.centre, generation)?;
    let mut copy = Copy {
        new: &new,
        writer: ChainWriter::new(pages, state.geometry, 0, generation),
        recentre,
        vector: Some(vector),
        encoder: Encoder::default(),
        row: vec![0; state.geometry.row_bytes()],
    };
    let (mut block, mut done, mut passed, mut tries) = (old.first, 0, Vec::new(), 0);
    let (edit, last) = loop {
        // What the page holds now, without its lock held while entries are encoded.
        let (mut rows, count, next) = unpack(state, &pages.read(block)?, &old, done)?;
        done += count;
        copy.all(&mut rows)?;
        pages.pause();
        if next != NO_BLOCK {
            passed.push(block);
            if passed.len() > pages.blocks() as usize {
                return Err(corrupted("chain of pages without an end"));
            }
            (block, done, tries) = (next, 0, 0);
            continue;
        }
        let mut edit = pages.edit();
        let last = edit.open(block)?;
        let (mut rest, _, next) = unpack(state, edit.bytes(last), &old, done)?;
        tries += 1;
        if next == NO_BLOCK && (rest.is_empty() || tries > TRIES) {
            // No vector is asked for with a page locked: what is left is encoded by the next rewrite.
            copy.vector = None;
            copy.all(&mut rest)?;
            break (edit, last);
        }
    };
    let chain = copy.writer.finish()?;
    let list = ListHead {
        centre,
        centred: if recentre { chain.entries } else { old.centred },
        ..chain.head(generation)
    };
    swing(edit, last, block, list)?;
    if block != META_BLOCK {
        pages.recycle(block);
    }
    let mut freed = u64::from(block != META_BLOCK);
    for block in passed.into_iter().filter(|&block| block != META_BLOCK) {
        pages.pause();
        free_page(pages, block)?;
        freed += 1;
    }
    freed += free_chain(pages, old.centre, 0, old.generation)?;
    update_meta(pages, StopPoint::EndRewrite, |meta| meta.rewriting = 0)?;
    state.refresh(pages)?;
    Ok(freed)
}

/// Copies entries to the new chain, encoded anew if it has a new centre.
struct Copy<'c, 'v, 'p, P: Pages> {
    new: &'c IndexState,
    writer: ChainWriter<'p, P>,
    recentre: bool,
    vector: Option<&'c mut VectorOf<'v>>,
    encoder: Encoder,
    row: Vec<u8>,
}

impl<P: Pages> Copy<'_, '_, '_, P> {
    fn all(&mut self, rows: &mut [u8]) -> Result<(), Error> {
        for bytes in rows.chunks_exact_mut(self.new.geometry.row_bytes()) {
            let row = read_row(bytes)?;
            let tid = EntryTid::from_bytes(&row.tid);
            if !tid.is_live() {
                continue;
            }
            if !self.recentre {
                self.writer.push(bytes)?;
                continue;
            }
            let vector = match &mut self.vector {
                Some(vector) => vector(tid)?,
                None => None,
            };
            if let Some(vector) = vector {
                let row = self.encoder.encode(self.new, &vector, tid, row.signature)?;
                self.writer.push(row)?;
            } else {
                // Its row is dead or being pruned, and VACUUM will take the entry too; or it came late. It is looked at always.
                let (factors, code) = (Factors::UNKNOWN, row.code.to_vec());
                let row = Row {
                    factors,
                    code: &code,
                    ..row
                };
                row.write(&mut self.row);
                self.writer.push(&self.row)?;
            }
        }
        Ok(())
    }
}

/// The entries of a page from number `from` on, in row form one behind the other, how many they are, and the next page.
pub fn unpack(
    state: &IndexState,
    page: &[u8],
    list: &ListHead,
    from: usize,
) -> Result<(Vec<u8>, usize, u32), Error> {
    let head = special(page)?;
    if !head.is_of(0, list.generation) {
        return Err(corrupted("page in a list it is not of"));
    }
    let entries = Entries::of(state.geometry, page)?;
    let rows = entries.copy_rows(from);
    Ok((rows, entries.len().saturating_sub(from), head.next))
}

/// Names the new chain. `edit` holds the old chain's last page.
fn swing<E: Edit>(mut edit: E, last: usize, last_block: u32, list: ListHead) -> Result<(), Error> {
    let meta = if last_block == META_BLOCK {
        last
    } else {
        init(edit.bytes_mut(last)?, Kind::Free, 0, 0);
        edit.open(META_BLOCK)?
    };
    let page = edit.bytes_mut(meta)?;
    let mut body = Meta::read(page)?;
    body.list = list;
    // Block 0 holds no entries of the new chain.
    init(page, Kind::Meta, 0, 0);
    body.write(page);
    edit.commit(StopPoint::SwingRewritten)
}

/// The mean of a sample of the list's vectors, rotated; under cosine, of their directions.
fn mean(
    pages: &impl Pages,
    state: &IndexState,
    vector: &mut VectorOf<'_>,
) -> Result<Centre, Error> {
    let chosen = some_rows(pages, state, state.list().entries, CENTRE_SAMPLE)?;
    let mut mean = Mean::new(state);
    for tid in chosen {
        pages.pause();
        if let Some(vector) = vector(tid)? {
            mean.add(&vector);
        }
    }
    Ok(mean.centre())
}
