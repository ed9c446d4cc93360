//! The nearest rows to some rows, by wide bounds in many lists: what an index learns from.
//!
//! A search over codes tells which rows to look at next, the keys of those are computed, and so on in turn. Searches touch the index's pages
//! only: over a [`Snapshot`] of them other threads make them, while this one reads the rows.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use super::search::{Candidate, Effort, Search};
use super::snapshot::Snapshot;
use super::state::IndexState;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::metric::{Metric, Scorer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Searches under way at a time: some for every thread, and some whose rows are looked at.
const TOGETHER: usize = 32;
/// How long to wait for a search between two looks at interrupts.
const PATIENCE: Duration = Duration::from_millis(10);

/// Answers the exact keys of row versions; None for those that are not there.
pub type ExactKeys<'a> = dyn FnMut(&Scorer, &[EntryTid]) -> Result<Vec<Option<f64>>, Error> + 'a;

/// A row that is taken as a query.
pub type Query = (EntryTid, Vec<f32>);

/// A neighbour as the search saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Exact, in the unit of estimates.
    pub key: f32,
    /// As its code tells it.
    pub estimate: f32,
    /// One standard deviation of the estimate.
    pub deviation: f32,
    /// With which its list is looked at.
    pub gap: f32,
}

/// Threads that search, and the bytes of pages that may be copied for them.
#[derive(Clone, Copy)]
pub struct Helpers<'h> {
    /// The threads.
    pub workers: &'h rayon::ThreadPool,
    /// Bytes.
    pub memory: usize,
}

/// How to look for neighbours.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// So many nearest of each row, itself not counted.
    pub count: usize,
    /// Lists of a tree to look at.
    pub lists: usize,
    /// How many standard deviations of its estimate a key may be below it.
    pub epsilon: f32,
}

/// The index that is searched: through its pages, or through a copy of them.
pub struct Searched<'p, P: ReadPages> {
    pages: &'p P,
    state: &'p IndexState,
    copy: Option<(Snapshot, &'p rayon::ThreadPool)>,
}

impl<'p, P: ReadPages> Searched<'p, P> {
    /// By helpers, if there are any and the index fits their memory. Nobody changes it meanwhile, then.
    pub fn new(
        pages: &'p P,
        state: &'p IndexState,
        helpers: Option<Helpers<'p>>,
    ) -> Result<Self, Error> {
        let copy = match helpers {
            None => None,
            Some(helpers) => {
                let snapshot = Snapshot::of(pages, helpers.memory)?;
                snapshot.map(|snapshot| (snapshot, helpers.workers))
            }
        };
        Ok(Self { pages, state, copy })
    }

    /// As the index was read.
    pub fn state(&self) -> &'p IndexState {
        self.state
    }

    /// Calls `each` with the nearest of every query, nearest first, and with the gap of the middle list looked at; the queries come in any order.
    pub fn neighbours(
        &self,
        queries: &[&Query],
        wanted: Wanted,
        keys: &mut ExactKeys<'_>,
        each: &mut dyn FnMut(&[Neighbour], f32),
    ) -> Result<(), Error> {
        if let Some((snapshot, workers)) = &self.copy {
            let hunts = queries.iter();
            let hunts = hunts.map(|query| Hunt::new(snapshot, self.state, query, wanted));
            return self.side_by_side(hunts, workers, keys, each);
        }
        for query in queries {
            let mut hunt = Hunt::new(self.pages, self.state, query, wanted)?;
            while hunt.advance()? {
                hunt.judge(keys)?;
            }
            hunt.tell(each);
        }
        Ok(())
    }

    /// Others search while this thread looks at the rows they found.
    fn side_by_side<'s>(
        &self,
        mut hunts: impl Iterator<Item = Result<Hunt<'s, Snapshot>, Error>>,
        workers: &rayon::ThreadPool,
        keys: &mut ExactKeys<'_>,
        each: &mut dyn FnMut(&[Neighbour], f32),
    ) -> Result<(), Error> {
        let stopped = AtomicBool::new(false);
        workers.in_place_scope(|scope| {
            // An error or an interrupt need not wait for what has not begun.
            let _stop = StopAtEnd(&stopped);
            let (sender, searched) = mpsc::channel();
            let search = |mut hunt: Hunt<'s, Snapshot>| {
                let stopped = &stopped;
                let mut answer = Answer {
                    sender: sender.clone(),
                    outcome: None,
                };
                scope.spawn(move |_| {
                    if !stopped.load(Ordering::Relaxed) {
                        answer.outcome = Some(hunt.advance().map(|_| hunt));
                    }
                    drop(answer);
                });
            };
            let mut open = 0;
            loop {
                while open < TOGETHER
                    && let Some(hunt) = hunts.next()
                {
                    search(hunt?);
                    open += 1;
                }
                if open == 0 {
                    return Ok(());
                }
                self.pages.pause();
                let Ok(outcome) = searched.recv_timeout(PATIENCE) else {
                    continue;
                };
                // None: it panicked, and so will the end of the scope.
                let Some(outcome) = outcome else {
                    return Ok(());
                };
                let mut hunt = outcome?;
                if hunt.is_over {
                    hunt.tell(each);
                    open -= 1;
                } else {
                    hunt.judge(keys)?;
                    search(hunt);
                }
            }
        })
    }
}

/// Set when whoever asks for searches asks for no more.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a search came to, sent however it ends: nobody is to wait for one that panicked.
struct Answer<T> {
    sender: mpsc::Sender<Option<T>>,
    outcome: Option<T>,
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        // Nobody listens any more where another search failed.
        let _ = self.sender.send(self.outcome.take());
    }
}

/// One row's way to its nearest.
struct Hunt<'p, P: ReadPages> {
    search: Search<'p, P>,
    metric: Metric,
    scorer: Scorer,
    own: EntryTid,
    wanted: Wanted,
    /// What the search named last, and nobody has looked at yet.
    wave: Vec<Candidate>,
    /// The nearest so far.
    found: Vec<Neighbour>,
    is_over: bool,
}

impl<'p, P: ReadPages> Hunt<'p, P> {
    fn new(
        pages: &'p P,
        state: &IndexState,
        (own, query): &Query,
        wanted: Wanted,
    ) -> Result<Self, Error> {
        let effort = Effort::of_all_lists(wanted.epsilon);
        // The row itself is among its nearest.
        let search = Search::new(pages, state.clone(), query, wanted.count + 1, effort)?;
        Ok(Self {
            search: search.among(wanted.lists),
            metric: state.metric,
            scorer: Scorer::new(state.metric, query.as_slice()),
            own: *own,
            wanted,
            wave: Vec::new(),
            found: Vec::new(),
            is_over: false,
        })
    }

    /// Goes on with the search; whether it named further rows.
    fn advance(&mut self) -> Result<bool, Error> {
        let count = self.wanted.count;
        let bar = (self.found.len() == count).then(|| self.found[count - 1].key);
        self.wave.clear();
        self.wave.extend_from_slice(self.search.next(bar)?);
        self.is_over = self.wave.is_empty();
        Ok(!self.is_over)
    }

    /// Looks at the rows that the search named.
    fn judge(&mut self, keys: &mut ExactKeys<'_>) -> Result<(), Error> {
        let tids: Vec<EntryTid> = self.wave.iter().map(|candidate| candidate.tid).collect();
        let keys = keys(&self.scorer, &tids)?;
        for (candidate, key) in self.wave.drain(..).zip(keys) {
            let Some(key) = key.filter(|key| !key.is_nan() && candidate.tid != self.own) else {
                continue;
            };
            self.found.push(Neighbour {
                key: self.metric.estimate_unit(key),
                estimate: candidate.estimate,
                deviation: (candidate.estimate - candidate.lower) / self.wanted.epsilon,
                gap: candidate.gap,
            });
        }
        self.found.sort_unstable_by(|a, b| a.key.total_cmp(&b.key));
        self.found.truncate(self.wanted.count);
        Ok(())
    }

    fn tell(&self, each: &mut dyn FnMut(&[Neighbour], f32)) {
        each(&self.found, self.search.middle_gap());
    }
}
