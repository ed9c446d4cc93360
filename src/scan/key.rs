//! The order of rows in a top-k scan: by distance as `float8` sorts, then by place.
#![forbid(unsafe_code)]

use crate::metric::Distance;
use crate::pg::heap::Tid;

/// One row's place in the order: by distance, then by place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub key: SortKey,
    pub row: Tid,
}

/// A `float8` or NULL as an integer of the same order: numbers, then NaN, then NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey(u64);

impl SortKey {
    /// Behind all others.
    pub const NULL: Self = Self(u64::MAX);
    /// All NaN are equal.
    const NAN: Self = Self(u64::MAX - 1);

    /// Of a number.
    #[inline]
    pub fn of(distance: f64) -> Self {
        const SIGN: u64 = 1 << 63;
        if distance.is_nan() {
            return Self::NAN;
        }
        // Minus zero equals zero; the sum makes it so.
        let bits = (distance + 0.0).to_bits();
        Self(if bits & SIGN == 0 { bits | SIGN } else { !bits })
    }

    /// The number it stands for; None for NULL and NaN.
    pub fn distance(self) -> Option<f64> {
        const SIGN: u64 = 1 << 63;
        (self < Self::NAN).then(|| {
            f64::from_bits(if self.0 & SIGN == 0 {
                !self.0
            } else {
                self.0 & !SIGN
            })
        })
    }
}

/// The key ([`crate::metric::Scorer::exact`]) of rows at a distance.
pub fn key_of_distance(distance: Distance, value: f64) -> f64 {
    match distance {
        Distance::L2 => value * value,
        Distance::Cosine => value - 1.0,
        Distance::InnerProduct | Distance::L1 => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_float8_does_with_nulls_last() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ];
        let mut keys: Vec<SortKey> = ascending.into_iter().map(SortKey::of).collect();
        keys.push(SortKey::NULL);
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    #[test]
    fn equal_values_have_equal_keys() {
        assert_eq!(SortKey::of(-0.0), SortKey::of(0.0));
        let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        assert_eq!(SortKey::of(negative_nan), SortKey::of(f64::NAN));
    }
}
