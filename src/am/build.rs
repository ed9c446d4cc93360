//! CREATE INDEX and REINDEX: a sample of the table for the centre, one pass over it for the entries, and what recall takes.
#![forbid(unsafe_code)]

use super::source::Source;
use super::{entry_tid, new_meta, signature_of};
use crate::error::Error;
use crate::index::build::Builder;
use crate::index::learn::{self, learn};
use crate::index::neighbours::Helpers;
use crate::index::pages::ReadPages;
use crate::index::plan::{Plan, Sample};
use crate::index::state::IndexState;
use crate::index::vacuum::{CENTRE_SAMPLE, LEAST_CENTRED, Mean};
use crate::layout::entry::EntryTid;
use crate::pg::index_am::Built;
use crate::pg::index_build::{IndexBuild, report_rows};
use crate::pg::parallel;
use crate::storage::{self, PgPages};
use std::ffi::CStr;

/// As pg_stat_progress_create_index names them.
pub const PHASES: &[&CStr] = &[
    c"sampling rows",
    c"choosing lists",
    c"encoding rows",
    c"learning what recall takes",
];
const SAMPLING: usize = 0;
const CHOOSING: usize = 1;
const ENCODING: usize = 2;
const LEARNING: usize = 3;

/// Fewer rows in the sample than this are not worth other threads.
const LEAST_PARALLEL: usize = 2048;

/// Progress is told once in so many rows.
const REPORTED: u64 = 1024;

/// Fills the empty index.
pub fn build(build: &mut IndexBuild) -> Result<Built, Error> {
    // Through a handle of its own: the table is read through the build's.
    let index = build.index.again();
    let pages = PgPages::new(&index);
    storage::forget(Some(index.oid()));
    pages.create(&new_meta(&index)?.new_page())?;
    let state = IndexState::read(&pages)?;

    build.begin_phase(SAMPLING);
    let mut queries = SomeRows::new(learn::queries(state.meta.dimension as usize));
    let mut mean = Mean::new(&state);
    sample(build, CENTRE_SAMPLE as usize, &mut |tid, vector| {
        queries.offer(tid, vector);
        mean.add(vector);
    })?;
    let workers = if queries.offered >= LEAST_PARALLEL {
        parallel::workers()?
    } else {
        None
    };
    let rows = build.expected_rows();
    let limits = super::limits();
    let plan = if rows >= limits.tree_rows {
        let (lists, copies) = limits.lists(rows);
        let wanted = limits.sampled(lists, state.quantizer.code_bits());
        let mut large = Sample::new(&state, wanted);
        sample(build, wanted as usize, &mut |_, vector| large.add(vector))?;
        build.begin_phase(CHOOSING);
        let mut pause = || pages.pause();
        Plan::tree(large, None, (lists, copies), workers.as_ref(), &mut pause)
    } else {
        if (queries.offered as u64) < LEAST_CENTRED {
            mean = Mean::new(&state);
        }
        Plan::flat(&state, mean.centre())
    };

    build.begin_phase(ENCODING);
    let mut builder = Builder::new(&pages, state, plan, workers.as_ref());
    let (mut entries, mut scratch) = (0u64, Vec::new());
    let rows = build.scan(&mut |tid, row| {
        let Some(key) = row.key else {
            return Ok(());
        };
        let signature = signature_of(row)?;
        entries += 1;
        if entries.is_multiple_of(REPORTED) {
            report_rows(entries);
        }
        key.with_elements(&mut scratch, |vector| {
            builder.push(vector, entry_tid(tid), signature)
        })?
    })?;
    let mut state = builder.finish()?;

    if entries >= learn::LEAST_ENTRIES {
        build.begin_phase(LEARNING);
        let queries = queries.into_rows();
        let mut source = Source::new(&build.heap, &index);
        let helpers = workers.as_ref().map(|workers| Helpers {
            workers,
            memory: limits.memory / 2,
        });
        learn(
            &pages,
            &mut state,
            &queries,
            helpers,
            &mut |scorer, tids| source.keys(scorer, tids, &mut || pages.pause()),
        )?;
    }
    Ok(Built {
        rows,
        entries: entries as f64,
    })
}

fn sample(
    build: &mut IndexBuild,
    wanted: usize,
    add: &mut dyn FnMut(EntryTid, &[f32]),
) -> Result<(), Error> {
    let (mut taken, mut scratch) = (0, Vec::new());
    build.sample(wanted, &mut |tid, row| {
        let Some(key) = row.key.filter(|_| taken < wanted) else {
            return Ok(());
        };
        taken += 1;
        key.with_elements(&mut scratch, |vector| add(entry_tid(tid), vector))
    })
}

/// Some of the rows offered, spread evenly over them: queries to learn by.
struct SomeRows {
    wanted: usize,
    /// One in so many is kept, …
    step: usize,
    /// … of so many.
    offered: usize,
    /// Fewer than twice as many as are wanted, however many are offered.
    kept: Vec<(EntryTid, Vec<f32>)>,
}

impl SomeRows {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            step: 1,
            offered: 0,
            kept: Vec::new(),
        }
    }

    fn offer(&mut self, tid: EntryTid, vector: &[f32]) {
        if self.offered.is_multiple_of(self.step) {
            self.kept.push((tid, vector.to_vec()));
            if self.kept.len() >= 2 * self.wanted {
                let mut number = 0;
                self.kept.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.step *= 2;
            }
        }
        self.offered += 1;
    }

    fn into_rows(self) -> Vec<(EntryTid, Vec<f32>)> {
        let (kept, wanted) = (self.kept.len(), self.wanted);
        let rows = self.kept.into_iter().enumerate();
        // As many numbers as are wanted, or all.
        let chosen = rows.filter(|(number, _)| number * wanted % kept < wanted);
        chosen.map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_rows_are_spread_over_all_and_never_many() {
        for offered in [0, 1, 5, 9, 10, 11, 100, 4_096] {
            let mut some = SomeRows::new(5);
            for block in 0..offered {
                some.offer(EntryTid { block, offset: 1 }, &[block as f32]);
                assert!(some.kept.len() < 10);
            }
            let rows = some.into_rows();
            assert_eq!(rows.len(), 5.min(offered as usize), "of {offered}");
            let blocks = rows.iter().map(|(tid, _)| tid.block);
            for (number, block) in blocks.enumerate() {
                let even = number as f32 * offered as f32 / 5.0;
                let off = (block as f32 - even).abs();
                assert!(off <= 0.2 * offered as f32, "{block} of {offered}");
            }
        }
    }
}
