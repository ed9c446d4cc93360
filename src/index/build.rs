//! Building an index at once: entries encoded on all cores, written page by page in the order of the rows.
//!
//! The first rows are held until there are enough of them for a centre, or no more come: then they go to block 0, if they
//! fit. Memory is bounded by the batch, whatever the size of the table.
#![forbid(unsafe_code)]

use super::chain::{ChainWriter, write_centre};
use super::insert::Encoder;
use super::pages::{Edit, Pages};
use super::state::IndexState;
use super::vacuum::update_meta;
use crate::error::Error;
use crate::layout::META_BLOCK;
use crate::layout::entry::EntryTid;
use crate::layout::meta::ListHead;
use crate::quantizer::Centre;
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes of vectors encoded together. Large enough to keep the cores busy between two meetings, small beside
/// the least maintenance_work_mem.
const BATCH_BYTES: usize = 4 << 20;

/// Rows of a table on their way into an index.
pub struct Builder<'p, P: Pages> {
    pages: &'p P,
    state: IndexState,
    workers: Option<&'p rayon::ThreadPool>,
    writer: Option<ChainWriter<'p, P>>,
    vectors: Vec<f32>,
    places: Vec<(EntryTid, u64)>,
    batch: usize,
}

impl<'p, P: Pages> Builder<'p, P> {
    /// Into the empty index whose state this is. `centre` is the mean of a sample of the rows, or the origin if they are few;
    /// `workers` encode.
    pub fn new(
        pages: &'p P,
        mut state: IndexState,
        centre: Centre,
        workers: Option<&'p rayon::ThreadPool>,
    ) -> Self {
        let dimension = state.meta.dimension as usize;
        state.centre = Arc::new(centre);
        Self {
            pages,
            workers,
            writer: None,
            vectors: Vec::new(),
            places: Vec::new(),
            batch: (BATCH_BYTES / (dimension * size_of::<f32>())).max(64),
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

    /// Writes what is left and names the list. The state is the finished index's.
    pub fn finish(mut self) -> Result<IndexState, Error> {
        let capacity = self
            .state
            .geometry
            .capacity(crate::layout::page::Kind::Meta);
        let inline = capacity.blocks * crate::kernel::BLOCK_ENTRIES + capacity.rows;
        let fits =
            self.writer.is_none() && self.places.len() <= inline && self.state.centre.is_zero();
        if fits {
            self.write_inline()?;
        } else {
            self.write_batch()?;
        }
        if let Some(writer) = self.writer.take() {
            let generation = self.state.meta.list.generation;
            let centre = write_centre(self.pages, &self.state.centre, generation)?;
            let chain = writer.finish()?;
            update_meta(self.pages, |meta| {
                meta.list = ListHead {
                    first: chain.first,
                    last: chain.last,
                    centre,
                    entries: chain.entries,
                    centred: if self.state.centre.is_zero() {
                        0
                    } else {
                        chain.entries
                    },
                    ..meta.list
                };
            })?;
        }
        self.state.refresh(self.pages)?;
        Ok(self.state)
    }

    /// All rows to block 0.
    fn write_inline(&mut self) -> Result<(), Error> {
        let rows = self.encode()?;
        let mut edit = self.pages.edit();
        let meta = edit.open(META_BLOCK)?;
        let page = edit.bytes_mut(meta)?;
        for row in rows.chunks_exact(self.state.geometry.row_bytes()) {
            self.state.geometry.append(page, row)?;
        }
        let mut body = crate::layout::meta::Meta::read(page)?;
        body.list.entries = self.places.len() as u64;
        body.write(page);
        edit.commit()
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let rows = self.encode()?;
        let state = &self.state;
        let writer = self.writer.get_or_insert_with(|| {
            ChainWriter::new(self.pages, state.geometry, state.meta.list.generation)
        });
        for row in rows.chunks_exact(state.geometry.row_bytes()) {
            writer.push(row)?;
        }
        self.vectors.clear();
        self.places.clear();
        Ok(())
    }

    /// The batch in row form, encoded by the workers.
    fn encode(&self) -> Result<Vec<u8>, Error> {
        let dimension = self.state.meta.dimension as usize;
        let bytes = self.state.geometry.row_bytes();
        let mut rows = vec![0; self.places.len() * bytes];
        let (state, vectors, places) = (&self.state, &self.vectors, &self.places);
        let jobs = vectors.chunks(dimension).zip(places);
        match self.workers {
            None => {
                let mut encoder = Encoder::default();
                for ((vector, &(tid, signature)), row) in jobs.zip(rows.chunks_mut(bytes)) {
                    row.copy_from_slice(encoder.encode(state, vector, tid, signature)?);
                }
            }
            Some(workers) => workers.install(|| {
                vectors
                    .par_chunks(dimension)
                    .zip(places)
                    .zip(rows.par_chunks_mut(bytes))
                    .with_min_len(64)
                    .try_for_each_init(
                        Encoder::default,
                        |encoder, ((vector, &(tid, signature)), row)| {
                            row.copy_from_slice(encoder.encode(state, vector, tid, signature)?);
                            Ok(())
                        },
                    )
            })?,
        }
        Ok(rows)
    }
}
