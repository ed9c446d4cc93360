//! The fast Hadamard transform, written as plain loops that the compiler turns into the SIMD of each instruction set.
//!
//! Every output is one fixed tree of additions and subtractions, so the result is the same to the bit on every CPU and
//! at every register width.
#![forbid(unsafe_code)]

/// The side of the squares that the three smallest strides are done in.
const SIDE: usize = 8;
/// The elements of such a square, and the shortest transform.
const SQUARE: usize = SIDE * SIDE;

/// `data` can be transformed.
#[inline(always)]
pub(super) fn check(data: &[f32]) {
    assert!(
        data.len().is_power_of_two() && data.len() >= SQUARE,
        "Hadamard transform of {} elements",
        data.len()
    );
}

/// The transform. Squares of 64 come out transposed, which is a Hadamard transform with two groups of its output's index
/// bits exchanged: no worse for mixing, and it saves transposing back.
#[inline(always)]
pub(super) fn transform(data: &mut [f32]) {
    for square in data.as_chunks_mut::<SQUARE>().0 {
        *square = transform_square(square);
    }
    let length = data.len();
    let mut stride = SQUARE;
    // Two strides a pass: half the loads and stores.
    while stride * 2 < length {
        for quad in data.chunks_exact_mut(stride * 4) {
            let (low, high) = quad.split_at_mut(stride * 2);
            let ((a, b), (c, d)) = (low.split_at_mut(stride), high.split_at_mut(stride));
            for (((a, b), (c, d)), _) in a.iter_mut().zip(b).zip(c.iter_mut().zip(d)).zip(0..stride)
            {
                let (sum, difference) = (*a + *b, *a - *b);
                let (sum_2, difference_2) = (*c + *d, *c - *d);
                (*a, *b) = (sum + sum_2, difference + difference_2);
                (*c, *d) = (sum - sum_2, difference - difference_2);
            }
        }
        stride *= 4;
    }
    if stride < length {
        let (low, high) = data.split_at_mut(stride);
        for (a, b) in low.iter_mut().zip(high) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

type Row = [f32; SIDE];

/// The transform of 64 elements: down the columns, across by transposing, down the columns again.
#[inline(always)]
fn transform_square(square: &[f32; SQUARE]) -> [f32; SQUARE] {
    let (rows, _) = square.as_chunks::<SIDE>();
    let rows: [Row; SIDE] = std::array::from_fn(|row| rows[row]);
    let rows = down(rows);
    let turned = std::array::from_fn(|row| std::array::from_fn(|column| rows[column][row]));
    let rows = down(turned);
    std::array::from_fn(|at| rows[at / SIDE][at % SIDE])
}

/// The transform of eight rows, element by element.
#[inline(always)]
fn down(rows: [Row; SIDE]) -> [Row; SIDE] {
    let [a, b, c, d, e, f, g, h] = rows;
    let ([a, b], [c, d], [e, f], [g, h]) = (pair(a, b), pair(c, d), pair(e, f), pair(g, h));
    let ([a, c], [b, d], [e, g], [f, h]) = (pair(a, c), pair(b, d), pair(e, g), pair(f, h));
    let ([a, e], [b, f], [c, g], [d, h]) = (pair(a, e), pair(b, f), pair(c, g), pair(d, h));
    [a, b, c, d, e, f, g, h]
}

/// Sum and difference.
#[inline(always)]
fn pair(a: Row, b: Row) -> [Row; 2] {
    [
        std::array::from_fn(|lane| a[lane] + b[lane]),
        std::array::from_fn(|lane| a[lane] - b[lane]),
    ]
}
