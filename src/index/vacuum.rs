//! What VACUUM does to an index: removing the entries of dead rows, and writing a list anew when that pays.
//!
//! Only one VACUUM works on a table at a time (PostgreSQL's SHARE UPDATE EXCLUSIVE lock sees to it), while searches and
//! inserts go on. A list is written anew like this:
//!
//! ```text
//! 1  a new generation number is taken, and the meta page says that a rewrite is under way
//! 2  a centre and a chain of the new generation are written, from the old chain's live entries, aside
//! 3  the old chain's last page is locked, which stops inserters; what they appended meanwhile is carried over
//! 4  in one step the meta page names the new chain and the old last page becomes a free one
//! 5  the old chain's pages are made free; the meta page forgets the rewrite
//! ```
//!
//! Searches notice 4 and 5 by the generation of the next page they come to, and begin anew. After a crash in 2 or 5 pages
//! of other generations lie about; the next VACUUM, told by the meta page, frees them.
#![forbid(unsafe_code)]

use super::chain::{ChainWriter, free_chain, free_page, write_centre};
use super::insert::Encoder;
use super::pages::{Edit, Pages};
use super::state::IndexState;
use crate::error::Error;
use crate::layout::entry::{Entries, EntryTid, read_row, remove};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init, is_new, special};
use crate::layout::{META_BLOCK, NO_BLOCK, corrupted};
use crate::quantizer::{Centre, Factors, Row};

/// Fewer entries than this get no centre of their own: they are all scanned in no time.
pub const LEAST_CENTRED: u64 = 256;
/// A list gets a new centre when it is this many times as large as when it got the last …
const RECENTRE_GROWTH: u64 = 4;
/// … and is written anew when this share of its entries is removed ones: one in so many.
const DEAD_SHARE: u64 = 5;
/// A centre is the mean of so many entries' vectors, spread evenly over the list.
pub const CENTRE_SAMPLE: u64 = 4096;

/// What a removal found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Entries removed now.
    pub removed: u64,
    /// Entries left.
    pub live: u64,
}

/// Removes the entries whose rows are dead, in place. Looks at every page once, in the order of the file.
pub fn remove_dead(
    pages: &impl Pages,
    state: &mut IndexState,
    is_dead: &mut dyn FnMut(EntryTid) -> bool,
) -> Result<Removal, Error> {
    state.refresh(pages)?;
    let list = *state.list();
    let (mut removal, mut dead) = (Removal::default(), 0);
    // Pages added from now on hold entries of rows that are alive.
    for block in 0..pages.blocks() {
        pages.pause();
        let found = entries_of(pages, state, block, &list, is_dead)?;
        let Some((live, gone, removed_before)) = found else {
            continue;
        };
        if !gone.is_empty() {
            let mut edit = pages.edit();
            let page = edit.open(block)?;
            remove(state.geometry, edit.bytes_mut(page)?, &gone)?;
            edit.commit()?;
        }
        removal.removed += gone.len() as u64;
        removal.live += live;
        dead += removed_before + gone.len() as u64;
    }
    update_meta(pages, |meta| {
        meta.list.entries = removal.live;
        meta.list.dead = dead;
    })?;
    Ok(removal)
}

/// Live entries of a page, the numbers of those that are to go, and how many went before. None if it is no page of the list.
fn entries_of(
    pages: &impl Pages,
    state: &IndexState,
    block: u32,
    list: &ListHead,
    is_dead: &mut dyn FnMut(EntryTid) -> bool,
) -> Result<Option<(u64, Vec<usize>, u64)>, Error> {
    let tids: Vec<EntryTid> = {
        let page = pages.read(block)?;
        if is_new(&page) || !special(&page)?.is_of(0, list.generation) {
            return Ok(None);
        }
        if !matches!(special(&page)?.kind()?, Kind::List | Kind::Meta) {
            return Ok(None);
        }
        let entries = Entries::of(state.geometry, &page)?;
        (0..entries.len())
            .map(|number| entries.tid(number))
            .collect()
    };
    let (mut live, mut gone, mut before) = (0, Vec::new(), 0);
    for (number, tid) in tids.into_iter().enumerate() {
        if !tid.is_live() {
            before += 1;
        } else if is_dead(tid) {
            gone.push(number);
        } else {
            live += 1;
        }
    }
    Ok(Some((live, gone, before)))
}

/// What maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// The list was written anew.
    pub rewritten: bool,
    /// Pages made free.
    pub freed: u64,
    /// Entries, as far as the meta page knows.
    pub entries: u64,
    /// They were counted now.
    pub counted: bool,
}

/// Frees what a crash left behind, and writes the list anew if it has grown or thinned out enough. Costs a look at one page
/// where nothing has.
///
/// `vector` answers the vector of a row version, or None where there is none any more.
pub fn maintain(
    pages: &impl Pages,
    state: &mut IndexState,
    vector: &mut dyn FnMut(EntryTid) -> Result<Option<Vec<f32>>, Error>,
) -> Result<Maintenance, Error> {
    state.refresh(pages)?;
    let mut done = Maintenance {
        entries: state.list().entries,
        ..Maintenance::default()
    };
    if state.meta.rewriting != 0 {
        done.freed += free_strays(pages, state)?;
    }
    let list = *state.list();
    if most_entries(pages, state) < recentre_at(&list) && !is_thin(&list) {
        return Ok(done);
    }
    let count = count(pages, state)?;
    update_meta(pages, |meta| {
        meta.list.entries = count.live;
        meta.list.dead = count.dead;
    })?;
    (done.entries, done.counted) = (count.live, true);
    state.refresh(pages)?;
    let list = *state.list();
    let recentre = list.entries >= recentre_at(&list);
    if recentre || is_thin(&list) {
        done.freed += rewrite(pages, state, recentre, vector)?;
        done.rewritten = true;
        done.entries = state.list().entries;
    }
    Ok(done)
}

fn recentre_at(list: &ListHead) -> u64 {
    (list.centred * RECENTRE_GROWTH).max(LEAST_CENTRED)
}

fn is_thin(list: &ListHead) -> bool {
    list.dead > 0 && list.dead * DEAD_SHARE >= list.entries + list.dead
}

/// As many entries as the file has room for.
fn most_entries(pages: &impl Pages, state: &IndexState) -> u64 {
    let capacity = state.geometry.capacity(Kind::List);
    let per_page = capacity.blocks * crate::kernel::BLOCK_ENTRIES + capacity.rows;
    u64::from(pages.blocks()) * per_page as u64
}

#[derive(Default)]
struct Count {
    live: u64,
    dead: u64,
}

fn count(pages: &impl Pages, state: &IndexState) -> Result<Count, Error> {
    let mut count = Count::default();
    walk_entries(pages, state, &mut |entries| {
        let dead = u64::from(entries.special.dead);
        count.dead += dead;
        count.live += entries.len() as u64 - dead;
        Ok(())
    })?;
    Ok(count)
}

/// Visits the pages of the list. The caller is the only one who could write it anew.
pub fn walk_entries(
    pages: &impl Pages,
    state: &IndexState,
    visit: &mut dyn FnMut(Entries<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let list = *state.list();
    let whole = pages.walk(list.first, 0, list.generation, &mut |_, page| {
        visit(Entries::of(state.geometry, page)?)
    })?;
    if !whole {
        return Err(corrupted("page in a list it is not of"));
    }
    Ok(())
}

/// Writes the list anew; with a new centre if `recentre`. Answers how many pages became free.
pub fn rewrite(
    pages: &impl Pages,
    state: &mut IndexState,
    recentre: bool,
    vector: &mut dyn FnMut(EntryTid) -> Result<Option<Vec<f32>>, Error>,
) -> Result<u64, Error> {
    let old = *state.list();
    let generation = update_meta(pages, |meta| {
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
        writer: ChainWriter::new(pages, state.geometry, generation),
        recentre,
        vector,
        encoder: Encoder::default(),
        row: vec![0; state.geometry.row_bytes()],
    };
    let (mut block, mut done, mut passed) = (old.first, 0, Vec::new());
    let (edit, last) = loop {
        // What the page holds now, without its lock held while entries are encoded.
        let (mut rows, count, next) = unpack(state, &pages.read(block)?, old.generation, done)?;
        done += count;
        copy.all(&mut rows)?;
        pages.pause();
        if next != NO_BLOCK {
            passed.push(block);
            (block, done) = (next, 0);
            continue;
        }
        let mut edit = pages.edit();
        let last = edit.open(block)?;
        let (mut rest, _, next) = unpack(state, edit.bytes(last), old.generation, done)?;
        if next == NO_BLOCK {
            copy.all(&mut rest)?;
            break (edit, last);
        }
    };
    let chain = copy.writer.finish()?;
    let list = ListHead {
        first: chain.first,
        last: chain.last,
        centre,
        generation,
        entries: chain.entries,
        dead: 0,
        centred: if recentre { chain.entries } else { old.centred },
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
    freed += free_chain(pages, old.centre, old.generation)?;
    update_meta(pages, |meta| meta.rewriting = 0)?;
    state.refresh(pages)?;
    Ok(freed)
}

/// Copies entries to the new chain, encoded anew if it has a new centre.
struct Copy<'c, 'p, P: Pages> {
    new: &'c IndexState,
    writer: ChainWriter<'p, P>,
    recentre: bool,
    vector: &'c mut dyn FnMut(EntryTid) -> Result<Option<Vec<f32>>, Error>,
    encoder: Encoder,
    row: Vec<u8>,
}

impl<P: Pages> Copy<'_, '_, P> {
    fn all(&mut self, rows: &mut [u8]) -> Result<(), Error> {
        for bytes in rows.chunks_exact_mut(self.new.geometry.row_bytes()) {
            let row = read_row(bytes)?;
            let tid = EntryTid::from_bytes(&row.tid);
            if !tid.is_live() {
                continue;
            }
            if !self.recentre {
                self.writer.push(bytes)?;
            } else if let Some(vector) = (self.vector)(tid)? {
                let row = self.encoder.encode(self.new, &vector, tid, row.signature)?;
                self.writer.push(row)?;
            } else {
                // Its row is dead or being pruned: VACUUM will take the entry too. Until then it is looked at always.
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
fn unpack(
    state: &IndexState,
    page: &[u8],
    generation: u32,
    from: usize,
) -> Result<(Vec<u8>, usize, u32), Error> {
    let head = special(page)?;
    if !head.is_of(0, generation) {
        return Err(corrupted("page in a list it is not of"));
    }
    let entries = Entries::of(state.geometry, page)?;
    let count = entries.len().saturating_sub(from);
    let bytes = state.geometry.row_bytes();
    let mut rows = vec![0; count * bytes];
    for (number, row) in rows.chunks_exact_mut(bytes).enumerate() {
        entries.copy_row(from + number, row);
    }
    Ok((rows, count, head.next))
}

/// Step 4: names the new chain. `edit` holds the old chain's last page.
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
    edit.commit()
}

/// Changes the meta body and answers it.
pub fn update_meta(pages: &impl Pages, change: impl FnOnce(&mut Meta)) -> Result<Meta, Error> {
    let mut edit = pages.edit();
    let page = edit.open(META_BLOCK)?;
    let mut meta = Meta::read(edit.bytes(page))?;
    let before = meta;
    change(&mut meta);
    if meta != before {
        meta.write(edit.bytes_mut(page)?);
        edit.commit()?;
    }
    Ok(meta)
}

/// Frees pages that a crash left behind: of no generation in use, or never written.
fn free_strays(pages: &impl Pages, state: &IndexState) -> Result<u64, Error> {
    let generation = state.list().generation;
    let mut freed = 0;
    for block in 1..pages.blocks() {
        pages.pause();
        let stray = {
            let page = pages.read(block)?;
            is_new(&page) || is_stray(&page, generation)?
        };
        if stray {
            free_page(pages, block)?;
            freed += 1;
        }
    }
    update_meta(pages, |meta| meta.rewriting = 0)?;
    Ok(freed)
}

fn is_stray(page: &[u8], generation: u32) -> Result<bool, Error> {
    let head = special(page)?;
    Ok(head.kind()? != Kind::Free && !head.is_of(0, generation))
}

/// The mean of a sample of the list's vectors, rotated; under cosine, of their directions.
fn mean(
    pages: &impl Pages,
    state: &IndexState,
    vector: &mut dyn FnMut(EntryTid) -> Result<Option<Vec<f32>>, Error>,
) -> Result<Centre, Error> {
    let step = (state.list().entries / CENTRE_SAMPLE).max(1);
    let (mut chosen, mut number) = (Vec::new(), 0);
    walk_entries(pages, state, &mut |entries| {
        for at in 0..entries.len() {
            let tid = entries.tid(at);
            if tid.is_live() {
                if number % step == 0 {
                    chosen.push(tid);
                }
                number += 1;
            }
        }
        Ok(())
    })?;
    let mut mean = Mean::new(state);
    for tid in chosen {
        pages.pause();
        if let Some(vector) = vector(tid)? {
            mean.add(&vector);
        }
    }
    Ok(mean.centre())
}

/// The mean of vectors on its way.
pub struct Mean<'s> {
    state: &'s IndexState,
    sums: Vec<f64>,
    rotated: Vec<f32>,
    count: u64,
}

impl<'s> Mean<'s> {
    /// Of no vectors yet.
    pub fn new(state: &'s IndexState) -> Self {
        Self {
            state,
            sums: vec![0.0; state.quantizer.code_bits()],
            rotated: Vec::new(),
            count: 0,
        }
    }

    /// Adds a vector.
    pub fn add(&mut self, vector: &[f32]) {
        let quantizer = &self.state.quantizer;
        quantizer.rotate(vector, &mut self.rotated);
        let Some(scale) = Centre::scale(&self.rotated, self.state.metric) else {
            return;
        };
        for (sum, element) in self.sums.iter_mut().zip(&self.rotated) {
            *sum += f64::from(*element * scale);
        }
        self.count += 1;
    }

    /// The mean; the origin if there were no vectors, or none that can be summed.
    pub fn centre(self) -> Centre {
        let count = self.count.max(1) as f64;
        let mean: Vec<f32> = self.sums.iter().map(|sum| (sum / count) as f32).collect();
        let usable = self.count > 0 && mean.iter().all(|element| element.is_finite());
        if usable {
            Centre::new(mean)
        } else {
            Centre::zero(mean.len())
        }
    }
}
