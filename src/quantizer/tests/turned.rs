//! A query prepared for one centre that goes on to the codes of another.
#![forbid(unsafe_code)]

use super::*;

/// A query prepared for one centre tells of codes that were made with another and shifted what one prepared for that other tells of them as
/// they were made.
#[test]
fn a_query_turned_to_another_centre_is_one_prepared_for_it() {
    let mut random = Random(9);
    for metric in Metric::ALL {
        for dimension in [64, 100, 384] {
            let quantizer = Quantizer::new(dimension, 12);
            let bits = quantizer.code_bits();
            // Under cosine centres are of vectors of norm 1.
            let mut place = |distance: f32| {
                let vector = rotated(&quantizer, &random.near(&sample(dimension), distance));
                let scale = Centre::scale(&vector, metric).unwrap();
                vector.iter().map(|element| element * scale).collect()
            };
            let (pivot, centre) = (Centre::new(place(0.5)), Centre::new(place(0.5)));
            let near = random.near(&sample(dimension), 0.5);
            let mut turned = prepared(&quantizer, &near, &pivot, metric);
            turned.turn_to(centre.rotated());
            let direct = prepared(&quantizer, &near, &centre, metric);
            assert!((turned.slack() / direct.slack() - 1.0).abs() < 0.02);
            let (mut shifted_rows, mut rows) = (Vec::new(), Vec::new());
            let mut moved = 0;
            for number in 0..BLOCK_ENTRIES {
                let vector = random.near(&sample(dimension), 0.5);
                let (code, factors) = encoded(&quantizer, &vector, &centre, metric);
                let shifted = shift(factors, &code, &centre, &pivot);
                assert_eq!(
                    (shifted.rescale, shifted.error),
                    (factors.rescale, factors.error)
                );
                let a = turned.row(kernels(), &code, shifted);
                let b = direct.row(kernels(), &code, factors);
                let spread = b.estimate - b.lower;
                let tolerance = 0.15 * spread + 1e-5 * b.estimate.abs();
                assert!(
                    (a.estimate - b.estimate).abs() <= tolerance,
                    "{metric:?} {dimension}: {a:?}, not {b:?}"
                );
                assert!((a.lower - b.lower).abs() <= 1.2 * tolerance);
                moved += u32::from((shifted.add - factors.add).abs() > 2.0 * tolerance);
                for (factors, rows) in [(shifted, &mut shifted_rows), (factors, &mut rows)] {
                    let mut row = vec![0; row_bytes(bits)];
                    Row {
                        factors,
                        tid: [number as u8; 6],
                        signature: 0,
                        code: &code,
                    }
                    .write(&mut row);
                    rows.push(row);
                }
            }
            assert!(moved > 16, "without the shift most would be off: {moved}");
            let [a, b] = [(&turned, &shifted_rows), (&direct, &rows)].map(|(query, rows)| {
                let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
                let (mut block, mut estimates) = (vec![0; block_bytes(bits)], [0.0; BLOCK_ENTRIES]);
                pack(&rows, bits, &mut block);
                (kernels().scan_block)(&block, &query.block(), f32::INFINITY, &mut estimates);
                estimates
            });
            for ((a, b), row) in a.iter().zip(b).zip(&rows) {
                let error = Row::read(row).unwrap().factors.error;
                let tolerance = 0.3 * direct.slack() * error + 1e-5 * b.abs();
                assert!(
                    (a - b).abs() <= tolerance,
                    "{metric:?} {dimension}: {a}, not {b}"
                );
            }
        }
    }
}
