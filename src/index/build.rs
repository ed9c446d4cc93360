//! Building an index at once: entries encoded on all cores, written page by page.
//!
//! A flat index takes them in the order of the rows. The first rows are held until there are enough of them for a centre, or no more come:
//! then they go to block 0, if they fit. A tree's lists are written side by side, each with the page that it is filling in memory. Memory
//! is bounded by the batch and these pages, whatever the size of the table.
#![forbid(unsafe_code)]

use super::assign::Assigner;
use super::centroids::Centroids;
use super::chain::{ChainWriter, write_bytes, write_centre};
use super::insert::Encoder;
use super::pages::{Edit, Pages};
use super::plan::Plan;
use super::state::IndexState;
use super::tree::slot_of;
use super::vacuum::update_meta;
use crate::error::Error;
use crate::layout::directory::Slot;
use crate::layout::entry::{EntryTid, read_row};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init};
use crate::layout::{META_BLOCK, NO_BLOCK, PAGE, directory};
use crate::stop_point::StopPoint;
use rayon::prelude::*;

/// Bytes of vectors encoded together. Large enough to keep the cores busy between two meetings, small beside
/// the least maintenance_work_mem.
const BATCH_BYTES: usize = 4 << 20;

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
    /// Rows that belong to no list, in row form, where these are not to be written.
    unlisted: Option<Vec<u8>>,
}

/// A tree's pages, written and not yet named.
pub struct NewTree {
    directory: u32,
    centroids: u32,
    generation: u32,
    lists: u32,
    copies: u32,
    rows: u64,
    /// Rows that belong to no list, in row form: for the list that takes new entries.
    pub unlisted: Vec<u8>,
}

impl NewTree {
    /// Makes it the index's tree.
    pub fn name(&self, meta: &mut Meta) {
        meta.directory = self.directory;
        meta.centroids = self.centroids;
        meta.tree_generation = self.generation;
        meta.version = meta.version.wrapping_add(1);
        meta.copies = self.copies;
        meta.chosen = self.rows;
        // Taken before where others might take numbers meanwhile.
        meta.generations = meta.generations.max(self.generation + self.lists);
        meta.lists = meta.lists.max(self.lists);
    }
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
        let (first, lists) = (state.meta.generations + 1, state.meta.lists);
        let writer = |number| {
            let (list, generation) = (lists + number as u32 + 1, first + 1 + number as u32);
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
            unlisted: None,
            state,
        }
    }

    /// The lists of another tree for an index that has one. The next list numbers and one generation more have been taken for it.
    pub fn aside(pages: &'p P, state: IndexState, plan: Plan) -> Self {
        Self {
            unlisted: Some(Vec::new()),
            ..Self::new(pages, state, plan, None)
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
        edit.commit(StopPoint::BuiltInline)
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
        let tree = if self.writers.is_empty() {
            None
        } else {
            Some(self.write_tree()?)
        };
        update_meta(self.pages, StopPoint::BuiltLists, |meta| {
            meta.list = list;
            if let Some(mut tree) = tree {
                tree.rows += list.entries;
                tree.name(meta);
            }
        })?;
        Ok(())
    }

    /// Writes what is left; nothing leads to it yet.
    pub fn finish_aside(mut self) -> Result<NewTree, Error> {
        self.write_batch()?;
        self.write_tree()
    }

    fn write_tree(&mut self) -> Result<NewTree, Error> {
        let (mut slots, mut entries) = (Vec::with_capacity(self.writers.len()), 0);
        for writer in std::mem::take(&mut self.writers) {
            let (list, generation) = writer.owner();
            let slot = slot_of(list, writer.finish()?.head(generation));
            entries += slot.head.entries;
            slots.push(slot);
        }
        let (copies, generation) = (self.state.meta.copies, self.tree_generation);
        let (directory, centroids) = write_tree(self.pages, &self.centroids, &slots, generation)?;
        Ok(NewTree {
            directory,
            centroids,
            generation,
            lists: slots.len() as u32,
            copies,
            rows: entries / u64::from(copies.max(1)),
            unlisted: self.unlisted.take().unwrap_or_default(),
        })
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
            if encoded.lists != [None; 2] {
                continue;
            }
            if let Some(unlisted) = &mut self.unlisted {
                unlisted.extend_from_slice(&rows[..bytes]);
            } else {
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
