//! A row that a search has found, in the order of what it answers.
#![forbid(unsafe_code)]

use super::record::{Rank, Record};
use crate::pg::heap::Tid;
use std::cmp::Ordering;

/// A row that may be among the best: ordered by rank, then id, then the place of its namespace among those asked.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) id: Box<str>,
    pub(super) place: usize,
    /// Exact.
    pub(super) key: f64,
    pub(super) row: Row,
}

/// Where a row lies, and in which file: the namespace may have got another before the row is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowPlace {
    pub(super) file: u32,
    pub(super) tid: Tid,
}

/// A row of the namespace that is looked at, or what is asked for of one, once it was read.
#[derive(Clone, Debug)]
pub(super) enum Row {
    At(RowPlace),
    Read(Box<Record>),
}

impl Candidate {
    /// A row that is yet to be read.
    pub(super) fn at(key: f64, id: &str, place: usize, row: RowPlace) -> Self {
        Self {
            rank: Rank::new(key),
            id: id.into(),
            place,
            key,
            row: Row::At(row),
        }
    }

    /// Where the row lies, unless it was read.
    pub(super) fn row_place(&self) -> Option<RowPlace> {
        match self.row {
            Row::At(row) => Some(row),
            Row::Read(_) => None,
        }
    }

    pub(super) fn order(&self) -> (Rank, &str, usize) {
        (self.rank, &self.id, self.place)
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}
