//! The centroids of a tree's lists in memory, as they are on disk, and which of them are near.
//!
//! A byte for each element and a code of one bit: so that a process can remember ten thousand of them in some megabytes, and look at all of
//! them in some microseconds. The codes tell squared distances about; where it matters the points are asked.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::kernel::{BLOCK_ENTRIES, kernels};
use crate::layout::centroid;
use crate::layout::entry::{EntryTid, block_error};
use crate::metric::Metric;
use crate::quantizer::{Centre, QueryCode, Row, block_bytes, encode, pack, row_bytes};

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

    /// Elements of a point, and bits of its code.
    #[must_use]
    pub fn code_bits(&self) -> usize {
        self.code_bits
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

    /// Finds records that were set to be those of points.
    pub fn check(&self, numbers: &[usize]) -> Result<(), Error> {
        numbers
            .iter()
            .try_for_each(|number| centroid::check(self.record(*number), self.code_bits))
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

    /// ‖c‖² of one.
    #[must_use]
    pub fn squared_norm(&self, number: usize) -> f32 {
        centroid::squared_norm(self.record(number))
    }

    /// Calls `found` with the number of each whose code tells a squared distance to a query that is not above the threshold, and with what the
    /// code tells of it; `found` answers the next threshold.
    pub fn scan(&self, query: &QueryCode, found: &mut dyn FnMut(usize, f32) -> f32) {
        let scan = kernels().scan_block;
        let of_block = query.squared_distances(0.0);
        let mut threshold = f32::INFINITY;
        let mut estimates = [0.0; BLOCK_ENTRIES];
        let blocks = self.blocks.chunks_exact(block_bytes(self.code_bits));
        for (number, block) in blocks.enumerate() {
            let mut lanes = scan(block, &of_block, threshold, &mut estimates);
            while lanes != 0 {
                let lane = lanes.trailing_zeros() as usize;
                lanes &= lanes - 1;
                let number = number * BLOCK_ENTRIES + lane;
                if number < self.len() {
                    threshold = found(number, estimates[lane]);
                }
            }
        }
    }

    /// The squared distances of all to a query as their codes tell them, and one standard deviation of each.
    pub fn estimates(&self, query: &QueryCode, estimates: &mut Vec<(f32, f32)>) {
        let scan = kernels().scan_block;
        let of_block = query.squared_distances(1.0);
        estimates.clear();
        let mut of_one = [0.0; BLOCK_ENTRIES];
        for block in self.blocks.chunks_exact(block_bytes(self.code_bits)) {
            scan(block, &of_block, f32::INFINITY, &mut of_one);
            let deviation = |lane| of_block.slack * block_error(block, lane);
            let lanes = of_one.iter().enumerate();
            estimates.extend(lanes.map(|(lane, estimate)| (*estimate, deviation(lane))));
        }
        estimates.truncate(self.len());
    }

    /// ‖x − c‖² − ‖x‖² for a rotated vector x. `point` is room for the elements of c.
    #[must_use]
    pub fn distance(&self, number: usize, vector: &[f32], point: &mut Vec<f32>) -> f32 {
        point.clear();
        self.read(number, point);
        self.squared_norm(number) - 2.0 * (kernels().dot)(vector, point)
    }
}
