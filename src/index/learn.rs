//! Learning what a recall goal takes on an index's own data.
//!
//! An estimate is off by a normal error whose size is known, so ε = 2.33 would find 99 % of the rows at the k-th distance
//! itself. Most of the nearest lie well under it and are found with less. How much less depends on the data; and how far from a
//! query the lists of a tree have to be looked at depends on nothing else. So some rows are taken as queries, their neighbours
//! are found with wide bounds in all lists, and for each neighbour it is noted with which ε it would have been among the
//! candidates, and with which gap its list would have been looked at. The goal's quantiles of these are what searches go by, the
//! ten and the hundred nearest apart.
//!
//! The farther half of a tree's lists is left out: hardly any neighbour is in it. Where lists tell so little that many are, it shows in the
//! half before, and all lists are looked at.
#![forbid(unsafe_code)]

use super::pages::Pages;
use super::search::{Effort, Search};
use super::state::IndexState;
use super::vacuum::update_meta;
use crate::error::Error;
use crate::layout::entry::EntryTid;
use crate::layout::meta::{GOALS, NEIGHBOURS};
use crate::metric::{Metric, Scorer};

/// Rows that are taken as queries.
pub const QUERIES: usize = 128;
/// Fewer entries than this teach nothing.
pub const LEAST_ENTRIES: u64 = 500;
/// Bounds this wide miss one in 700 of the neighbours at the k-th distance itself, hardly any other.
const WIDE: f32 = 3.0;
/// Queries that are not rows lie a little farther from the rows than these from each other. So the goal is tightened by a fifth of what
/// it lets pass, …
const TIGHTER: f32 = 0.8;
/// … and this is added to ε.
const MARGIN: f32 = 0.1;
/// A tree may lose a neighbour by its list or by its code, seldom by both: by its list this share of what the goal lets pass, …
const BY_LIST: f32 = 0.6;
/// … and by its code this share, for each of [`NEIGHBOURS`]; what is looked at beyond the bounds finds many of those.
///
/// On 400,000 vectors of 256 dimensions and 62,000 of 384, real queries met a goal of 0.99 with 0.984 … 0.994 in ten trials with other rows as
/// queries where both were 0.8: what is learned of so few misses is that unsure. The lists decide, so theirs is the smaller.
const BY_CODE: [f32; NEIGHBOURS.len()] = [0.8, 0.6];

/// What is added to ε for each power of ten by which a goal is above the last of [`GOALS`], …
const BEYOND_EPSILON: f32 = 0.5;
/// … and to the gap, as a share of the last.
const BEYOND_GAP: f32 = 0.5;

/// The share of a tree's lists that are looked at while learning: one in so many, …
const LISTS_SHARE: usize = 2;
/// … if of the neighbours found there no more than one in so many is in the farther half of them.
const FEW_FAR: usize = 50;

/// ε by the normal distribution alone, for each of [`GOALS`]: what an index goes by that has learned nothing.
pub const BY_THEORY: [f32; 8] = [0.0, 0.84, 1.28, 1.65, 2.05, 2.33, 2.58, 3.09];

impl IndexState {
    /// What a search for `k` rows takes for a recall goal from 0.5 to 1.
    #[must_use]
    pub fn effort(&self, k: usize, recall: f32) -> Effort {
        if self.meta.learned == 0 {
            return Effort::of_all_lists(quantile(&BY_THEORY, recall, BEYOND_EPSILON));
        }
        let (epsilon, gaps) = (self.meta.epsilon.each_ref(), self.meta.gaps.each_ref());
        let gaps = gaps.map(|known| {
            let last = known[GOALS.len() - 1];
            quantile(known, recall, last * BEYOND_GAP)
        });
        Effort {
            epsilon: between(
                k.min(NEIGHBOURS[1]),
                epsilon.map(|known| quantile(known, recall, BEYOND_EPSILON)),
            ),
            gap: between(k, gaps),
        }
    }
}

/// Of what is known for [`NEIGHBOURS`], what it is for k, by its logarithm; for fewer than the first as for the first.
fn between(k: usize, known: [f32; NEIGHBOURS.len()]) -> f32 {
    let [few, many] = NEIGHBOURS.map(|k| (k as f32).ln());
    let share = (((k.max(1) as f32).ln() - few) / (many - few)).max(0.0);
    let slope = known[1] - known[0];
    known[0] + share.min(1.0) * slope + (share - 1.0).max(0.0) * slope.max(0.0)
}

/// Of what is known for [`GOALS`], what it is for a goal; `beyond` the last more for each further power of ten, up to six of them.
fn quantile(known: &[f32; GOALS.len()], goal: f32, beyond: f32) -> f32 {
    let above = GOALS.partition_point(|known| *known < goal);
    match (above, GOALS.get(above)) {
        (0, _) => known[0],
        (_, None) => {
            let last = GOALS[GOALS.len() - 1];
            let powers = ((1.0 - last) / (1.0 - goal).max(1e-9)).log10().min(6.0);
            known[GOALS.len() - 1] + beyond * powers
        }
        (_, Some(upper)) => {
            let lower = GOALS[above - 1];
            let share = (goal - lower) / (upper - lower);
            known[above - 1] + share * (known[above] - known[above - 1])
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
    /// With which its list is looked at.
    gap: f32,
}

/// What neighbours of one number needed.
#[derive(Clone, Default)]
struct Needs {
    epsilon: Vec<f32>,
    gaps: Vec<f32>,
}

/// Learns from these rows as queries and notes the result on the meta page.
pub fn learn(
    pages: &impl Pages,
    state: &mut IndexState,
    queries: &[(EntryTid, Vec<f32>)],
    keys: &mut ExactKeys<'_>,
) -> Result<(), Error> {
    let lists = state.tree.as_ref().map_or(0, |tree| tree.lists());
    let mut needs = needs_of(pages, state, queries, lists.div_ceil(LISTS_SHARE), keys)?;
    if needs.far * FEW_FAR > needs.found {
        needs = needs_of(pages, state, queries, lists, keys)?;
    }
    let needs = &mut needs.needs;
    if needs[0].epsilon.is_empty() {
        return Ok(());
    }
    if needs[1].epsilon.is_empty() {
        needs[1] = needs[0].clone();
    }
    let mut by_code = BY_CODE
        .map(|share| if lists > 0 { share } else { 1.0 })
        .into_iter();
    let epsilon = needs.each_mut().map(|needs| {
        let share = by_code.next().unwrap_or(1.0);
        goals(&mut needs.epsilon, share).map(|epsilon| (epsilon + MARGIN).min(WIDE))
    });
    // Of what is in the list that takes new rows nothing is asked: its gap is less than any.
    let gaps = needs
        .each_mut()
        .map(|needs| goals(&mut needs.gaps, BY_LIST).map(|gap| gap.max(0.0)));
    let rows = state.rows();
    update_meta(pages, |meta| {
        meta.epsilon = epsilon;
        meta.gaps = gaps;
        meta.learned = rows.max(1);
    })?;
    state.refresh(pages)
}

/// What the queries' neighbours needed.
#[derive(Default)]
struct AllNeeds {
    needs: [Needs; NEIGHBOURS.len()],
    /// Neighbours that were found, and those of them in the farther half of the lists looked at.
    found: usize,
    far: usize,
}

/// What they need by the nearest `lists` of a tree.
fn needs_of(
    pages: &impl Pages,
    state: &IndexState,
    queries: &[(EntryTid, Vec<f32>)],
    lists: usize,
    keys: &mut ExactKeys<'_>,
) -> Result<AllNeeds, Error> {
    let mut all = AllNeeds::default();
    for (own, query) in queries {
        let (found, middle) = neighbours(pages, state, *own, query, lists, keys)?;
        all.found += found.len();
        all.far += found.iter().filter(|found| found.gap > middle).count();
        for (needs, k) in all.needs.iter_mut().zip(NEIGHBOURS) {
            // The k-th and all before it must be known, and some beyond, or they were not chosen from much.
            if found.len() > k {
                note_needs(&found[..k], needs);
            }
        }
    }
    Ok(all)
}

/// The nearest rows to one of them, and the gap of the middle list looked at.
fn neighbours<P: Pages>(
    pages: &P,
    state: &IndexState,
    own: EntryTid,
    query: &[f32],
    lists: usize,
    keys: &mut ExactKeys<'_>,
) -> Result<(Vec<Neighbour>, f32), Error> {
    let wanted = NEIGHBOURS[NEIGHBOURS.len() - 1] + 1;
    let scorer = Scorer::new(state.metric, query);
    let effort = Effort::of_all_lists(WIDE);
    let mut search = Search::new(pages, state.clone(), query, wanted + 1, effort)?.among(lists);
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
                gap: candidate.gap,
            });
        }
        found.sort_unstable_by(|a, b| a.key.total_cmp(&b.key));
        found.truncate(wanted);
        bar = (found.len() == wanted).then(|| found[wanted - 1].key);
    }
    Ok((found, search.middle_gap()))
}

/// The ε with which each of the nearest would have had a lower bound not above the farthest of them, and the gap.
fn note_needs(nearest: &[Neighbour], needs: &mut Needs) {
    let Some(bar) = nearest.last().map(|last| last.key) else {
        return;
    };
    needs.epsilon.extend(nearest.iter().map(|found| {
        if found.deviation > 0.0 {
            ((found.estimate - bar) / found.deviation).max(0.0)
        } else {
            0.0
        }
    }));
    needs.gaps.extend(nearest.iter().map(|found| found.gap));
}

/// For each of [`GOALS`] the quantile of what was needed, where each may miss `share` of what the goal lets pass.
fn goals(needs: &mut [f32], share: f32) -> [f32; GOALS.len()] {
    needs.sort_unstable_by(f32::total_cmp);
    GOALS.map(|goal| {
        let passed = 1.0 - (1.0 - goal) * TIGHTER * share;
        let at = (passed * needs.len() as f32).ceil() as usize;
        needs[at.min(needs.len() - 1)]
    })
}
