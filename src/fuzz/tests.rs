//! The short form of the fuzz targets: their corpora, and some thousands of random changes of them.
#![forbid(unsafe_code)]

use super::*;
use crate::random;
use std::path::Path;

/// Changed inputs of each target; pages take a while each.
const CHANGED: usize = 3000;
const CHANGED_PAGES: usize = 150;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// Bytes changed, put in, taken out, doubled, or of another input.
fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], seed: &mut u64) {
    let mut below = |most: usize| random::next(seed) as usize % most.max(1);
    for _ in 0..1 + below(6) {
        let at = below(bytes.len());
        match below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => {
                bytes[at] = [0, 0xff, b'"', b'[', b'{', b'e', b'-', b'9'][below(8)]
            }
            2 => bytes.insert(at, below(256) as u8),
            3 => drop(bytes.drain(at..(at + below(9)).min(bytes.len()))),
            4 => {
                let part = bytes[at..(at + below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = &corpus[below(corpus.len())];
                let from = below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}

#[test]
fn corpora_and_changes_of_them() {
    for (name, body) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() > 2, "{name}");
        corpus.iter().for_each(|input| body(input));
        let changed = if name == "pages" {
            CHANGED_PAGES
        } else {
            CHANGED
        };
        for number in 0..changed {
            let mut seed = number as u64;
            let mut input = corpus[number % corpus.len()].clone();
            change(&mut input, &corpus, &mut seed);
            let told = format!("{name}, change {number}: {input:?}");
            let done = std::panic::catch_unwind(|| body(&input));
            assert!(done.is_ok(), "{told}");
        }
    }
}
