//! Whether, and when, a filtered search asks ordinary indexes which rows may match.
//!
//! ```text
//! signatures of some lists             ──► few match, as far as they tell?  ──► ask
//!   a few rows that they admit, if it depends on how many of them match     ──► few do?  ──► ask
//! the nearest rows by codes, in waves                                       ──► few of them do?  ──► ask
//! ```
#![forbid(unsafe_code)]

use super::reckoning::Reckoning;
use super::search::IndexSearch;
use super::{entry_tid, heap_tid};
use crate::error::Error;
use crate::index::members::Members;
use crate::index::sample::{self, Shares};
use crate::layout::entry::EntryTid;
use crate::pg::heap::Tid;

/// So many rows looked at weigh as much as what signatures alone, or nothing, let one guess of the share that passes; …
const WEIGHT_OF_GUESS: f64 = 2.0;
/// … and so many near the query as much as a sample of all.
const WEIGHT_OF_SAMPLE: f64 = 16.0;

/// What asking ordinary indexes led to.
pub(super) enum Asked {
    /// They told all rows.
    All(Vec<Tid>),
    /// How many of a few rows pass is to be told first.
    Sample,
}

/// What is known of a search when it is asked whether being told pays.
#[derive(Clone, Copy)]
struct Prices {
    reckoning: Reckoning,
    /// Of being told of a row.
    each: f64,
}

impl Prices {
    /// Up to how many rows being told of them pays, if this share of all match and that share of those looked at passes; None if it does not.
    fn most(self, matching: f64, passing: f64) -> Option<usize> {
        let matching = matching * self.reckoning.rows;
        let by_codes = self.reckoning.by_codes(matching, 1.0 / passing);
        let told = self.reckoning.told(matching, self.each);
        (told <= by_codes).then_some((by_codes / self.each) as usize)
    }
}

/// The share that passes, from a guess that weighs as much as some rows, and rows that were looked at.
fn share(guess: f64, weight: f64, passed: usize, looked_at: usize) -> f64 {
    (passed as f64 + weight * guess) / (looked_at as f64 + weight)
}

/// What it goes by next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Signatures,
    /// Rows that they admit: how many of how many pass.
    Sample {
        passed: usize,
        of: usize,
    },
    /// The nearest rows.
    Waves,
}

enum Verdict {
    /// If they tell no more than so many.
    Ask(usize),
    /// Not yet: it depends on whether these rows pass.
    LookAt(Vec<EntryTid>),
    Wait,
}

impl Verdict {
    fn of(most: Option<usize>) -> Self {
        most.map_or(Self::Wait, Self::Ask)
    }
}

impl IndexSearch<'_, '_> {
    /// Asks ordinary indexes which rows may match, where that pays. If these are few they are the answer; if not, only they are searched from here on.
    pub(super) fn ask(&mut self, passed: usize) -> Result<Option<Asked>, Error> {
        let tellers = self.tellers.as_ref();
        let Some((rows, each)) = tellers.and_then(|all| Some((all.rows(), all.cost()?))) else {
            return Ok(None);
        };
        let reckoning = Reckoning {
            // Of an index that grew no row is counted before VACUUM does it.
            rows: rows.max(self.search.rows() as f64),
            k: self.wanted(passed) as f64,
        };
        let prices = Prices { reckoning, each };
        let phase = std::mem::replace(&mut self.phase, Phase::Waves);
        let verdict = match (phase, self.search.sampled()) {
            (Phase::Signatures, _) => self.by_signatures(prices)?,
            (Phase::Sample { passed, of }, Some(sampled)) => {
                self.passing = share(self.passing, WEIGHT_OF_GUESS, passed, of);
                Verdict::of(prices.most(sampled.may_match * self.passing, self.passing))
            }
            (_, sampled) => self.by_waves(prices, sampled, passed),
        };
        match verdict {
            Verdict::Wait => Ok(None),
            Verdict::LookAt(rows) => {
                self.wave = rows.into_iter().map(heap_tid).collect();
                Ok(Some(Asked::Sample))
            }
            Verdict::Ask(most) => Ok(self.be_told(most, reckoning).map(Asked::All)),
        }
    }

    /// How many more rows are wanted. Those found before the first wave are of other tables, which this one may better.
    fn wanted(&self, passed: usize) -> usize {
        match self.search.stats.passes {
            0 => self.k,
            _ => self.k.saturating_sub(passed).max(1),
        }
    }

    /// Signatures admit rows by chance that do not match, how many can be guessed only.
    fn by_signatures(&mut self, prices: Prices) -> Result<Verdict, Error> {
        self.search.sample()?;
        let Some(sampled) = self.search.sampled() else {
            return Ok(Verdict::Wait);
        };
        self.passing = sampled.passing();
        if let Some(most) = prices.most(sampled.matching, self.passing) {
            return Ok(Verdict::Ask(most));
        }
        let least = share(self.passing, WEIGHT_OF_GUESS, 0, sample::ROWS);
        if prices.most(sampled.may_match * least, least).is_none() {
            return Ok(Verdict::Wait);
        }
        let rows = self.search.sampled_rows();
        Ok(if rows.is_empty() {
            Verdict::Wait
        } else {
            Verdict::LookAt(rows)
        })
    }

    /// Where nothing else tells how many rows match, the nearest do.
    fn by_waves(&self, prices: Prices, sampled: Option<Shares>, passed: usize) -> Verdict {
        let looked_at = self.search.stats.candidates as usize;
        if looked_at == 0 {
            return Verdict::Wait;
        }
        Verdict::of(match sampled {
            Some(sampled) => {
                // Fewer may pass where the query is than elsewhere.
                let here = share(self.passing, WEIGHT_OF_SAMPLE, passed, looked_at);
                prices.most(sampled.may_match * self.passing, here)
            }
            None => {
                let passing = share(0.5, WEIGHT_OF_GUESS, passed, looked_at);
                prices.most(passing, passing)
            }
        })
    }

    /// Asks once. All rows, if they are few.
    fn be_told(&mut self, most: usize, reckoning: Reckoning) -> Option<Vec<Tid>> {
        let (index, mut rows) = self.tellers.take()?.matching(most)?;
        self.told_by = Some((index, rows.len()));
        if rows.len() <= reckoning.few() {
            rows.sort_unstable();
            return Some(rows);
        }
        let members = Members::of(rows.into_iter().map(entry_tid));
        self.search.only_members(members);
        None
    }
}
