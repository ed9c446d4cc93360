//! The centroids of a tree's lists in memory, as they are on disk, and which of them are near.
//!
//! A byte for each element and a code of one bit: so that a process can remember ten thousand of them in some megabytes, and look at all of
//! them in some microseconds. The codes tell squared distances about; where it matters the points are asked.
#![forbid(unsafe_code)]

use super::state::IndexState;
use super::topk::{Ordered, TopK};
use crate::kernel::{BLOCK_ENTRIES, kernels};
use crate::layout::centroid;
use crate::layout::entry::EntryTid;
use crate::metric::Metric;
use crate::quantizer::{Centre, QueryCode, Row, block_bytes, encode, pack, row_bytes};

/// How much more a second list whose residual is parallel to the first one's is avoided (SOAR's λ).
const PARALLEL_PENALTY: f32 = 1.5;
/// Both lists of a vector are chosen by distance among so many that are nearest by their codes.
const AMONG: usize = 32;

/// Points in slots, one behind the other.
#[derive(Clone, Debug)]
pub struct Centroids {
    code_bits: usize,
    /// As [`centroid`] lays them out.
    records: Vec<u8>,
    /// Their entries, packed.
    blocks: Vec<u8>,
}

impl Centroids {
    /// None yet, of so many bits.
    #[must_use]
    pub fn new(code_bits: usize) -> Self {
        Self {
            code_bits,
            records: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len() / self.record_bytes()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of one.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        centroid::bytes(self.code_bits)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.capacity() + self.blocks.capacity()
    }

    /// All of them as they are on disk.
    #[must_use]
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    /// Puts bytes of records where they belong, beginning with byte `at`. [`Centroids::pack`] comes after it.
    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.records.resize(self.records.len().max(end), 0);
        self.records[at..end].copy_from_slice(bytes);
    }

    /// Rounds a point, makes its code relative to what queries are prepared for, and makes it number `number`, which is at most the next. Answers its record.
    pub fn put(&mut self, pivot: &Centre, number: usize, mut point: Vec<f32>) -> &[u8] {
        let step = centroid::round(&mut point);
        let mut code = vec![0; self.code_bits / 8];
        let factors = encode(&point, pivot, Metric::Euclidean, &mut code);
        let tid = EntryTid {
            block: number as u32,
            offset: 1,
        };
        let row = Row {
            factors,
            tid: tid.to_bytes(),
            signature: 0,
            code: &code,
        };
        let mut bytes = vec![0; row_bytes(self.code_bits)];
        row.write(&mut bytes);
        let at = number * self.record_bytes();
        self.set(at, &centroid::write(&point, step, &bytes));
        self.pack(&[number]);
        self.record(number)
    }

    fn record(&self, number: usize) -> &[u8] {
        let bytes = self.record_bytes();
        &self.records[number * bytes..][..bytes]
    }

    /// Packs the codes of records that were set; their numbers ascend.
    pub fn pack(&mut self, numbers: &[usize]) {
        let mut packed = None;
        for block in numbers.iter().map(|number| number / BLOCK_ENTRIES) {
            if packed != Some(block) {
                self.pack_block(block);
                packed = Some(block);
            }
        }
    }

    fn pack_block(&mut self, block: usize) {
        let bytes = block_bytes(self.code_bits);
        self.blocks
            .resize(self.blocks.len().max((block + 1) * bytes), 0);
        let records = self.records.chunks_exact(centroid::bytes(self.code_bits));
        let rows: Vec<&[u8]> = records
            .skip(block * BLOCK_ENTRIES)
            .take(BLOCK_ENTRIES)
            .map(|record| centroid::row(record, self.code_bits))
            .collect();
        pack(
            &rows,
            self.code_bits,
            &mut self.blocks[block * bytes..][..bytes],
        );
    }

    /// One of them.
    #[must_use]
    pub fn centre(&self, number: usize) -> Centre {
        let mut elements = Vec::with_capacity(self.code_bits);
        self.read(number, &mut elements);
        Centre::new(elements)
    }

    /// Writes the elements of one behind `to`.
    pub fn read(&self, number: usize, to: &mut Vec<f32>) {
        centroid::read(self.record(number), self.code_bits, to);
    }

    fn squared_norm(&self, number: usize) -> f32 {
        centroid::squared_norm(self.record(number))
    }

    /// How near each is to a query, about, smaller is nearer: squared distances, or under dotproduct what its key has beside that of
    /// the vectors' own part.
    pub fn keys(&self, query: &QueryCode, metric: Metric, keys: &mut Vec<f32>) {
        let of_block = query.squared_distances();
        let scan = kernels().scan_block;
        keys.clear();
        let mut estimates = [0.0; BLOCK_ENTRIES];
        for block in self.blocks.chunks_exact(block_bytes(self.code_bits)) {
            scan(block, &of_block, f32::INFINITY, &mut estimates);
            keys.extend_from_slice(&estimates);
        }
        keys.truncate(self.len());
        if metric == Metric::DotProduct {
            for (number, key) in keys.iter_mut().enumerate() {
                *key = (*key - self.squared_norm(number)) / 2.0;
            }
        }
    }
}

/// Chooses lists for vectors; its buffers are used again for the next.
#[derive(Default)]
pub struct Assigner {
    query: QueryCode,
    /// Elements of those that are near.
    points: Vec<f32>,
    residual: Vec<f32>,
}

impl Assigner {
    /// The nearest centroid to a rotated vector among those that are used, and a second by SOAR's loss (Sun et al., "SOAR: Improved Indexing
    /// for Approximate Nearest Neighbor Search", NeurIPS 2023): ‖x − c‖² + λ · ⟨x − c, r⟩² / ‖r‖², r being the residual of the first.
    /// None if the vector can be compared with none.
    pub fn assign(
        &mut self,
        state: &IndexState,
        centroids: &Centroids,
        is_used: impl Fn(usize) -> bool,
        rotated: &[f32],
    ) -> Option<(usize, Option<usize>)> {
        let scale = Centre::scale(rotated, state.metric)?;
        if scale == 0.0 {
            // It has no distance to anything: it may be anywhere.
            return (0..centroids.len())
                .find(|number| is_used(*number))
                .map(|first| (first, None));
        }
        self.query
            .prepare(rotated, &state.centre, state.metric, 0.0);
        let near = near(&self.query, centroids, is_used);
        let dot = kernels().dot;
        let vector = self.query.scaled();
        let bits = centroids.code_bits;
        self.points.clear();
        for &number in &near {
            centroids.read(number, &mut self.points);
        }
        let point = |place: usize| &self.points[place * bits..][..bits];
        // ‖x − c‖² − ‖x‖²
        let keys: Vec<f32> = (0..near.len())
            .map(|place| centroids.squared_norm(near[place]) - 2.0 * dot(vector, point(place)))
            .collect();
        let first = (0..near.len()).min_by(|&a, &b| keys[a].total_cmp(&keys[b]))?;
        self.residual.clear();
        let pairs = vector.iter().zip(point(first));
        self.residual.extend(pairs.map(|(x, c)| x - c));
        let squares = dot(&self.residual, &self.residual).max(f32::MIN_POSITIVE);
        let along = dot(vector, &self.residual);
        let loss = |place: usize| {
            let parallel = along - dot(point(place), &self.residual);
            keys[place] + PARALLEL_PENALTY * parallel * parallel / squares
        };
        let second = (0..near.len())
            .filter(|place| *place != first)
            .map(|place| (loss(place), place))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        Some((near[first], second.map(|(_, place)| near[place])))
    }
}

/// The [`AMONG`] nearest by their codes.
fn near(query: &QueryCode, centroids: &Centroids, is_used: impl Fn(usize) -> bool) -> Vec<usize> {
    let scan = kernels().scan_block;
    let of_block = query.squared_distances();
    let mut best: TopK<(Ordered, usize)> = TopK::new(AMONG);
    let mut threshold = f32::INFINITY;
    let mut estimates = [0.0; BLOCK_ENTRIES];
    let blocks = centroids
        .blocks
        .chunks_exact(block_bytes(centroids.code_bits));
    for (number, block) in blocks.enumerate() {
        let mut lanes = scan(block, &of_block, threshold, &mut estimates);
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let number = number * BLOCK_ENTRIES + lane;
            if number < centroids.len() && is_used(number) {
                best.push((Ordered(estimates[lane]), number));
            }
        }
        threshold = best.worst().map_or(f32::INFINITY, |worst| worst.0.0);
    }
    let best = best.into_sorted_vec();
    best.into_iter().map(|(_, number)| number).collect()
}
