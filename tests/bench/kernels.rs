//! Distance kernels, code scans, rotation and encoding: time per vector and throughput, beside what this machine's memory
//! gives one core.
//!
//! `cargo bench --no-default-features --bench kernels` takes about two minutes; `-- FILTER` names some of the rows, and
//! `cargo test --no-default-features --bench kernels` runs each once. `CONIFER_SIMD` chooses the kernels as it does in the
//! server. Every scan is measured over data that fits a core's second cache, the third, and neither.
#![forbid(unsafe_code)]

use conifer::kernel::{BLOCK_ENTRIES, kernels};
use conifer::metric::Metric;
use conifer::quantizer::{
    Centre, Factors, Quantizer, QueryCode, Row, block_bytes, encode, pack, row_bytes,
};
use criterion::Criterion;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Where the data lie, and how many bytes of them there are.
const PLACES: [(&str, usize); 3] = [("L2", 200 << 10), ("L3", 6 << 20), ("memory", 192 << 20)];

/// One measurement.
struct Line {
    name: String,
    /// Of one pass.
    nanoseconds: f64,
    vectors: usize,
    bytes: usize,
}

struct Bench {
    criterion: Criterion,
    lines: Vec<Line>,
}

impl Bench {
    /// Measures `pass`, which goes through so many vectors in so many bytes.
    fn measure(&mut self, name: String, vectors: usize, bytes: usize, mut pass: impl FnMut()) {
        let mut best = f64::INFINITY;
        self.criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|passes| {
                let start = Instant::now();
                (0..passes).for_each(|_| pass());
                let elapsed = start.elapsed();
                best = best.min(elapsed.as_nanos() as f64 / passes as f64);
                elapsed
            });
        });
        if best.is_finite() {
            self.lines.push(Line {
                name,
                nanoseconds: best,
                vectors,
                bytes,
            });
        }
    }
}

/// So many bytes of so long items, each a copy of one of those in `some`.
fn fill<T: Copy>(some: &[T], item: usize, bytes: usize) -> Vec<T> {
    let items = (bytes / (item * size_of::<T>())).max(1);
    let mut all = Vec::with_capacity(items * item);
    while all.len() < items * item {
        let more = some.len().min(items * item - all.len());
        all.extend_from_slice(&some[..more]);
    }
    all
}

/// Numbers between −1 and 1, without rhyme.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / 2f32.powi(31) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn distances(bench: &mut Bench) {
    let table = kernels();
    let two = |(dot, norm): (f32, f32)| dot + norm;
    for dimension in [384, 1536] {
        let (query, some) = (numbers(dimension), numbers(64 * dimension));
        for (place, bytes) in PLACES {
            let data = fill(&some, dimension, bytes);
            let mut scan = |name: &str, kernel: &dyn Fn(&[f32], &[f32]) -> f32| {
                let name = format!("{name}/{dimension}/{place}");
                bench.measure(name, data.len() / dimension, 4 * data.len(), || {
                    let vectors = data.chunks_exact(dimension);
                    black_box(vectors.map(|vector| kernel(&query, vector)).sum::<f32>());
                });
            };
            scan("l2_squared", &table.l2_squared);
            scan("dot", &table.dot);
            scan("dot_and_norm", &|a, b| two((table.dot_and_norm)(a, b)));
        }
    }
}

/// A query, and entries in row form.
fn entries(dimension: usize, count: usize) -> (Quantizer, QueryCode, Vec<Vec<u8>>) {
    let quantizer = Quantizer::new(dimension, 1);
    let bits = quantizer.code_bits();
    let centre = Centre::zero(bits);
    let (mut rotated, mut query) = (Vec::new(), QueryCode::default());
    let vectors = numbers((count + 1) * dimension);
    let mut rows = Vec::new();
    for vector in vectors.chunks_exact(dimension) {
        quantizer.rotate(vector, &mut rotated);
        let mut code = vec![0; bits / 8];
        let factors = encode(&rotated, &centre, Metric::Cosine, &mut code);
        let mut row = vec![0; row_bytes(bits)];
        Row {
            factors,
            tid: [0; 6],
            signature: 0,
            code: &code,
        }
        .write(&mut row);
        rows.push(row);
    }
    query.prepare(&rotated, &centre, Metric::Cosine, 2.5);
    (quantizer, query, rows)
}

fn codes(bench: &mut Bench) {
    let table = kernels();
    for dimension in [64, 256, 384, 768, 1536] {
        let (quantizer, query, rows) = entries(dimension, BLOCK_ENTRIES);
        let bits = quantizer.code_bits();
        let mut block = vec![0; block_bytes(bits)];
        let some: Vec<&[u8]> = rows[..BLOCK_ENTRIES].iter().map(Vec::as_slice).collect();
        pack(&some, bits, &mut block);
        let query = query.block();
        for (place, bytes) in PLACES {
            let data = fill(&block, block.len(), bytes);
            let vectors = data.len() / block.len() * BLOCK_ENTRIES;
            let name = format!("scan_block/{dimension}/{place}");
            bench.measure(name, vectors, data.len(), || {
                let mut estimates = [0.0; BLOCK_ENTRIES];
                let blocks = data.chunks_exact(block.len());
                let found = blocks.map(|block| {
                    (table.scan_block)(block, &query, 0.5, &mut estimates).count_ones()
                });
                black_box(found.sum::<u32>());
            });
        }
    }
    for dimension in [384, 768, 3072] {
        let (_, query, rows) = entries(dimension, 64);
        let (some, length) = (rows.concat(), rows[0].len());
        for (place, bytes) in PLACES {
            let data = fill(&some, length, bytes);
            let name = format!("scan_row/{dimension}/{place}");
            bench.measure(name, data.len() / length, data.len(), || {
                let rows = data.chunks_exact(length).filter_map(Row::read);
                let bounds = rows.map(|row| query.row(table, row.code, row.factors));
                black_box(bounds.filter(|bound| bound.may_reach(0.5)).count());
            });
        }
    }
}

fn making(bench: &mut Bench) {
    for dimension in [384, 768, 1024, 1536] {
        let (quantizer, mut query, rows) = entries(dimension, BLOCK_ENTRIES);
        let (vector, bits) = (numbers(dimension), quantizer.code_bits());
        let (mut rotated, mut code) = (Vec::new(), vec![0; bits / 8]);
        let bytes = 4 * dimension;
        bench.measure(format!("rotate/{dimension}"), 1, bytes, || {
            quantizer.rotate(black_box(&vector), &mut rotated);
        });
        quantizer.rotate(&vector, &mut rotated);
        let centre = Centre::zero(bits);
        bench.measure(format!("encode/{dimension}"), 1, bytes, || {
            black_box::<Factors>(encode(&rotated, &centre, Metric::Cosine, &mut code));
        });
        bench.measure(format!("prepare/{dimension}"), 1, bytes, || {
            query.prepare(black_box(&rotated), &centre, Metric::Cosine, 2.5);
        });
        let some: Vec<&[u8]> = rows[..BLOCK_ENTRIES].iter().map(Vec::as_slice).collect();
        let mut block = vec![0; block_bytes(bits)];
        let name = format!("pack/{dimension}");
        bench.measure(name, BLOCK_ENTRIES, block.len(), || {
            pack(black_box(&some), bits, &mut block);
        });
    }
}

/// Bytes a nanosecond of one core that only adds up what it reads, from memory.
fn bandwidth() -> f64 {
    let data = vec![1u64; PLACES[2].1 / 8];
    let pass = || {
        let start = Instant::now();
        let mut sums = [0u64; 8];
        for chunk in black_box(&data).as_chunks::<8>().0 {
            for (sum, number) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*number);
            }
        }
        black_box(sums);
        size_of_val(data.as_slice()) as f64 / start.elapsed().as_nanos() as f64
    };
    (0..24).map(|_| pass()).fold(0.0, f64::max)
}

fn main() {
    let bandwidth = bandwidth();
    let criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .without_plots()
        .configure_from_args();
    let mut bench = Bench {
        criterion,
        lines: Vec::new(),
    };
    making(&mut bench);
    codes(&mut bench);
    distances(&mut bench);
    bench.criterion.final_summary();

    println!("kernels: {}", kernels().name);
    println!("memory, one core reading: {bandwidth:.1} bytes/ns");
    println!(
        "{:<26}{:>12}{:>12}{:>10}{:>18}",
        "", "ns/vector", "vectors/ns", "bytes/ns", "of memory's rate"
    );
    for line in &bench.lines {
        let each = line.nanoseconds / line.vectors as f64;
        let rate = line.bytes as f64 / line.nanoseconds;
        println!(
            "{:<26}{each:>12.2}{:>12.4}{rate:>10.1}{:>17.0}%",
            line.name,
            1.0 / each,
            100.0 * rate / bandwidth
        );
    }
}
