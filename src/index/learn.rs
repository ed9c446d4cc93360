//! Learning what a recall goal takes on an index's own data.
//!
//! An estimate is off by a normal error whose size is known, so ε = 2.33 would find 99 % of the rows at the k-th distance
//! itself. Most of the nearest lie well under it and are found with less. How much less depends on the data; and how far from a
//! query the lists of a tree have to be looked at depends on nothing else. So some rows are taken as queries, their neighbours
//! are found with wide bounds in all lists, and for each neighbour it is noted with which ε it would have been among the
//! candidates, and with which gap its list would have been looked at. The goal's quantiles of these are what searches go by, the
//! ten and the hundred nearest apart.
//!
//! Of a tree's lists the farther ones are left out, as many as hardly any neighbour is in: an eighth is looked at, a quarter or a half where that is
//! not enough, or all. Neighbours grow rarer with the number of lists looked at about as its reciprocal does, so beyond those looked at are
//! nearly as many more as were found in the farther half of them.
#![forbid(unsafe_code)]

use super::neighbours::{ExactKeys, Helpers, Neighbour, Query, Searched, Wanted};
use super::pages::{Pages, ReadPages};
use super::search::Effort;
use super::state::IndexState;
use super::vacuum::update_meta;
use crate::error::Error;
use crate::layout::meta::{GOALS, NEIGHBOURS};
use crate::stop_point::StopPoint;

/// Rows that are taken as queries. Some are much harder than others, so it takes this many: on 400,000 vectors of 256 dimensions and 62,000
/// of 384, real queries met a goal of 0.99 with 0.981 … 0.996 in ten trials with other 128 rows, with 0.990 … 0.995 in twelve with 512.
const QUERIES: usize = 512;
/// … and the hundred nearest, which cost much more, are found of one in so many of them.
const ONE_IN: [usize; NEIGHBOURS.len()] = [1, 4];
/// Bytes that they take at most.
const MOST_BYTES: usize = 16 << 20;
/// Fewer entries than this teach nothing.
pub const LEAST_ENTRIES: u64 = 500;
/// Bounds this wide miss one in 200 of the neighbours at the k-th distance itself, hardly any other.
const WIDE: f32 = 2.6;
/// Queries that are not rows lie a little farther from the rows than these from each other. So the goal is tightened by three tenths of
/// what it lets pass, …
const TIGHTER: f32 = 0.7;
/// … and this is added to ε.
const MARGIN: f32 = 0.1;
/// A tree may lose a neighbour by its list or by its code, seldom by both: by its list this share of what the goal lets pass, …
const BY_LIST: f32 = 0.6;
/// … and by its code this share, for each of [`NEIGHBOURS`]; what is looked at beyond the bounds finds many of those.
///
/// What is learned of so few misses is unsure. The lists decide, so theirs is the smaller.
const BY_CODE: [f32; NEIGHBOURS.len()] = [0.8, 0.6];

/// What is added to ε for each power of ten by which a goal is above the last of [`GOALS`], …
const BEYOND_EPSILON: f32 = 0.5;
/// … and to the gap, as a share of the last.
const BEYOND_GAP: f32 = 0.5;

/// The shares of a tree's lists that are looked at while learning: one in so many, but no fewer than this, the first of them …
const LISTS_SHARES: [usize; 4] = [8, 4, 2, 1];
const LEAST_LISTS: usize = 512;
/// … where of the neighbours no more than one in so many is in the farther half of those …
const FEW_FAR: usize = 50;
/// … of so many queries.
const TRIED: usize = 64;
/// Beyond them are so many times as many as there: the share beyond x of n lists goes about with 1/x − 1/n.
const BEYOND_FAR: f32 = 0.75;

/// What so many neighbours need more than, and so many times as many as were not seen, can be told from those seen; …
const TOLD: usize = 24;
const TOLD_BEYOND: f32 = 1.5;
/// … less by how it grew while what is missed shrank by this factor.
const STRETCH: f32 = 4.0;

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

/// What neighbours needed.
#[derive(Default)]
struct Needs {
    epsilon: Vec<f32>,
    gaps: Vec<f32>,
    /// Those of them in the farther half of the lists looked at.
    far: usize,
    /// All lists were looked at.
    complete: bool,
}

impl Needs {
    /// The share of all neighbours that is beyond the lists looked at, about.
    fn beyond(&self) -> f32 {
        if self.complete {
            return 0.0;
        }
        let (found, beyond) = (self.gaps.len().max(1) as f32, self.far as f32 * BEYOND_FAR);
        beyond / (found + beyond)
    }
}

/// How many rows to take as queries, of vectors of so many elements.
#[must_use]
pub fn queries(dimension: usize) -> usize {
    (MOST_BYTES / (dimension.max(1) * size_of::<f32>())).clamp(ONE_IN[1], QUERIES)
}

/// Learns from these rows as queries and notes the result on the meta page. Where there are helpers nobody changes the index meanwhile.
pub fn learn(
    pages: &impl Pages,
    state: &mut IndexState,
    queries: &[Query],
    helpers: Option<Helpers<'_>>,
    keys: &mut ExactKeys<'_>,
) -> Result<(), Error> {
    let searched = Searched::new(pages, state, helpers)?;
    let mut needs = |at: usize| {
        let queries: Vec<&Query> = queries.iter().step_by(ONE_IN[at]).collect();
        needs_of(&searched, &queries, NEIGHBOURS[at], keys)
    };
    let (few, many) = (needs(0)?, needs(1)?);
    if few.epsilon.is_empty() {
        return Ok(());
    }
    let all = [&few, if many.epsilon.is_empty() { &few } else { &many }];
    let is_tree = state.tree.is_some();
    let epsilon = std::array::from_fn(|at| {
        let share = if is_tree { BY_CODE[at] } else { 1.0 };
        goals(&all[at].epsilon, share, 0.0).map(|epsilon| (epsilon + MARGIN).min(WIDE))
    });
    let gaps = std::array::from_fn(|at| goals(&all[at].gaps, BY_LIST, all[at].beyond()));
    let rows = state.rows();
    update_meta(pages, StopPoint::Learned, |meta| {
        meta.epsilon = epsilon;
        meta.gaps = gaps;
        meta.learned = rows.max(1);
    })?;
    state.refresh(pages)
}

/// What the queries' k nearest need, by as few of a tree's lists as tell it.
fn needs_of(
    searched: &Searched<'_, impl ReadPages>,
    queries: &[&Query],
    k: usize,
    keys: &mut ExactKeys<'_>,
) -> Result<Needs, Error> {
    let tree = searched.state().tree.as_ref();
    let lists = tree.map_or(0, |tree| tree.lists());
    let shares = LISTS_SHARES.map(|share| lists.div_ceil(share).max(LEAST_LISTS).min(lists));
    let each = queries.len().div_ceil(TRIED).max(1);
    let some: Vec<&Query> = queries.iter().copied().step_by(each).collect();
    let mut looked_at = shares[0];
    for more in &shares[1..] {
        if looked_at == lists {
            break;
        }
        let tried = needs_by(searched, &some, k, looked_at, keys)?;
        if tried.far * FEW_FAR <= tried.gaps.len() {
            break;
        }
        looked_at = *more;
    }
    let mut needs = needs_by(searched, queries, k, looked_at, keys)?;
    needs.complete = looked_at == lists;
    Ok(needs)
}

/// The same by the nearest `lists`.
fn needs_by(
    searched: &Searched<'_, impl ReadPages>,
    queries: &[&Query],
    k: usize,
    lists: usize,
    keys: &mut ExactKeys<'_>,
) -> Result<Needs, Error> {
    let mut needs = Needs::default();
    let wanted = Wanted {
        // The k-th and all before it must be known, and one beyond, or they were not chosen from much.
        count: k + 1,
        lists,
        epsilon: WIDE,
    };
    searched.neighbours(queries, wanted, keys, &mut |found, middle| {
        if found.len() > k {
            note_needs(&found[..k], &mut needs);
            needs.far += found[..k].iter().filter(|found| found.gap > middle).count();
        }
    })?;
    Ok(needs)
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
    // Of what is in the list that takes new rows nothing is asked: its gap is less than any.
    let gaps = nearest.iter().map(|found| found.gap.max(0.0));
    needs.gaps.extend(gaps);
}

/// For each of [`GOALS`] what it takes so that no more than `share` of what the goal lets pass is missed, if the share `beyond` of all was not
/// seen and needs more.
///
/// It is a quantile of what was needed as far as there are enough above it to tell; further on what is missed is taken to shrink by the same
/// factor for each step, as it did on the last stretch.
fn goals(needs: &[f32], share: f32, beyond: f32) -> [f32; GOALS.len()] {
    let mut needs = needs.to_vec();
    needs.sort_unstable_by(f32::total_cmp);
    let last = needs.len() - 1;
    let at_missed = |missed: f32| {
        let above = (missed - beyond) / (1.0 - beyond) * needs.len() as f32;
        needs[last.saturating_sub(above.max(0.0) as usize)]
    };
    let told = (beyond * TOLD_BEYOND).max(TOLD as f32 / needs.len() as f32);
    let (from, stretch) = (at_missed(told), STRETCH.ln());
    let step = (from - at_missed(told * STRETCH)) / stretch;
    GOALS.map(|goal| {
        let missed = (1.0 - goal) * TIGHTER * share;
        if missed >= told {
            at_missed(missed)
        } else {
            // Of needs that overflowed a step is no number, and is none.
            from + (step * (told / missed).ln()).max(0.0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of which a share of e^−x is above x.
    fn exponential(count: usize) -> Vec<f32> {
        let share = |number| (number as f32 + 0.5) / count as f32;
        (0..count).map(|number| -share(number).ln()).collect()
    }

    #[test]
    fn a_goal_takes_what_all_but_the_missed_need() {
        let learned = goals(&exponential(10_000), 1.0, 0.0);
        for (goal, learned) in GOALS.into_iter().zip(learned) {
            let wanted = -((1.0 - goal) * TIGHTER).ln();
            assert!(
                (learned - wanted).abs() < 0.1,
                "{goal}: {learned}, not {wanted}"
            );
        }
    }

    #[test]
    fn what_was_not_seen_is_counted_as_missed() {
        let all = exponential(10_000);
        // The 200 that need most are not seen.
        let seen = &all[200..];
        let learned = goals(seen, 1.0, 0.02);
        for (goal, learned) in GOALS.into_iter().zip(learned) {
            let wanted = -((1.0 - goal) * TIGHTER).ln();
            assert!(
                (learned - wanted).abs() < 0.3,
                "{goal}: {learned}, not {wanted}"
            );
        }
        assert!(learned.is_sorted());
    }

    #[test]
    fn few_neighbours_and_equal_ones_teach_something() {
        assert!(
            goals(&[1.0], 0.5, 0.0)
                .iter()
                .all(|learned| *learned == 1.0)
        );
        assert!(
            goals(&[0.0; 500], 0.5, 0.9)
                .iter()
                .all(|learned| *learned == 0.0)
        );
    }
}
