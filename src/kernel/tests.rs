//! Every table this CPU can run against a compensated `f64` oracle: awkward lengths, every alignment, every kind of value.
#![forbid(unsafe_code)]

use super::dispatch::{available, choose};
use super::{Kernels, UNDERFLOW, rounding_steps};

/// Lengths at which a kernel changes its way: around each register width (2, 4, 8, 16 lanes), around a full round of four
/// registers (8, 16, 32, 64), one and two rounds with every remainder kind, common embedding sizes, and the largest.
const AWKWARD_LENGTHS: &[usize] = &[
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 79, 95, 100, 127, 128,
    129, 191, 255, 257, 384, 768, 1024, 1536, 20_000,
];

/// Miri, some hundred times slower, takes of what is looped over what is no larger than this, …
const MOST: usize = if cfg!(miri) { 65 } else { 20_000 };

/// … and of places one in so many.
pub(super) const STRIDE: usize = if cfg!(miri) { 41 } else { 1 };

fn lengths() -> impl Iterator<Item = usize> {
    AWKWARD_LENGTHS
        .iter()
        .copied()
        .filter(|length| *length <= MOST)
}

/// Every table there is, on any CPU.
const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "scalar"];

/// xorshift64*: the same values in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in −1 … 1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ordinary,
    Denormal,
    Huge,
    AnyFinite,
    Integers,
}

const KINDS: [Kind; 5] = [
    Kind::Ordinary,
    Kind::Denormal,
    Kind::Huge,
    Kind::AnyFinite,
    Kind::Integers,
];

fn value(kind: Kind, random: &mut Random) -> f32 {
    match kind {
        Kind::Ordinary => random.unit(),
        Kind::Denormal => {
            f32::from_bits((random.bits() & 0x007f_ffff) as u32).copysign(random.unit())
        }
        Kind::Huge => random.unit() * 3.4e38,
        Kind::AnyFinite => loop {
            let value = f32::from_bits((random.bits() >> 16) as u32);
            if value.is_finite() {
                break value;
            }
        },
        Kind::Integers => (random.unit() * 9.0).round(),
    }
}

struct Oracle {
    /// The true sum (Neumaier's compensated one).
    sum: f64,
    /// The sum of the terms' magnitudes.
    magnitude: f64,
    /// No term is negative.
    positive: bool,
}

fn oracle(terms: impl Iterator<Item = f64>) -> Oracle {
    let (mut sum, mut lost, mut magnitude) = (0.0f64, 0.0f64, 0.0f64);
    let mut positive = true;
    for term in terms {
        positive &= term >= 0.0;
        let next = sum + term;
        lost += if sum.abs() >= term.abs() {
            (sum - next) + term
        } else {
            (term - next) + sum
        };
        sum = next;
        magnitude += term.abs();
    }
    Oracle {
        sum: sum + lost,
        magnitude,
        positive,
    }
}

fn terms<'a>(
    a: &'a [f32],
    b: &'a [f32],
    term: impl Fn(f64, f64) -> f64 + 'a,
) -> impl Iterator<Item = f64> + 'a {
    a.iter()
        .zip(b)
        .map(move |(&a, &b)| term(f64::from(a), f64::from(b)))
}

fn check_f32(what: &str, got: f32, oracle: Oracle, length: usize) {
    let Oracle { sum, magnitude, .. } = oracle;
    if magnitude < f64::from(f32::MAX) * 0.999 {
        let allowed =
            rounding_steps(length) * 2f64.powi(-24) * 1.01 * magnitude + length as f64 * UNDERFLOW;
        let error = (f64::from(got) - sum).abs();
        assert!(
            error <= allowed,
            "{what}: {got:e} instead of {sum:e}, off by {error:e} of {allowed:e}"
        );
    } else if oracle.positive && sum > f64::from(f32::MAX) * 1.001 {
        assert_eq!(got, f32::INFINITY, "{what}: positive terms overflow");
    }
}

fn check_f64(what: &str, got: f64, oracle: Oracle, length: usize) {
    let Oracle { sum, magnitude, .. } = oracle;
    let allowed = 2.0 * rounding_steps(length) * 2f64.powi(-53) * magnitude;
    let error = (got - sum).abs();
    assert!(
        error <= allowed,
        "{what}: {got:e} instead of {sum:e}, off by {error:e} of {allowed:e}"
    );
}

fn check_all(kernels: &Kernels, what: &str, a: &[f32], b: &[f32]) {
    let length = a.len();
    let what = |kernel: &str| format!("{} {kernel}, {length} elements, {what}", kernels.name);
    let dot = || oracle(terms(a, b, |a, b| a * b));
    let l2 = || oracle(terms(a, b, |a, b| (a - b) * (a - b)));
    let norm_a = || oracle(terms(a, a, |a, b| a * b));
    let norm_b = || oracle(terms(b, b, |a, b| a * b));

    check_f32(&what("dot"), (kernels.dot)(a, b), dot(), length);
    check_f32(
        &what("l2_squared"),
        (kernels.l2_squared)(a, b),
        l2(),
        length,
    );
    let l1 = oracle(terms(a, b, |a, b| (a - b).abs()));
    check_f32(&what("l1"), (kernels.l1)(a, b), l1, length);
    let (d, x, y) = (kernels.dot_and_norms)(a, b);
    check_f32(&what("dot_and_norms: dot"), d, dot(), length);
    check_f32(&what("dot_and_norms: a"), x, norm_a(), length);
    check_f32(&what("dot_and_norms: b"), y, norm_b(), length);
    let (d, y) = (kernels.dot_and_norm)(a, b);
    check_f32(&what("dot_and_norm: dot"), d, dot(), length);
    check_f32(&what("dot_and_norm: b"), y, norm_b(), length);

    check_f64(&what("dot_f64"), (kernels.dot_f64)(a, b), dot(), length);
    check_f64(
        &what("l2_squared_f64"),
        (kernels.l2_squared_f64)(a, b),
        l2(),
        length,
    );
    let (d, y) = (kernels.dot_and_norm_f64)(a, b);
    check_f64(&what("dot_and_norm_f64: dot"), d, dot(), length);
    check_f64(&what("dot_and_norm_f64: b"), y, norm_b(), length);
}

#[test]
fn every_table_agrees_with_the_oracle() {
    let available = available();
    for name in NAMES {
        if !available.iter().any(|table| table.name == name) {
            eprintln!("kernels not tested, this CPU has no {name}");
        }
    }
    let mut random = Random(0x5eed);
    for kind in KINDS {
        for length in lengths() {
            // Offsets in floats from one buffer: with eight of them each 32-byte position occurs.
            let offsets = if length > 2000 || cfg!(miri) {
                7..8
            } else {
                0..8
            };
            for offset in offsets {
                let fill = |random: &mut Random| -> Vec<f32> {
                    (0..length + 8).map(|_| value(kind, random)).collect()
                };
                let (a, b) = (fill(&mut random), fill(&mut random));
                let (a, b) = (&a[offset..offset + length], &b[7 - offset..][..length]);
                for table in &available {
                    check_all(table, &format!("{kind:?}, offset {offset}"), a, b);
                }
            }
        }
    }
}

/// Small integers are exact in any order of summation: here every table gives the same bits.
#[test]
fn integers_are_exact_and_every_element_counts_once() {
    for table in available() {
        for length in lengths() {
            let places = (0..length).filter(|place| length < 200 || place % 97 == 0);
            for place in places.step_by(STRIDE) {
                let mut a = vec![0.0; length];
                let mut b = vec![1.0; length];
                a[place] = 3.0;
                b[place] = 5.0;
                let others = (length - 1) as f32;
                assert_eq!((table.dot)(&a, &b), 15.0);
                assert_eq!((table.l1)(&a, &b), others + 2.0);
                assert_eq!((table.l2_squared)(&a, &b), others + 4.0);
                assert_eq!((table.dot_and_norms)(&a, &b), (15.0, 9.0, others + 25.0));
                assert_eq!((table.dot_and_norm)(&a, &b), (15.0, others + 25.0));
                assert_eq!((table.dot_f64)(&a, &b), 15.0);
                assert_eq!((table.l2_squared_f64)(&a, &b), f64::from(others) + 4.0);
                let norm = f64::from(others) + 25.0;
                assert_eq!((table.dot_and_norm_f64)(&a, &b), (15.0, norm));
            }
        }
    }
}

#[test]
fn overflow_is_infinite_and_never_fails() {
    let (large, negative) = ([3e38f32; 33], [-3e38f32; 33]);
    for table in available() {
        assert_eq!((table.dot)(&large, &large), f32::INFINITY);
        assert_eq!((table.dot)(&large, &negative), f32::NEG_INFINITY);
        assert_eq!((table.l2_squared)(&large, &negative), f32::INFINITY);
        assert_eq!((table.l1)(&large, &negative), f32::INFINITY);
        let exact = 33.0 * f64::from(3e38f32) * f64::from(3e38f32);
        assert!(((table.dot_f64)(&large, &large) / exact - 1.0).abs() < 1e-14);
    }
}

#[test]
#[should_panic(expected = "kernel called with 3 and 2 elements")]
fn lengths_must_agree() {
    let _ = (choose(None).dot)(&[1.0, 2.0, 3.0], &[1.0, 2.0]);
}

#[test]
fn a_choice_is_taken_where_available_and_the_best_otherwise() {
    let available = available();
    for table in &available {
        assert_eq!(choose(Some(table.name)).name, table.name);
    }
    let best = available[0].name;
    assert_eq!(choose(None).name, best);
    assert_eq!(choose(Some("sse9")).name, best);
    for name in NAMES {
        if !available.iter().any(|table| table.name == name) {
            assert_eq!(choose(Some(name)).name, best);
        }
    }
    assert_eq!(available.last().map(|table| table.name), Some("scalar"));
}

/// Against the definition: orthogonal, all outputs ±1 combinations, and the same bits from every table.
#[test]
fn hadamard_is_orthogonal_and_the_same_everywhere() {
    let mut random = Random(0x4ada);
    let lengths = [64, 128, 256, 512, 1024, 16_384].into_iter();
    for length in lengths.filter(|length| *length <= MOST) {
        for place in (0..length).step_by((length / 64 + 1) * STRIDE) {
            let mut data = vec![0.0; length];
            data[place] = 1.0;
            (choose(Some("scalar")).hadamard)(&mut data);
            assert!(data.iter().all(|element| element.abs() == 1.0));
            (choose(Some("scalar")).hadamard)(&mut data);
            let energy: f32 = data.iter().map(|element| element * element).sum();
            assert_eq!(energy, (length * length) as f32, "{length}");
        }
        let data: Vec<f32> = (0..length).map(|_| random.unit()).collect();
        let bits: Vec<Vec<u32>> = available()
            .iter()
            .map(|table| {
                let mut data = data.clone();
                (table.hadamard)(&mut data);
                data.into_iter().map(f32::to_bits).collect()
            })
            .collect();
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]), "{length}");
    }
}

#[test]
#[should_panic(expected = "Hadamard transform of 96 elements")]
fn hadamard_wants_a_power_of_two() {
    (choose(None).hadamard)(&mut [0.0; 96]);
}

#[test]
fn multiples_are_the_same_everywhere() {
    for length in [0, 1, 7, 16, 63, 64, 100, 384] {
        let numbers: Vec<i8> = (0..length).map(|at| (at * 37 % 256) as u8 as i8).collect();
        for step in [0.0, 0.3, 1e-40, 1e30] {
            let expected: Vec<f32> = numbers.iter().map(|x| f32::from(*x) * step).collect();
            for table in available() {
                let mut products = vec![f32::NAN; length];
                (table.multiples)(&numbers, step, &mut products);
                assert_eq!(products, expected, "{} of {length}", table.name);
            }
        }
    }
}

#[test]
#[should_panic(expected = "3 numbers to be multiplied into 2")]
fn multiples_want_room() {
    (choose(None).multiples)(&[1; 3], 1.0, &mut [0.0; 2]);
}
