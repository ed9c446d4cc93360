//! What a record's signature must hold for a filter to match it, so that most rows are passed over unread.
//!
//! A filter becomes alternatives of bits: `$eq` one mask, `$in` and `$or` one of several, `$and` their products. Whatever
//! signatures cannot tell (`$ne`, `$gt`, `$exists`, `$not` …) needs no bits. A signature that is not admitted is of no record that matches;
//! one that is may be.
#![forbid(unsafe_code)]

use super::{Clause, Filter, Test};

/// Alternatives kept; a filter with more is not worth testing.
const MAX_TERMS: usize = 16;

/// Masks, one of which a signature must hold wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Ascending; none contains another. `[0]` admits all, none admits nothing.
    terms: Vec<u64>,
}

impl Filter {
    /// What it needs of a signature.
    #[must_use]
    pub fn needed(&self) -> Needed {
        of_all(&self.clauses)
    }
}

impl Needed {
    /// One of these masks.
    #[cfg(test)]
    pub fn of_masks(masks: &[u64]) -> Self {
        Self::of(masks.to_vec())
    }

    /// Nothing: it admits all.
    #[must_use]
    pub fn all() -> Self {
        Self { terms: vec![0] }
    }

    fn of(mut terms: Vec<u64>) -> Self {
        terms.sort_unstable();
        terms.dedup();
        if terms.len() > 4 * MAX_TERMS {
            return Self::all(); // before work that grows with the square
        }
        let contains_other = |term: u64| {
            let mut others = terms.iter().filter(|other| **other != term);
            others.any(|other| term & other == *other)
        };
        let mut kept = terms.clone();
        kept.retain(|term| !contains_other(*term));
        if kept.len() > MAX_TERMS {
            return Self::all();
        }
        Self { terms: kept }
    }

    /// Both of two needs. Where the product is too large the stronger of the two stands for it.
    fn and(self, other: Self) -> Self {
        if self.is_all() {
            return other;
        }
        if other.is_all() {
            return self;
        }
        let pairs = self.terms.iter();
        let product = pairs
            .flat_map(|one| other.terms.iter().map(move |two| one | two))
            .collect();
        let both = Self::of(product);
        if !both.is_all() {
            return both;
        }
        std::cmp::max_by_key(self, other, |need| {
            (need.fewest_bits(), std::cmp::Reverse(need.terms.len()))
        })
    }

    fn fewest_bits(&self) -> u32 {
        let bits = self.terms.iter().map(|term| term.count_ones());
        bits.min().unwrap_or(u64::BITS)
    }

    /// Whether it admits every signature, so that testing is of no use.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.terms.first() == Some(&0)
    }

    /// Whether a record of this signature may match.
    #[must_use]
    pub fn admits(&self, signature: u64) -> bool {
        self.terms.iter().any(|term| signature & term == *term)
    }

    /// The bits of all masks.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.terms.iter().fold(0, |bits, term| bits | term)
    }

    /// How likely it is that it admits a record that does not match, where `set` tells of each bit how often such records have it: as if they had each
    /// whatever others they have.
    #[must_use]
    pub fn by_chance(&self, set: impl Fn(u32) -> f64) -> f64 {
        let bits = (0..u64::BITS).filter(|bit| self.bits() >> bit & 1 == 1);
        let bits: Vec<(u32, f64)> = bits.map(|bit| (bit, set(bit))).collect();
        let excluded = self.terms.iter().map(|term| {
            let of_term = bits.iter().filter(|(bit, _)| term >> bit & 1 == 1);
            1.0 - of_term.map(|(_, set)| set).product::<f64>()
        });
        1.0 - excluded.product::<f64>()
    }

    /// How many masks there are, one of which is enough.
    #[must_use]
    pub fn masks(&self) -> usize {
        self.terms.len()
    }

    /// The same of 32 signatures at once: bit i tells of `signatures[i]`.
    #[must_use]
    pub fn admitted(&self, signatures: &[u64; 32]) -> u32 {
        let mut admitted = 0;
        for term in &self.terms {
            // Without branches, so that the compiler makes vector instructions of it.
            for (lane, signature) in signatures.iter().enumerate() {
                admitted |= u32::from(signature & term == *term) << lane;
            }
        }
        admitted
    }
}

fn of_all(clauses: &[Clause]) -> Needed {
    let needs = clauses.iter().map(Clause::needed);
    needs.fold(Needed::all(), Needed::and)
}

impl Clause {
    fn needed(&self) -> Needed {
        match self {
            Self::All(clauses) => of_all(clauses),
            Self::Any(clauses) => {
                let mut terms = Vec::new();
                for clause in clauses {
                    terms.extend(clause.needed().terms);
                    let so_far = Needed::of(terms);
                    if so_far.is_all() {
                        return so_far;
                    }
                    terms = so_far.terms;
                }
                Needed { terms }
            }
            Self::Field {
                field,
                test: Test::OneOf(operands),
            } => Needed::of(operands.signatures(field).collect()),
            Self::Field { .. } | Self::Not(_) => Needed::all(),
        }
    }
}
