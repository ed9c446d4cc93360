//! VACUUM's visits: entries of dead rows go, then the index is put in order as far as it has changed.
#![forbid(unsafe_code)]

use super::heap_tid;
use super::search;
use super::source::Source;
use crate::error::Error;
use crate::index::learn::{self, learn};
use crate::index::pages::ReadPages;
use crate::index::state::IndexState;
use crate::index::vacuum::{self, maintain, some_rows};
use crate::layout::entry::EntryTid;
use crate::pg::heap::Tid;
use crate::pg::index_vacuum::IndexVacuum;
use crate::storage::PgPages;

/// What recall takes is learned anew when the index has grown or shrunk by one in so many of the rows that it was learned at. Under autovacuum alone
/// a goal of 0.95 was met with 0.935 after 90 % were deleted where only half or twice as many rows made it learn, with 0.957 where a quarter does.
const LEARN_AGAIN: u64 = 4;

/// ambulkdelete.
pub fn remove(vacuum: &mut IndexVacuum, is_dead: &mut dyn FnMut(Tid) -> bool) -> Result<(), Error> {
    let removal = {
        let pages = PgPages::in_vacuum(&vacuum.index);
        let mut state = super::state(&pages)?;
        vacuum::remove_dead(&pages, &mut state, &mut |tid| is_dead(heap_tid(tid)))?
    };
    vacuum.note_removal(removal.removed, removal.live);
    Ok(())
}

/// amvacuumcleanup.
pub fn clean_up(vacuum: &mut IndexVacuum) -> Result<(), Error> {
    let Some(heap) = vacuum.heap() else {
        return Ok(());
    };
    let done = {
        let pages = PgPages::in_vacuum(&vacuum.index);
        let mut state = super::state(&pages)?;
        let mut source = Source::new(&heap, &vacuum.index);
        let vector = &mut |tid| source.vector(tid);
        let done = maintain(&pages, &mut state, super::limits(), vector)?;
        let dimension = state.meta.dimension as usize;
        // Of a table that is read as a whole anyway nothing needs to be known, and many are so small.
        let is_searched = search::pays(heap.blocks(), dimension, 0.0);
        if is_searched && must_learn(state.rows(), state.meta.learned) {
            let queries = queries(&pages, &state, &mut source)?;
            learn(&pages, &mut state, &queries, None, &mut |scorer, tids| {
                source.keys(scorer, tids, &mut || pages.pause())
            })?;
        }
        done
    };
    vacuum.note_end(done.entries, done.counted, done.freed, 0);
    Ok(())
}

/// Of an index of so many rows that learned at so many, 0 if it has not.
fn must_learn(rows: u64, learned: u64) -> bool {
    rows >= learn::LEAST_ENTRIES
        && (learned == 0 || rows.abs_diff(learned) >= learned.div_ceil(LEARN_AGAIN))
}

/// Some of the index's own rows, spread evenly over it.
fn queries(
    pages: &PgPages<'_>,
    state: &IndexState,
    source: &mut Source<'_>,
) -> Result<Vec<(EntryTid, Vec<f32>)>, Error> {
    let wanted = learn::queries(state.meta.dimension as usize) as u64;
    let chosen = some_rows(pages, state, state.entries(), wanted)?;
    let mut queries = Vec::with_capacity(chosen.len());
    for tid in chosen {
        pages.pause();
        if let Some(vector) = source.vector(tid)? {
            queries.push((tid, vector));
        }
    }
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_again_after_a_quarter_has_come_or_gone() {
        for (rows, learned, must) in [
            (499, 0, false),
            (500, 0, true),
            (1000, 1000, false),
            (1249, 1000, false),
            (1250, 1000, true),
            (751, 1000, false),
            (750, 1000, true),
            (499, 1000, false),
            (u64::MAX, 1, true),
        ] {
            assert_eq!(must_learn(rows, learned), must, "{rows} of {learned}");
        }
    }
}
