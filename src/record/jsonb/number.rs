//! PostgreSQL's `numeric` as it lies inside a `jsonb`, decoded to the nearest `f64`.
#![forbid(unsafe_code)]

use super::corrupted;
use crate::error::Error;

const KIND_MASK: u16 = 0xc000;
const KIND_NEGATIVE: u16 = 0x4000;
const KIND_SHORT: u16 = 0x8000;
const KIND_SPECIAL: u16 = 0xc000;
const SPECIAL_MASK: u16 = 0xf000;
const SPECIAL_INFINITY: u16 = 0xd000;
const SPECIAL_MINUS_INFINITY: u16 = 0xf000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT_MASK: u16 = 0x003f;
const SHORT_WEIGHT_SIGN: u16 = 0x0040;

/// A number: a sign, a weight, and digits of base 10,000, the first of which counts 10000^weight.
///
/// Stored as a datum of its own: a length header of four bytes or one, then a header word that tells the short form (sign and
/// weight in that word) from the long one (weight in the next), then the digits.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// After the length header.
    body: &'a [u8],
}

impl<'a> Number<'a> {
    /// `datum` begins at the length header.
    pub(super) fn new(datum: &'a [u8]) -> Result<Self, Error> {
        let first = *datum.first().ok_or_else(|| corrupted("number is empty"))?;
        let little = cfg!(target_endian = "little");
        let one_byte = if little {
            first & 1 == 1
        } else {
            first & 0x80 != 0
        };
        let range = if one_byte {
            1..usize::from(if little { first >> 1 } else { first & 0x7f })
        } else {
            let header = super::word(datum, 0)?;
            let (flags, length) = if little {
                (header & 3, header >> 2)
            } else {
                (header >> 30, header & 0x3fff_ffff)
            };
            if flags != 0 {
                return Err(corrupted("number is compressed"));
            }
            4..length as usize
        };
        let body = datum.get(range);
        Ok(Self {
            body: body.ok_or_else(|| corrupted("number is out of bounds"))?,
        })
    }

    /// The nearest `f64`; beyond its range infinite.
    pub fn to_f64(self) -> Result<f64, Error> {
        let word = |at: usize| {
            let bytes = self.body.get(at..).and_then(|rest| rest.first_chunk());
            bytes
                .map(|bytes| u16::from_ne_bytes(*bytes))
                .ok_or_else(|| corrupted("number ends early"))
        };
        let header = word(0)?;
        let (negative, weight, digits_at) = match header & KIND_MASK {
            KIND_SPECIAL => {
                return Ok(match header & SPECIAL_MASK {
                    SPECIAL_INFINITY => f64::INFINITY,
                    SPECIAL_MINUS_INFINITY => f64::NEG_INFINITY,
                    _ => f64::NAN,
                });
            }
            KIND_SHORT => {
                let weight = i32::from(header & SHORT_WEIGHT_MASK);
                let sign = i32::from(header & SHORT_WEIGHT_SIGN);
                (header & SHORT_NEGATIVE != 0, weight - sign, 2)
            }
            kind => {
                let weight = i32::from(word(2)?.cast_signed());
                (kind == KIND_NEGATIVE, weight, 4)
            }
        };
        let digits = self.body.get(digits_at..).unwrap_or_default();
        let magnitude = to_magnitude(digits, weight)?;
        Ok(if negative { -magnitude } else { magnitude })
    }
}

/// Σ digitᵢ · 10000^(weight − i), rounded once.
fn to_magnitude(digits: &[u8], weight: i32) -> Result<f64, Error> {
    /// 10⁰, 10⁴ … 10²⁰, exact in `f64`.
    const POWERS: [f64; 6] = [1e0, 1e4, 1e8, 1e12, 1e16, 1e20];
    let (digits, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(corrupted("number has half a digit"));
    }
    let digit = |bytes: &[u8; 2]| match u16::from_ne_bytes(*bytes) {
        digit @ 0..10_000 => Ok(digit),
        _ => Err(corrupted("number has a digit beyond 9999")),
    };
    // The power of 10000 that the last digit counts.
    let last = weight - digits.len() as i32 + 1;

    if digits.len() <= 4
        && let Some(power) = POWERS.get(last.unsigned_abs() as usize)
    {
        let mut mantissa = 0u64;
        for bytes in digits {
            mantissa = mantissa * 10_000 + u64::from(digit(bytes)?);
        }
        if mantissa < 1 << 53 {
            // Both operands are exact, so the one operation rounds the number itself.
            let mantissa = mantissa as f64;
            return Ok(if last < 0 {
                mantissa / power
            } else {
                mantissa * power
            });
        }
    }
    let mut text = String::with_capacity(digits.len() * 4 + 8);
    for bytes in digits {
        text.push_str(&format!("{:04}", digit(bytes)?));
    }
    text.push_str(&format!("e{}", i64::from(last) * 4));
    Ok(text.parse().unwrap_or(0.0)) // only the text without digits does not parse: a number without digits is zero
}
