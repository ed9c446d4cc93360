//! Appending an entry to a list.
//!
//! An entry is encoded before any lock is taken, and appended to the list's last page under that page's lock alone. Only
//! when the page is full the meta page is locked too, to name a new last one. A list written anew meanwhile is noticed by the
//! last page's generation, and the entry is encoded again relative to the new centre.
#![forbid(unsafe_code)]

use super::pages::{Edit, Pages};
use super::state::IndexState;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::layout::meta::Meta;
use crate::layout::page::{Kind, init, set_special, special};
use crate::layout::{META_BLOCK, NO_BLOCK, corrupted};
use crate::quantizer::{Centre, Factors, Row, encode, shift};
use crate::stop_point::StopPoint;

/// A vector on its way into an index; its buffers are used again for the next.
#[derive(Default)]
pub struct Encoder {
    rotated: Vec<f32>,
    code: Vec<u8>,
    row: Vec<u8>,
}

impl Encoder {
    /// The entry of a vector, in row form, relative to the state's centre.
    pub fn encode(
        &mut self,
        state: &IndexState,
        vector: &[f32],
        tid: EntryTid,
        signature: u64,
    ) -> Result<&[u8], Error> {
        self.rotate(state, vector)?;
        Ok(self.row(state, &state.centre, tid, signature))
    }

    /// Takes up a vector; answers what it is to be multiplied by before it is compared with centres, if it can be.
    pub fn rotate(&mut self, state: &IndexState, vector: &[f32]) -> Result<Option<f32>, Error> {
        let dimension = state.meta.dimension as usize;
        if vector.len() != dimension {
            return Err(Error::DimensionMismatch {
                expected: dimension,
                actual: vector.len(),
            });
        }
        state.quantizer.rotate(vector, &mut self.rotated);
        Ok(Centre::scale(&self.rotated, state.metric))
    }

    /// The vector taken up, rotated.
    #[must_use]
    pub fn rotated(&self) -> &[f32] {
        &self.rotated
    }

    /// Its entry relative to a centre, for queries that are prepared for the centre of the list that takes new entries.
    pub fn row(
        &mut self,
        state: &IndexState,
        centre: &Centre,
        tid: EntryTid,
        signature: u64,
    ) -> &[u8] {
        self.code.resize(state.quantizer.code_bytes(), 0);
        let mut factors = encode(&self.rotated, centre, state.metric, &mut self.code);
        // Whether it is that very centre is enough to know: to one that is merely equal the factors are shifted by nothing.
        if !std::ptr::eq(centre, &raw const *state.centre) {
            factors = shift(factors, &self.code, centre, &state.centre);
        }
        let row = Row {
            factors,
            tid: tid.to_bytes(),
            signature,
            code: &self.code,
        };
        self.row.resize(state.geometry.row_bytes(), 0);
        row.write(&mut self.row);
        &self.row
    }
}

/// Adds an entry for the row version `tid` with this vector.
pub fn insert(
    pages: &impl Pages,
    state: &mut IndexState,
    encoder: &mut Encoder,
    vector: &[f32],
    tid: EntryTid,
    signature: u64,
) -> Result<(), Error> {
    loop {
        let row = encoder.encode(state, vector, tid, signature)?;
        if append(pages, state, row)? {
            return Ok(());
        }
        look_again(pages, state)?;
    }
}

/// Adds an entry that is looked at whatever the query: of a row that no code can be made of now.
pub fn insert_unknown(
    pages: &impl Pages,
    state: &mut IndexState,
    row: Row<'_>,
) -> Result<(), Error> {
    let mut bytes = vec![0; state.geometry.row_bytes()];
    let factors = Factors::UNKNOWN;
    Row { factors, ..row }.write(&mut bytes);
    while !append(pages, state, &bytes)? {
        look_again(pages, state)?;
    }
    Ok(())
}

/// The last page has moved on: an inserter has added one, or the list was written anew. If neither, the index is damaged.
fn look_again(pages: &impl Pages, state: &mut IndexState) -> Result<(), Error> {
    pages.pause();
    let before = *state.list();
    state.refresh(pages)?;
    if (state.list().last, state.list().generation) == (before.last, before.generation) {
        return Err(corrupted(format!(
            "page {} is named as a list's last and is not",
            before.last
        )));
    }
    Ok(())
}

/// Appends a row to the list the state knows; false if that is no longer its last page.
fn append(pages: &impl Pages, state: &IndexState, row: &[u8]) -> Result<bool, Error> {
    let list = state.list();
    let mut edit = pages.edit();
    let last = edit.open(list.last)?;
    let head = special(edit.bytes(last))?;
    if !matches!(head.kind()?, Kind::List | Kind::Meta)
        || !head.is_of(0, list.generation)
        || head.next != NO_BLOCK
    {
        return Ok(false);
    }
    if state.geometry.append(edit.bytes_mut(last)?, row)? {
        edit.commit(StopPoint::Append)?;
        return Ok(true);
    }
    // Full: a new last page, linked and named in the same step.
    let meta = if list.last == META_BLOCK {
        last
    } else {
        edit.open(META_BLOCK)?
    };
    let (new, block) = edit.create()?;
    let page = edit.bytes_mut(new)?;
    init(page, Kind::List, 0, list.generation);
    state.geometry.append(page, row)?;
    let page = edit.bytes_mut(last)?;
    let mut linked = special(page)?;
    linked.next = block;
    set_special(page, &linked);
    let page = edit.bytes_mut(meta)?;
    let mut body = Meta::read(page)?;
    body.list.last = block;
    body.write(page);
    edit.commit(StopPoint::AppendPage)?;
    Ok(true)
}
