//! The text of one float4: read as C's `strtof` reads it, written as PostgreSQL writes it.
#![forbid(unsafe_code)]

/// A number at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    /// Its value, correctly rounded; infinite or NaN if the words for those were read, or on overflow.
    pub(super) value: f32,
    /// How many bytes it takes.
    pub(super) length: usize,
    /// The digits stand for a number beyond `f32`.
    pub(super) overflow: bool,
}

/// The longest number at the beginning of `text`, which has no white space before it; `None` if there is none.
#[inline]
pub(super) fn scan(text: &[u8]) -> Option<Number> {
    let negative = text.first() == Some(&b'-');
    let sign = usize::from(negative || text.first() == Some(&b'+'));
    match text.get(sign)? {
        b'0' if matches!(text.get(sign + 1), Some(b'x' | b'X')) => Some(scan_hex(text, sign)),
        b'0'..=b'9' | b'.' => scan_decimal(text, sign),
        _ => scan_word(text, sign),
    }
    .map(|mut number| {
        if negative {
            number.value = -number.value;
        }
        number
    })
}

/// `inf`, `infinity`, `nan` in any case. What follows (`nan(…)`, the rest of `infinity`) does not matter to a caller who
/// refuses the value.
#[cold]
fn scan_word(text: &[u8], at: usize) -> Option<Number> {
    let word = text.get(at..at + 3)?;
    let value = if word.eq_ignore_ascii_case(b"inf") {
        f32::INFINITY
    } else if word.eq_ignore_ascii_case(b"nan") {
        f32::NAN
    } else {
        return None;
    };
    Some(Number {
        value,
        length: at + 3,
        overflow: false,
    })
}

/// Up to 19 decimal digits fit a `u64`.
const EXACT_DIGITS: usize = 19;

fn scan_decimal(text: &[u8], start: usize) -> Option<Number> {
    let mut at = start;
    let mut mantissa = 0u64;
    let (whole, at_point) = take_digits(text, at, &mut mantissa);
    at = at_point;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        (fraction, at) = take_digits(text, at + 1, &mut mantissa);
    }
    if whole + fraction == 0 {
        return None;
    }
    let (exponent, at) = scan_exponent(text, at, b'e');
    let digits = significant(&text[start..], whole + fraction);
    let power = exponent - i64::try_from(fraction).unwrap_or(i64::MAX);
    let fast = if digits <= EXACT_DIGITS {
        from_decimal(mantissa, power)
    } else {
        None
    };
    let value = fast.unwrap_or_else(|| correctly_rounded(&text[start..at]));
    Some(Number {
        value,
        length: at,
        overflow: value.is_infinite(),
    })
}

/// Digits from `at` on, appended to `mantissa` (wrapping: the caller counts them); how many, and where they end.
#[inline]
fn take_digits(text: &[u8], mut at: usize, mantissa: &mut u64) -> (usize, usize) {
    let start = at;
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0'))
        && digit < 10
    {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (at - start, at)
}

/// How many of a number's digits count: leading zeros do not, and they are looked for only if it matters.
#[inline]
fn significant(text: &[u8], digits: usize) -> usize {
    if digits <= EXACT_DIGITS {
        return digits;
    }
    let zeros = text
        .iter()
        .filter(|byte| **byte != b'.')
        .take_while(|byte| **byte == b'0')
        .count();
    digits.saturating_sub(zeros)
}

/// An exponent at `at`: the mark, a sign or none, and digits. Without digits it is none, and nothing of it is taken.
fn scan_exponent(text: &[u8], at: usize, mark: u8) -> (i64, usize) {
    if text.get(at).map(u8::to_ascii_lowercase) != Some(mark) {
        return (0, at);
    }
    let negative = text.get(at + 1) == Some(&b'-');
    let first = at + 1 + usize::from(negative || text.get(at + 1) == Some(&b'+'));
    let mut exponent = 0i64;
    let mut end = first;
    while let Some(digit @ b'0'..=b'9') = text.get(end) {
        // Far beyond any range is far enough: long texts must not make it wrap.
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(1 << 40);
        end += 1;
    }
    if end == first {
        (0, at)
    } else {
        (if negative { -exponent } else { exponent }, end)
    }
}

/// 10⁰ … 10²², exact in `f64`.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// mantissa · 10^power by way of `f64`, unless that could round to another `f32` than the number itself.
///
/// The `f64` here is at most 2 of its units off (rounding the mantissa, and the one operation). Rounding it to `f32` goes
/// wrong only if a midpoint of two `f32`s, where the 29 bits that are dropped read 1000…0, lies within that distance.
#[inline]
fn from_decimal(mantissa: u64, power: i64) -> Option<f32> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let scale = POWERS_OF_TEN.get(usize::try_from(power.unsigned_abs()).ok()?)?;
    let near = if power < 0 {
        mantissa as f64 / scale
    } else {
        mantissa as f64 * scale
    };
    let dropped = near.to_bits() & ((1 << 29) - 1);
    let in_range = near >= f64::from(f32::MIN_POSITIVE) && near <= f64::from(f32::MAX);
    (in_range && dropped.abs_diff(1 << 28) > 4).then_some(near as f32)
}

/// The standard library's conversion: correct for any number of digits, but slower.
#[cold]
fn correctly_rounded(digits: &[u8]) -> f32 {
    // The bytes are ASCII digits with at most one point and one exponent, so neither step fails.
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(f32::NAN)
}

/// A hexadecimal number, `0x1.8p3`, whose `0x` is at `start`. Without a hexadecimal digit only its zero is a number.
#[cold]
fn scan_hex(text: &[u8], start: usize) -> Number {
    let mut at = start + 2;
    let (mut mantissa, mut power, mut digits) = (0u64, 0i64, 0usize);
    let mut point = false;
    while let Some(&byte) = text.get(at) {
        if byte == b'.' && !point {
            point = true;
        } else if let Some(digit) = char::from(byte).to_digit(16) {
            digits += 1;
            power -= if point { 4 } else { 0 };
            if mantissa >> 60 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
            } else {
                // No room: what is lost only matters by not being zero.
                mantissa |= u64::from(digit != 0);
                power += 4;
            }
        } else {
            break;
        }
        at += 1;
    }
    if digits == 0 {
        return Number {
            value: 0.0,
            length: start + 1,
            overflow: false,
        };
    }
    let (exponent, at) = scan_exponent(text, at, b'p');
    let value = from_binary(mantissa, power + exponent);
    Number {
        value,
        length: at,
        overflow: value.is_infinite(),
    }
}

/// mantissa · 2^power, rounded to nearest, ties to even.
fn from_binary(mantissa: u64, power: i64) -> f32 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = mantissa.leading_zeros();
    let (mantissa, power) = (mantissa << shift, power - i64::from(shift));
    // The value is in 2^top … 2^(top+1).
    let top = power + 63;
    if top > 127 {
        return f32::INFINITY;
    }
    // 24 bits are kept, fewer for a denormal.
    let dropped = 40 + (-126 - top).max(0);
    if dropped > 64 {
        return 0.0;
    }
    // As u128: all 64 bits may be dropped.
    let kept = u128::from(mantissa) >> dropped;
    let rest = u128::from(mantissa) & ((1 << dropped) - 1);
    let half = 1u128 << (dropped - 1);
    let up = rest > half || (rest == half && kept & 1 == 1);
    let kept = kept + u128::from(up);
    // Exact in f64: at most 2²⁴ times a power of two that f64 has; f32 has it too, or it is beyond f32.
    (kept as f64 * 2f64.powi(i32::try_from(power + dropped).unwrap_or(0))) as f32
}

/// Appends a number as PostgreSQL prints a `real`: the fewest digits that read back as the same number, in scientific
/// notation from a million up and from a ten-thousandth down. (PostgreSQL's float output is this since version 12.)
pub fn write_float(value: f32, out: &mut String) {
    let magnitude = value.abs();
    let mut buffer = zmij::Buffer::new();
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        let text = buffer.format_finite(value);
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
        return;
    }
    if !value.is_finite() {
        out.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
        return;
    }
    if value < 0.0 {
        out.push('-');
    }
    if (BOUND_FROM..BOUND_TO).contains(&magnitude) {
        let (digits, power) = shortest_inside(magnitude);
        write_scientific(digits, power, out);
    } else {
        let (digits, power) = decompose(buffer.format_finite(magnitude));
        write_scientific(digits, power, out);
    }
}

/// The digits of a decimal text as an integer, and the power of ten that makes it the number again.
fn decompose(text: &str) -> (u64, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .fold(0, |digits, byte| digits * 10 + u64::from(byte - b'0'));
    (digits, exponent - fraction.len() as i32)
}

/// digits · 10^power as `d.ddde±xx`.
fn write_scientific(mut digits: u64, mut power: i32, out: &mut String) {
    while digits > 0 && digits.is_multiple_of(10) {
        digits /= 10;
        power += 1;
    }
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    while digits > 0 {
        at -= 1;
        buffer[at] = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    let text = &buffer[at..];
    let exponent = power + text.len() as i32 - 1;
    for (place, &digit) in text.iter().enumerate() {
        if place == 1 {
            out.push('.');
        }
        out.push(char::from(digit));
    }
    out.push_str(if exponent < 0 { "e-" } else { "e+" });
    let exponent = exponent.unsigned_abs() as u8;
    out.push(char::from(b'0' + exponent / 10));
    out.push(char::from(b'0' + exponent % 10));
}

/// Between these a decimal of up to nine digits can lie exactly half-way between two `f32`s. Below, a half-way point has too
/// many digits after the point; above, it is no multiple of a power of ten large enough.
///
/// There, PostgreSQL departs from the common rule: it does not take such a decimal although it reads back right.
const BOUND_FROM: f32 = 2_097_152.0;
const BOUND_TO: f32 = 1e20;

/// The decimal of fewest digits *strictly* between the half-way points around `value`, nearest to it.
///
/// Exact, in units of 1/160: the half-way points are multiples of 1/16 here, and tenths are always fine enough.
fn shortest_inside(value: f32) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = (bits >> 23) as i32 - 127 - 23;
    let mantissa = u128::from(bits & 0x007f_ffff | 0x0080_0000);
    let unit = 10u128 << (exponent + 4);
    let exact = mantissa * unit;
    // The neighbour below a power of two is half as far.
    let below = exact - unit / if mantissa == 0x0080_0000 { 4 } else { 2 };
    let above = exact + unit / 2;

    let mut power = exponent * 3 / 10 + 1;
    loop {
        let step = 16 * 10u128.pow((power + 1).unsigned_abs());
        let floor = exact / step;
        let fits = |digits: u128| digits * step > below && digits * step < above;
        let (low, high) = (exact - floor * step, (floor + 1) * step - exact);
        let up_is_nearer = high < low || (high == low && floor % 2 == 1);
        let choice = match (fits(floor), fits(floor + 1)) {
            (true, true) if up_is_nearer => Some(floor + 1),
            (true, _) => Some(floor),
            (false, true) => Some(floor + 1),
            (false, false) => None,
        };
        match choice {
            Some(digits) => return (digits as u64, power),
            // Tenths always fit; the test on `power` only makes the loop's end plain.
            None if power < 0 => return (floor as u64, power),
            None => power -= 1,
        }
    }
}
