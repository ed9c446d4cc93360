//! Learning what a recall goal takes on an index's own data.
//!
//! An estimate is off by a normal error whose size is known, so ε = 2.33 would find 99 % of the rows at the k-th distance
//! itself. Most of the nearest lie well under it and are found with less. How much less depends on the data: so some rows
//! are taken as queries, their exact neighbours are found, and for each neighbour the ε is noted with which it would have
//! been among the candidates. The goal's quantile of these is what searches go by.
#![forbid(unsafe_code)]

use super::pages::Pages;
use super::search::Search;
use super::state::IndexState;
use super::vacuum::update_meta;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::layout::meta::GOALS;
use crate::metric::{Metric, Scorer};

/// Rows that are taken as queries.
pub const QUERIES: usize = 48;
/// Fewer entries than this teach nothing.
pub const LEAST_ENTRIES: u64 = 1000;
/// Neighbours per query, for which the goals are to hold.
const NEIGHBOURS: [usize; 2] = [10, 100];
/// Bounds this wide miss one in 700 of the neighbours at the k-th distance itself, hardly any other.
const WIDE: f32 = 3.0;
/// Real queries lie farther from the rows than rows from each other. The goal is tightened by a fifth of what it lets
/// pass, and this is added. Measured with real queries on both data sets of the bench: see tests/bench.
const MARGIN: f32 = 0.1;

/// ε by the normal distribution alone, for each of [`GOALS`]: what an index goes by that has learned nothing.
pub const BY_THEORY: [f32; 8] = [0.0, 0.84, 1.28, 1.65, 2.05, 2.33, 2.58, 3.09];

impl IndexState {
    /// The ε of the lower bound for a recall goal from 0.5 to 1.
    #[must_use]
    pub fn epsilon(&self, recall: f32) -> f32 {
        let known = if self.meta.learned > 0 {
            &self.meta.epsilon
        } else {
            &BY_THEORY
        };
        let above = GOALS.partition_point(|goal| *goal < recall);
        match (above, GOALS.get(above)) {
            (0, _) => known[0],
            // Beyond the last goal: half a standard deviation for each further power of ten, up to six of them.
            (_, None) => {
                let last = GOALS[GOALS.len() - 1];
                let powers = ((1.0 - last) / (1.0 - recall).max(1e-9)).log10().min(6.0);
                known[GOALS.len() - 1] + 0.5 * powers
            }
            (_, Some(upper)) => {
                let lower = GOALS[above - 1];
                let share = (recall - lower) / (upper - lower);
                known[above - 1] + share * (known[above] - known[above - 1])
            }
        }
    }
}

/// The key of a [`Scorer`] in the unit of estimates: under cosine those are distances, from 0 to 2.
#[must_use]
#[inline]
pub fn estimate_unit(metric: Metric, key: f64) -> f32 {
    match metric {
        Metric::Cosine => (1.0 + key) as f32,
        Metric::DotProduct | Metric::Euclidean => key as f32,
    }
}

/// Answers the exact keys of row versions; None for those that are not there.
pub type ExactKeys<'a> = dyn FnMut(&Scorer, &[EntryTid]) -> Result<Vec<Option<f64>>, Error> + 'a;

/// A neighbour as the search saw it.
#[derive(Clone, Copy)]
struct Neighbour {
    key: f32,
    estimate: f32,
    /// One standard deviation of the estimate.
    deviation: f32,
}

/// Learns from these rows as queries and notes the result on the meta page.
pub fn learn(
    pages: &impl Pages,
    state: &mut IndexState,
    queries: &[(EntryTid, Vec<f32>)],
    keys: &mut ExactKeys<'_>,
) -> Result<(), Error> {
    let mut needs: [Vec<f32>; NEIGHBOURS.len()] = Default::default();
    for (own, query) in queries {
        let found = neighbours(pages, state, *own, query, keys)?;
        for (needs, k) in needs.iter_mut().zip(NEIGHBOURS) {
            // The k-th and all before it must be known, and some beyond, or they were not chosen from much.
            if found.len() > k {
                note_needs(&found[..k], needs);
            }
        }
    }
    if needs[0].is_empty() {
        return Ok(());
    }
    let epsilon = goals(&mut needs);
    let entries = state.list().entries;
    update_meta(pages, |meta| {
        meta.epsilon = epsilon;
        meta.learned = entries.max(1);
    })?;
    state.refresh(pages)
}

fn neighbours<P: Pages>(
    pages: &P,
    state: &IndexState,
    own: EntryTid,
    query: &[f32],
    keys: &mut ExactKeys<'_>,
) -> Result<Vec<Neighbour>, Error> {
    let wanted = NEIGHBOURS[NEIGHBOURS.len() - 1] + 1;
    let scorer = Scorer::new(state.metric, query);
    let mut search = Search::new(pages, state.clone(), query, wanted + 1, WIDE)?;
    let mut found: Vec<Neighbour> = Vec::new();
    let mut bar = None;
    loop {
        let wave = search.next(bar)?;
        if wave.is_empty() {
            break;
        }
        let tids: Vec<EntryTid> = wave.iter().map(|candidate| candidate.tid).collect();
        let wave = wave.to_vec();
        for (candidate, key) in wave.iter().zip(keys(&scorer, &tids)?) {
            let Some(key) = key.filter(|key| !key.is_nan() && candidate.tid != own) else {
                continue;
            };
            found.push(Neighbour {
                key: estimate_unit(state.metric, key),
                estimate: candidate.estimate,
                deviation: (candidate.estimate - candidate.lower) / WIDE,
            });
        }
        found.sort_unstable_by(|a, b| a.key.total_cmp(&b.key));
        found.truncate(wanted);
        bar = (found.len() == wanted).then(|| found[wanted - 1].key);
    }
    Ok(found)
}

/// The ε with which each of the nearest would have had a lower bound not above the farthest of them.
fn note_needs(nearest: &[Neighbour], needs: &mut Vec<f32>) {
    let Some(bar) = nearest.last().map(|last| last.key) else {
        return;
    };
    needs.extend(nearest.iter().map(|found| {
        if found.deviation > 0.0 {
            ((found.estimate - bar) / found.deviation).max(0.0)
        } else {
            0.0
        }
    }));
}

fn goals(needs: &mut [Vec<f32>]) -> [f32; GOALS.len()] {
    for needs in &mut *needs {
        needs.sort_unstable_by(f32::total_cmp);
    }
    GOALS.map(|goal| {
        let quantile = |needs: &Vec<f32>| {
            let passed = 1.0 - (1.0 - goal) * 0.8;
            let at = (passed * needs.len() as f32).ceil() as usize;
            needs.get(at.min(needs.len().saturating_sub(1))).copied()
        };
        let most = needs.iter().filter_map(quantile).fold(0.0, f32::max);
        (most + MARGIN).min(WIDE)
    })
}
