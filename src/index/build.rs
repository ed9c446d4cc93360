//! Building an index at once: entries encoded on all cores, written page by page.
//!
//! A flat index takes them in the order of the rows. The first rows are held until there are enough of them for a centre, or no more come:
//! then they go to block 0, if they fit. A tree's lists are written side by side, each with the page that it is filling in memory. Memory
//! is bounded by the batch and these pages, whatever the size of the table.
#![forbid(unsafe_code)]

use super::assign::{Assigner, Coded};
use super::centroids::Centroids;
use super::chain::{ChainWriter, write_bytes, write_centre};
use super::insert::Encoder;
use super::pages::{Edit, Pages};
use super::state::IndexState;
use super::tree::slot_of;
use super::vacuum::{Mean, update_meta};
use crate::error::Error;
use crate::kmeans::Kmeans;
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

/// From so many rows on an index is a tree, unless told otherwise. With one entry for each row it is as large as a flat index, but for a tenth; at
/// 62,000 real vectors of 384 dimensions it answers a recall goal of 0.95 in two fifths of a flat index's time and the default of 0.99 in three
/// quarters of it, at 40,000 in three fifths and nine tenths, at 20,000 in none less.
pub const TREE_ROWS: u64 = 40_000;
/// From so many times as many rows on each has two entries: at 400,000 real vectors of 256 dimensions that halves the time for a goal of 0.99, but
/// doubles the room, and at 62,000 it spares a third.
const TWO_COPIES: u64 = 3;
/// Rows of a sample for each list that lists are chosen by, …
pub const SAMPLE_PER_LIST: u64 = 32;
/// … and the fewest that one can be chosen by.
const LEAST_SAMPLE_PER_LIST: usize = 8;
/// Rounds of the choice of lists. With points taken at random instead, a recall of 0.99 takes half as many lists again at 400,000 real
/// vectors; more rounds change nothing that two seeds do not.
const ROUNDS: usize = 4;
/// Seed of the choice of lists.
const SEED: u64 = 0x7ee5;

/// How many entries in a tree's lists each of so many rows has, if it is a tree from `tree_rows` on.
#[must_use]
pub fn copies(rows: u64, tree_rows: u64) -> u32 {
    if rows < tree_rows.saturating_mul(TWO_COPIES) {
        1
    } else {
        2
    }
}

/// Rows for each list of a tree of so many rows and entries for each.
///
/// The finer the lists, the fewer entries hold what a query is near to, and the more centroids there are to be compared and remembered: up to
/// some thousand lists these cost nothing to speak of, beyond both grow together. Where rows have one entry more of the lists are looked at, and coarser
/// ones are as good.
#[must_use]
pub fn rows_per_list(rows: u64, copies: u32) -> u64 {
    const FEW: f64 = 100.0;
    const FEW_OF_ONE_ENTRY: f64 = 300.0;
    const MANY_LISTS: f64 = 8192.0;
    let few = if copies < 2 { FEW_OF_ONE_ENTRY } else { FEW };
    let beyond = (rows as f64 / (few * MANY_LISTS)).max(1.0);
    (few * beyond.sqrt()) as u64
}

/// How an index is laid out.
pub struct Plan {
    /// What codes of the list that takes new rows are relative to.
    centre: Arc<Centre>,
    /// Of a tree's lists; none of a flat index.
    centroids: Centroids,
    /// Entries of each row there.
    copies: u32,
}

/// Vectors that lists are chosen by.
pub struct Sample<'s> {
    mean: Mean<'s>,
    state: &'s IndexState,
    rotated: Vec<f32>,
    points: Vec<f32>,
}

impl<'s> Sample<'s> {
    /// No vectors yet.
    #[must_use]
    pub fn new(state: &'s IndexState) -> Self {
        Self {
            mean: Mean::new(state),
            state,
            rotated: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Adds a vector.
    pub fn add(&mut self, vector: &[f32]) {
        self.mean.add(vector);
        self.state.quantizer.rotate(vector, &mut self.rotated);
        let scale = Centre::scale(&self.rotated, self.state.metric).filter(|scale| *scale != 0.0);
        if let Some(scale) = scale {
            self.points
                .extend(self.rotated.iter().map(|element| element * scale));
        }
    }
}

impl Plan {
    /// A flat index, its codes relative to the mean of a sample, or to the origin.
    #[must_use]
    pub fn flat(state: &IndexState, centre: Centre) -> Self {
        Self {
            centre: Arc::new(centre),
            centroids: Centroids::new(state.quantizer.code_bits()),
            copies: 0,
        }
    }

    /// At most so many lists, chosen by a sample; fewer if that is small. Each row is to have so many entries in them. `centre` is what codes of the list that takes new rows are relative to
    /// already, if they are. `pause` is called between steps of some tens of milliseconds.
    #[must_use]
    pub fn tree(
        sample: Sample<'_>,
        centre: Option<Arc<Centre>>,
        (lists, copies): (u64, u32),
        workers: Option<&rayon::ThreadPool>,
        pause: &mut dyn FnMut(),
    ) -> Self {
        let Sample {
            mean,
            state,
            points,
            ..
        } = sample;
        let centre = centre.unwrap_or_else(|| Arc::new(mean.centre()));
        let bits = state.quantizer.code_bits();
        let mut centroids = Centroids::new(bits);
        if points.iter().all(|element| element.abs() < LARGEST_ELEMENT) {
            let most = points.len() / bits / LEAST_SAMPLE_PER_LIST;
            let wanted = usize::try_from(lists).unwrap_or(most).min(most).max(2);
            let mut kmeans = Kmeans {
                dimension: bits,
                seed: SEED,
                workers,
                pause,
            };
            let found =
                kmeans.choose_by(&points, wanted, ROUNDS, |found| Coded::new(&found, &centre));
            centroids = Coded::new(&found, &centre).into_centroids();
        }
        Self {
            centre,
            copies: if centroids.is_empty() { 0 } else { copies },
            centroids,
        }
    }

    /// The centroids of the tree's lists.
    #[must_use]
    pub fn into_centroids(self) -> Centroids {
        self.centroids
    }

    /// Lists of the tree; 0 of a flat index.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.centroids.len()
    }
}

/// Squared distances of vectors with larger elements overflow, and no lists can be chosen by them.
const LARGEST_ELEMENT: f32 = 1e15;

/// Rows of a table on their way into an index.
pub struct Builder<'p, P: Pages> {
    pages: &'p P,
    state: IndexState,
    centroids: Centroids,
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
        state.centre = plan.centre;
        state.meta.copies = plan.copies;
        let first = state.meta.generations + 1;
        let writer = |number| {
            let (list, generation) = (number as u32 + 1, first + 1 + number as u32);
            ChainWriter::new(pages, state.geometry, list, generation)
        };
        Self {
            pages,
            workers,
            writer: None,
            writers: (0..plan.centroids.len()).map(writer).collect(),
            centroids: plan.centroids,
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
        let fits = self.centroids.is_empty()
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
        let copies = self.state.meta.copies;
        let mut slots = Vec::with_capacity(self.writers.len());
        for writer in std::mem::take(&mut self.writers) {
            let (list, generation) = writer.owner();
            slots.push(slot_of(list, writer.finish()?.head(generation), copies));
        }
        let tree = if slots.is_empty() {
            None
        } else {
            Some(write_tree(
                self.pages,
                &self.centroids,
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
                meta.copies = copies;
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
        let (state, vectors, places) = (&self.state, &self.vectors, &self.places);
        let centroids = &self.centroids;
        let one = |tools: &mut Tools, vector: &[f32], place: &(EntryTid, u64), row: &mut [u8]| {
            encode_row(state, centroids, tools, vector, *place, row)
        };
        let encoded: Result<Vec<Encoded>, Error> = match self.workers {
            None => {
                let mut tools = Tools::default();
                let jobs = vectors
                    .chunks(dimension)
                    .zip(places)
                    .zip(rows.chunks_mut(bytes));
                jobs.map(|((vector, place), row)| one(&mut tools, vector, place, row))
                    .collect()
            }
            Some(workers) => workers.install(|| {
                vectors
                    .par_chunks(dimension)
                    .zip(places)
                    .zip(rows.par_chunks_mut(bytes))
                    .with_min_len(64)
                    .map_init(Tools::default, |tools, ((vector, place), row)| {
                        one(tools, vector, place, row)
                    })
                    .collect()
            }),
        };
        Ok((rows, encoded?))
    }
}

/// What one thread encodes with.
type Tools = (Encoder, Assigner);

/// Encodes one row for its lists. `entries` has room for two.
fn encode_row(
    state: &IndexState,
    centroids: &Centroids,
    (encoder, assigner): &mut Tools,
    vector: &[f32],
    (tid, signature): (EntryTid, u64),
    entries: &mut [u8],
) -> Result<Encoded, Error> {
    let (first_entry, second_entry) = entries.split_at_mut(entries.len() / 2);
    encoder.rotate(state, vector)?;
    let assigned = assigner.assign(state, centroids, |_| true, encoder.rotated());
    let Some((first, second)) = assigned else {
        first_entry.copy_from_slice(encoder.row(state, &state.centre, tid, signature));
        return Ok(Encoded { lists: [None; 2] });
    };
    let mut write = |list: usize, entry: &mut [u8]| -> Result<bool, Error> {
        entry.copy_from_slice(encoder.row(state, &centroids.centre(list), tid, signature));
        Ok(read_row(entry)?.factors.error.is_finite())
    };
    let known = write(first, first_entry)?
        && match second {
            Some(second) => write(second, second_entry)?,
            None => true,
        };
    if !known {
        // Always looked at: in the one list that always is.
        first_entry.copy_from_slice(encoder.row(state, &state.centre, tid, signature));
        return Ok(Encoded { lists: [None; 2] });
    }
    Ok(Encoded {
        lists: [Some(first as u32), second.map(|second| second as u32)],
    })
}

/// Writes a directory and its centroids to new pages: their first blocks.
pub fn write_tree(
    pages: &impl Pages,
    centroids: &Centroids,
    slots: &[Slot],
    generation: u32,
) -> Result<(u32, u32), Error> {
    let centroids = write_bytes(pages, centroids.records(), generation)?;
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
