//! Building an index at once: entries encoded on all cores, written page by page.
//!
//! A flat index takes them in the order of the rows. The first rows are held until there are enough of them for a centre, or no more come:
//! then they go to block 0, if they fit. A tree's lists are written side by side, each with the page that it is filling in memory. Memory
//! is bounded by the batch and these pages, whatever the size of the table.
#![forbid(unsafe_code)]

use super::chain::{ChainWriter, write_centre, write_elements};
use super::insert::Encoder;
use super::pages::{Edit, Pages};
use super::state::IndexState;
use super::tree::{assign, slot_of};
use super::vacuum::{Mean, update_meta};
use crate::error::Error;
use crate::kmeans::kmeans;
use crate::layout::directory::Slot;
use crate::layout::entry::{EntryTid, read_row};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init};
use crate::layout::{META_BLOCK, NO_BLOCK, PAGE, directory};
use crate::quantizer::Centre;
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes of vectors encoded together. Large enough to keep the cores busy between two meetings, small beside
/// the least maintenance_work_mem.
const BATCH_BYTES: usize = 4 << 20;

/// From so many rows on an index is a tree. At 400,000 real vectors of 256 dimensions, whose neighbourhoods are flat, a tree answers a recall goal of
/// 0.9 in a quarter of a flat index's time and one of 0.95 in half of it, but the default of 0.99 in five quarters: it looks at 40 % of
/// the lists, and there are two entries a row. A flat index's time grows with its rows, so that a little above they are even.
pub const TREE_ROWS: u64 = 500_000;
/// Rows for each list of a tree; entries are two for most rows.
pub const ROWS_PER_LIST: u64 = 400;
/// Rows of a sample for each list.
pub const SAMPLE_PER_LIST: u64 = 32;
/// Seed of the choice of lists.
const SEED: u64 = 0x7ee5;

/// How an index is laid out.
pub struct Plan {
    /// What codes of the list that takes new rows are relative to.
    centre: Centre,
    /// The centroids of a tree's lists; none of a flat index.
    lists: Vec<Centre>,
}

impl Plan {
    /// A flat index, its codes relative to the mean of a sample, or to the origin.
    #[must_use]
    pub fn flat(centre: Centre) -> Self {
        Self {
            centre,
            lists: Vec::new(),
        }
    }

    /// Lists for so many rows, by a sample of their vectors. `pause` is called between steps of some tens of milliseconds.
    #[must_use]
    pub fn tree(
        state: &IndexState,
        sample: &[Vec<f32>],
        rows: u64,
        workers: Option<&rayon::ThreadPool>,
        pause: &mut dyn FnMut(),
    ) -> Self {
        let mut mean = Mean::new(state);
        let (mut rotated, mut points) = (Vec::new(), Vec::new());
        for vector in sample {
            mean.add(vector);
            state.quantizer.rotate(vector, &mut rotated);
            let scale = Centre::scale(&rotated, state.metric).filter(|scale| *scale != 0.0);
            if let Some(scale) = scale {
                points.extend(rotated.iter().map(|element| element * scale));
            }
        }
        if points.iter().any(|element| !element.is_finite()) {
            return Self::flat(mean.centre());
        }
        let bits = state.quantizer.code_bits();
        let wanted = (rows / ROWS_PER_LIST).max(2) as usize;
        let found = kmeans(&points, bits, wanted, SEED, workers, pause);
        let lists = (0..found.len()).map(|number| Centre::new(found.get(number).to_vec()));
        Self {
            centre: mean.centre(),
            lists: lists.collect(),
        }
    }

    /// The centroids of the tree's lists.
    #[must_use]
    pub fn into_lists(self) -> Vec<Centre> {
        self.lists
    }

    /// Lists of the tree; 0 of a flat index.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }
}

/// Rows of a table on their way into an index.
pub struct Builder<'p, P: Pages> {
    pages: &'p P,
    state: IndexState,
    lists: Vec<Centre>,
    workers: Option<&'p rayon::ThreadPool>,
    /// Of the list that takes new rows, once it is known that it does not fit block 0.
    writer: Option<ChainWriter<'p, P>>,
    /// Of the tree's lists.
    writers: Vec<ChainWriter<'p, P>>,
    vectors: Vec<f32>,
    places: Vec<(EntryTid, u64)>,
    batch: usize,
    tree_generation: u32,
}

/// A row encoded: for the list that takes new rows, or for one or two lists of the tree.
struct Encoded {
    lists: [Option<u32>; 2],
}

impl<'p, P: Pages> Builder<'p, P> {
    /// Into the empty index whose state this is. `workers` encode.
    pub fn new(
        pages: &'p P,
        mut state: IndexState,
        plan: Plan,
        workers: Option<&'p rayon::ThreadPool>,
    ) -> Self {
        let dimension = state.meta.dimension as usize;
        state.centre = Arc::new(plan.centre);
        let first = state.meta.generations + 1;
        let writer = |number| {
            let (list, generation) = (number as u32 + 1, first + 1 + number as u32);
            ChainWriter::new(pages, state.geometry, list, generation)
        };
        Self {
            pages,
            workers,
            writer: None,
            writers: (0..plan.lists.len()).map(writer).collect(),
            lists: plan.lists,
            vectors: Vec::new(),
            places: Vec::new(),
            batch: (BATCH_BYTES / (dimension * size_of::<f32>())).max(64),
            tree_generation: first,
            state,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, vector: &[f32], tid: EntryTid, signature: u64) -> Result<(), Error> {
        let dimension = self.state.meta.dimension as usize;
        if vector.len() != dimension {
            return Err(Error::DimensionMismatch {
                expected: dimension,
                actual: vector.len(),
            });
        }
        self.vectors.extend_from_slice(vector);
        self.places.push((tid, signature));
        if self.places.len() == self.batch {
            self.write_batch()?;
        }
        Ok(())
    }

    /// Writes what is left and names the lists. The state is the finished index's.
    pub fn finish(mut self) -> Result<IndexState, Error> {
        let inline = self.state.geometry.capacity(Kind::Meta).entries();
        let fits = self.lists.is_empty()
            && self.writer.is_none()
            && self.places.len() <= inline
            && self.state.centre.is_zero();
        if fits {
            self.write_inline()?;
        } else {
            self.write_batch()?;
            self.name_lists()?;
        }
        self.state.refresh(self.pages)?;
        Ok(self.state)
    }

    /// All rows to block 0.
    fn write_inline(&mut self) -> Result<(), Error> {
        let (rows, _) = self.encode()?;
        let bytes = self.state.geometry.row_bytes();
        let mut edit = self.pages.edit();
        let meta = edit.open(META_BLOCK)?;
        let page = edit.bytes_mut(meta)?;
        for row in rows.chunks_exact(2 * bytes) {
            self.state.geometry.append(page, &row[..bytes])?;
        }
        let mut body = Meta::read(page)?;
        body.list.entries = self.places.len() as u64;
        body.write(page);
        edit.commit()
    }

    /// The last step: until here nothing leads to the lists.
    fn name_lists(&mut self) -> Result<(), Error> {
        let generation = self.state.meta.list.generation;
        let centre = write_centre(self.pages, &self.state.centre, generation)?;
        let writer = self.writer.take().unwrap_or_else(|| self.inbox());
        let chain = writer.finish()?;
        let centred = !self.state.centre.is_zero();
        let list = ListHead {
            centre,
            centred: if centred { chain.entries } else { 0 },
            ..chain.head(generation)
        };
        let mut slots = Vec::with_capacity(self.writers.len());
        for writer in std::mem::take(&mut self.writers) {
            let (list, generation) = writer.owner();
            slots.push(slot_of(list, writer.finish()?.head(generation)));
        }
        let tree = if slots.is_empty() {
            None
        } else {
            Some(write_tree(
                self.pages,
                &self.lists,
                &slots,
                self.tree_generation,
            )?)
        };
        update_meta(self.pages, |meta| {
            meta.list = list;
            if let Some((directory, centroids)) = tree {
                meta.directory = directory;
                meta.centroids = centroids;
                meta.tree_generation = self.tree_generation;
                meta.lists = slots.len() as u32;
                meta.generations = self.tree_generation + slots.len() as u32;
                meta.version = 1;
            }
        })?;
        Ok(())
    }

    fn inbox(&self) -> ChainWriter<'p, P> {
        ChainWriter::new(
            self.pages,
            self.state.geometry,
            0,
            self.state.meta.list.generation,
        )
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let (rows, encoded) = self.encode()?;
        let bytes = self.state.geometry.row_bytes();
        for (rows, encoded) in rows.chunks_exact(2 * bytes).zip(encoded) {
            for (row, list) in rows.chunks_exact(bytes).zip(encoded.lists) {
                if let Some(list) = list {
                    self.writers[list as usize].push(row)?;
                }
            }
            if encoded.lists == [None; 2] {
                let inbox = self.writer.take().unwrap_or_else(|| self.inbox());
                self.writer.insert(inbox).push(&rows[..bytes])?;
            }
        }
        self.vectors.clear();
        self.places.clear();
        Ok(())
    }

    /// The batch in row form, room for two entries a row, encoded by the workers; and where they belong.
    fn encode(&self) -> Result<(Vec<u8>, Vec<Encoded>), Error> {
        let dimension = self.state.meta.dimension as usize;
        let bytes = 2 * self.state.geometry.row_bytes();
        let mut rows = vec![0; self.places.len() * bytes];
        let centres: Vec<&Centre> = self.lists.iter().collect();
        let (state, vectors, places) = (&self.state, &self.vectors, &self.places);
        let one =
            |encoder: &mut Encoder, vector: &[f32], place: &(EntryTid, u64), row: &mut [u8]| {
                encode_row(state, &centres, encoder, vector, *place, row)
            };
        let encoded: Result<Vec<Encoded>, Error> = match self.workers {
            None => {
                let mut encoder = Encoder::default();
                let jobs = vectors
                    .chunks(dimension)
                    .zip(places)
                    .zip(rows.chunks_mut(bytes));
                jobs.map(|((vector, place), row)| one(&mut encoder, vector, place, row))
                    .collect()
            }
            Some(workers) => workers.install(|| {
                vectors
                    .par_chunks(dimension)
                    .zip(places)
                    .zip(rows.par_chunks_mut(bytes))
                    .with_min_len(64)
                    .map_init(Encoder::default, |encoder, ((vector, place), row)| {
                        one(encoder, vector, place, row)
                    })
                    .collect()
            }),
        };
        Ok((rows, encoded?))
    }
}

/// Encodes one row for its lists. `entries` has room for two.
fn encode_row(
    state: &IndexState,
    lists: &[&Centre],
    encoder: &mut Encoder,
    vector: &[f32],
    (tid, signature): (EntryTid, u64),
    entries: &mut [u8],
) -> Result<Encoded, Error> {
    let (first_entry, second_entry) = entries.split_at_mut(entries.len() / 2);
    let scale = encoder.rotate(state, vector)?;
    let assigned = scale.and_then(|scale| assign(lists, encoder.rotated(), scale));
    let Some((first, second)) = assigned else {
        first_entry.copy_from_slice(encoder.row(state, &state.centre, tid, signature));
        return Ok(Encoded { lists: [None; 2] });
    };
    first_entry.copy_from_slice(encoder.row(state, lists[first], tid, signature));
    if !read_row(first_entry)?.factors.error.is_finite() {
        // Always looked at: in the one list that always is.
        return Ok(Encoded { lists: [None; 2] });
    }
    if let Some(second) = second {
        second_entry.copy_from_slice(encoder.row(state, lists[second], tid, signature));
    }
    Ok(Encoded {
        lists: [Some(first as u32), second.map(|second| second as u32)],
    })
}

/// Writes a directory and its centroids to new pages: their first blocks.
pub fn write_tree(
    pages: &impl Pages,
    lists: &[Centre],
    slots: &[Slot],
    generation: u32,
) -> Result<(u32, u32), Error> {
    let elements = lists.iter().flat_map(|list| list.rotated().iter().copied());
    let centroids = write_elements(pages, elements, generation)?;
    let (mut first, mut last) = (NO_BLOCK, NO_BLOCK);
    let mut image = vec![0; PAGE];
    for slots in slots.chunks(directory::per_page()) {
        init(&mut image, Kind::Directory, 0, generation);
        for (number, slot) in slots.iter().enumerate() {
            directory::write(&mut image, number, slot)?;
        }
        last = super::chain::append_page(pages, last, &image)?;
        if first == NO_BLOCK {
            first = last;
        }
    }
    Ok((first, centroids))
}
