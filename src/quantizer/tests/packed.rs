//! Entries in packed blocks: what comes out is what went in, and where each byte lies.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn what_is_packed_comes_out_again() {
    let mut random = Random(5);
    for bits in [64, 384, 1792] {
        for count in [0, 1, 15, 16, 17, 31, 32] {
            let rows: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    (0..row_bytes(bits))
                        .map(|_| (random.uniform() * 256.0) as u8)
                        .collect()
                })
                .collect();
            let mut block = vec![0xee; block_bytes(bits)];
            assert_eq!(block.len(), 384 + 4 * bits + 192 + 256);
            pack(
                &rows.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                bits,
                &mut block,
            );
            let mut row = vec![0; row_bytes(bits)];
            for entry in 0..BLOCK_ENTRIES {
                unpack(&block, bits, entry, &mut row);
                match rows.get(entry) {
                    Some(packed) => assert_eq!(&row, packed),
                    None => {
                        let row = Row::read(&row).unwrap();
                        assert_eq!(
                            (row.factors, row.tid, row.signature),
                            (Factors::LAST, [0; 6], 0)
                        );
                    }
                }
            }
        }
    }
}

/// The bytes of a block, spelled out: add, rescale, error, codes, TIDs, signatures.
#[test]
fn the_layout_of_a_block_is_fixed() {
    let code = [0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb, 0xed, 0x0f];
    let row = |factor: f32| {
        let mut bytes = vec![0; row_bytes(64)];
        let factors = Factors {
            add: factor,
            rescale: factor + 1.0,
            error: factor + 2.0,
        };
        Row {
            factors,
            tid: [1, 2, 3, 4, 5, 6],
            signature: 0x77,
            code: &code,
        }
        .write(&mut bytes);
        bytes
    };
    let rows: Vec<Vec<u8>> = (0..32)
        .map(|entry| {
            if entry == 1 || entry == 18 {
                row(entry as f32)
            } else {
                vec![0; row_bytes(64)]
            }
        })
        .collect();
    let mut block = vec![0; block_bytes(64)];
    pack(
        &rows.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        64,
        &mut block,
    );
    for entry in [1, 18] {
        let factor = |array: usize| {
            f32::from_ne_bytes(block[128 * array + 4 * entry..][..4].try_into().unwrap())
        };
        assert_eq!(
            [factor(0), factor(1), factor(2)],
            [0.0, 1.0, 2.0].map(|more| more + entry as f32)
        );
        assert_eq!(block[384 + 256 + 6 * entry..][..6], [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            block[384 + 256 + 192 + 8 * entry..][..8],
            0x77u64.to_ne_bytes()
        );
    }
    for group in 0..16 {
        let half = code[group / 2] >> (4 * (group % 2)) & 15;
        assert_eq!(
            block[384 + 16 * group..][..4],
            [0, half, half << 4, 0],
            "{group}"
        );
    }
}
