//! Rows that an ordinary index tells may match a filter: of all entries only theirs are kept.
#![forbid(unsafe_code)]

use crate::layout::entry::EntryTid;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Places of rows.
#[derive(Debug, Default)]
pub struct Members(HashSet<u64, BuildHasherDefault<Spread>>);

impl Members {
    /// Of these places.
    #[must_use]
    pub fn of(places: impl Iterator<Item = EntryTid>) -> Self {
        Self(places.map(number).collect())
    }

    /// Whether it is one of them.
    #[must_use]
    #[inline]
    pub fn contains(&self, place: EntryTid) -> bool {
        self.0.contains(&number(place))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(place: EntryTid) -> u64 {
    u64::from(place.block) << 16 | u64::from(place.offset)
}

/// Multiplicative hashing (Knuth, The Art of Computer Programming, volume 3, 6.4), the upper half of the product folded into the lower: the table takes bits
/// of both. Places are told by an index of the server, not chosen to collide.
#[derive(Clone, Copy, Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_what_it_was_made_of_and_nothing_else() {
        let place = |n: u32| EntryTid {
            block: n / 5,
            offset: (n % 5 + 1) as u16,
        };
        let members = Members::of((0..1000).step_by(3).map(place));
        assert_eq!(members.len(), 334);
        for n in 0..1000 {
            assert_eq!(members.contains(place(n)), n % 3 == 0, "{n}");
        }
        assert!(Members::default().is_empty());
    }
}
