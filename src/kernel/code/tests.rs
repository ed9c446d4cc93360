//! Every table this CPU can run against naive code: awkward numbers of dimensions, every alignment, extreme numbers.
#![forbid(unsafe_code)]

use super::{BLOCK_ENTRIES, BlockQuery, CODES, FACTOR, GROUP};
use crate::kernel::dispatch::{available, choose};
use crate::kernel::tests::{Random, STRIDE};

/// Dimensions, multiples of 64: one register of the widest kind, a few, common sizes, both sides of where sums are
/// widened (1024, 2048 and 4096 for one, two and four groups a register in `scan_block`; 1024 … 4096 in `scan_row`), the
/// widest that is kept in blocks, and the largest.
const AWKWARD_DIMENSIONS: &[usize] = &[
    0, 64, 128, 192, 256, 320, 384, 768, 960, 1024, 1088, 1536, 1792, 2048, 2112, 4096, 4160, 8256,
    20_032,
];

/// Those, in Miri fewer.
fn dimensions() -> impl Iterator<Item = usize> {
    let most = if cfg!(miri) { 192 } else { usize::MAX };
    AWKWARD_DIMENSIONS
        .iter()
        .copied()
        .filter(move |dimensions| *dimensions <= most)
}

/// Alignments of data of so many dimensions.
fn shifts(dimensions: usize) -> impl Iterator<Item = usize> {
    (0..if dimensions > 2000 { 2 } else { 65 }).step_by(STRIDE)
}

impl Random {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.bits() >> 56) as u8).collect()
    }
}

/// A block of random codes and the given factors, `shift` bytes into a buffer.
fn block(random: &mut Random, dimensions: usize, factors: [f32; 3], shift: usize) -> Vec<u8> {
    let mut block = random.bytes(shift + CODES + 4 * dimensions);
    for (array, factor) in factors.into_iter().enumerate() {
        for entry in 0..BLOCK_ENTRIES {
            let at = shift + array * FACTOR + 4 * entry;
            let factor = factor * (1.0 + entry as f32 / 32.0);
            block[at..at + 4].copy_from_slice(&factor.to_ne_bytes());
        }
    }
    block
}

fn naive_sums(block: &[u8], tables: &[u8]) -> [u64; BLOCK_ENTRIES] {
    std::array::from_fn(|entry| {
        let groups = block[CODES..].chunks_exact(GROUP);
        let numbers = groups
            .zip(tables.chunks_exact(GROUP))
            .map(|(codes, table)| {
                let byte = codes[entry % 16];
                let value = if entry < 16 { byte & 15 } else { byte >> 4 };
                u64::from(table[usize::from(value)])
            });
        numbers.sum()
    })
}

#[test]
fn block_sums_are_exact() {
    let mut random = Random(0xb10c);
    for dimensions in dimensions() {
        for shift in shifts(dimensions) {
            // Factors 0, 1, 0 and no base: the estimate is the sum itself, a whole number below 2²⁴.
            let block = block(&mut random, dimensions, [0.0, 1.0, 0.0], shift);
            let mut block = block[shift..].to_vec();
            for entry in 0..BLOCK_ENTRIES {
                block[FACTOR + 4 * entry..][..4].copy_from_slice(&1f32.to_ne_bytes());
            }
            // All 255: the largest sums there are, and any loss in an accumulator shows.
            let full = vec![255; 4 * dimensions];
            for tables in [random.bytes(4 * dimensions), full] {
                let expected = naive_sums(&block, &tables).map(|sum| sum as f32);
                let query = BlockQuery {
                    tables: &tables,
                    scale: 1.0,
                    offset: 0.0,
                    base: 0.0,
                    slack: 0.0,
                };
                for table in available() {
                    let mut estimates = [f32::NAN; BLOCK_ENTRIES];
                    let bits = (table.scan_block)(&block, &query, -1.0, &mut estimates);
                    let below = estimates.iter().all(|estimate| *estimate > -1.0);
                    assert_eq!(estimates, expected, "{} {dimensions}", table.name);
                    assert_eq!((bits, below), (0, true), "{} {dimensions}", table.name);
                }
            }
        }
    }
}

#[test]
fn bounds_decide_as_they_should_at_any_alignment() {
    let mut random = Random(0xb0b0);
    for dimensions in [64, 384, 1088] {
        for shift in shifts(dimensions) {
            let block = block(&mut random, dimensions, [3.0, -0.01, 0.5], shift);
            let block = &block[shift..];
            let tables = random.bytes(4 * dimensions);
            let query = BlockQuery {
                tables: &tables,
                scale: 0.25,
                offset: -100.0,
                base: 7.0,
                slack: 1.9,
            };
            let sums = naive_sums(block, &tables);
            let expected: [(f64, f64); BLOCK_ENTRIES] = std::array::from_fn(|entry| {
                let by = 1.0 + entry as f64 / 32.0;
                let dot = 0.25 * sums[entry] as f64 - 100.0;
                let estimate = 7.0 + 3.0 * by - 0.01 * by * dot;
                (estimate, estimate - 1.9 * 0.5 * by)
            });
            for table in available() {
                let mut estimates = [0.0; BLOCK_ENTRIES];
                let threshold = expected[shift % 32].1;
                let bits = (table.scan_block)(block, &query, threshold as f32, &mut estimates);
                for (entry, (estimate, bound)) in expected.into_iter().enumerate() {
                    let error = (f64::from(estimates[entry]) - estimate).abs();
                    assert!(error < 1e-3, "{}: {error}", table.name);
                    // At the threshold itself rounding may decide.
                    if (bound - threshold).abs() > 1e-3 {
                        assert_eq!(bits >> entry & 1 == 1, bound < threshold, "{}", table.name);
                    }
                }
            }
        }
    }
}

/// Each entry on its own, so that a wrong order of bits or entries shows; then what is not a number.
#[test]
fn each_bit_is_its_own_entrys_and_nan_is_a_candidate() {
    let tables = [0; 256];
    let query = BlockQuery {
        tables: &tables,
        scale: 1.0,
        offset: 0.0,
        base: 0.0,
        slack: 1.0,
    };
    let mut random = Random(7);
    for table in available() {
        let scan = |block: &[u8], query: &BlockQuery<'_>, threshold| {
            (table.scan_block)(block, query, threshold, &mut [0.0; BLOCK_ENTRIES])
        };
        for entry in (0..BLOCK_ENTRIES).step_by(STRIDE.min(7)) {
            let mut block = block(&mut random, 64, [1.0, 0.0, 0.0], 0);
            for (add, error, expected) in [
                (-1.0f32, 0.0f32, 1 << entry),
                (f32::NAN, 0.0, 1 << entry),
                (0.0, f32::INFINITY, 1 << entry),
                (f32::MAX, f32::INFINITY, 1 << entry),
                (f32::MAX, 0.0, 0),
                (f32::INFINITY, 0.0, 0),
                (0.5, 0.5, 1 << entry),
                (0.5, 0.25, 0),
            ] {
                block[4 * entry..][..4].copy_from_slice(&add.to_ne_bytes());
                block[2 * FACTOR + 4 * entry..][..4].copy_from_slice(&error.to_ne_bytes());
                let got = scan(&block, &query, 0.0);
                assert_eq!(got, expected, "{} {entry} {add} {error}", table.name);
            }
            assert_eq!(scan(&block, &query, f32::NAN), u32::MAX);
            assert_eq!(scan(&block, &query, f32::INFINITY), u32::MAX);
            let nowhere = BlockQuery {
                base: f32::NAN,
                ..query
            };
            assert_eq!(scan(&block, &nowhere, 0.0), u32::MAX);
        }
    }
}

#[test]
fn row_sums_are_exact() {
    let mut random = Random(0x2047);
    for dimensions in dimensions() {
        for shift in shifts(dimensions) {
            let code = random.bytes(shift + dimensions / 8);
            let code = &code[shift..];
            let weights = random.bytes(shift + dimensions);
            let weights: Vec<i8> = weights.into_iter().map(u8::cast_signed).collect();
            let weights = &weights[shift..];
            let weighed = |code: &[u8], weights: &[i8]| -> i32 {
                let set = |place: usize| i32::from(code[place / 8] >> (place % 8) & 1);
                let terms = (0..dimensions).map(|place| set(place) * i32::from(weights[place]));
                terms.sum()
            };
            let (set, least, most) = (
                vec![255; dimensions / 8],
                vec![i8::MIN; dimensions],
                vec![i8::MAX; dimensions],
            );
            for (code, weights) in [(code, weights), (&set, &least), (&set, &most)] {
                let expected = weighed(code, weights);
                for table in available() {
                    let got = (table.scan_row)(code, weights);
                    assert_eq!(got, expected, "{} {dimensions}", table.name);
                }
            }
        }
    }
}

#[test]
fn each_weight_is_its_own_bits() {
    for table in available() {
        for place in (0..512).step_by(STRIDE) {
            let mut code = [0u8; 64];
            code[place / 8] = 1 << (place % 8);
            let mut weights = [3i8; 512];
            weights[place] = -5;
            assert_eq!((table.scan_row)(&code, &weights), -5, "{}", table.name);
        }
    }
}

#[test]
#[should_panic(expected = "a block of 639 bytes scanned with 256 bytes of tables")]
fn a_block_shorter_than_the_tables_is_refused() {
    let query = BlockQuery {
        tables: &[0; 256],
        scale: 1.0,
        offset: 0.0,
        base: 0.0,
        slack: 0.0,
    };
    (choose(None).scan_block)(&[0; 639], &query, 0.0, &mut [0.0; BLOCK_ENTRIES]);
}

#[test]
#[should_panic(expected = "a code of 8 bytes scanned with 128 weights")]
fn a_code_shorter_than_the_weights_is_refused() {
    (choose(None).scan_row)(&[0; 8], &[0; 128]);
}
