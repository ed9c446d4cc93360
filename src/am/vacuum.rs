//! VACUUM's visits: entries of dead rows go, then the index is put in order as far as it has changed.
#![forbid(unsafe_code)]

use super::heap_tid;
use super::source::Source;
use crate::error::Error;
use crate::index::learn::{self, learn};
use crate::index::pages::Pages;
use crate::index::state::IndexState;
use crate::index::vacuum::{self, maintain, some_rows};
use crate::layout::entry::EntryTid;
use crate::pg::heap::Tid;
use crate::pg::index_vacuum::IndexVacuum;
use crate::storage::{self, PgPages};

/// What recall takes is learned anew when the index has grown this many times, or shrunk.
const LEARN_AGAIN: u64 = 2;

/// ambulkdelete.
pub fn remove(vacuum: &mut IndexVacuum, is_dead: &mut dyn FnMut(Tid) -> bool) -> Result<(), Error> {
    let removal = {
        let pages = PgPages::in_vacuum(&vacuum.index);
        let mut state = storage::state(&pages)?;
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
        let mut state = storage::state(&pages)?;
        let mut source = Source::new(&heap, &vacuum.index);
        let vector = &mut |tid| source.vector(tid);
        let done = maintain(&pages, &mut state, super::limits(), vector)?;
        if must_learn(&state) {
            let queries = queries(&pages, &state, &mut source)?;
            learn(&pages, &mut state, &queries, &mut |scorer, tids| {
                source.keys(scorer, tids)
            })?;
        }
        done
    };
    vacuum.note_end(done.entries, done.counted, done.freed, 0);
    Ok(())
}

fn must_learn(state: &IndexState) -> bool {
    let (entries, learned) = (state.rows(), state.meta.learned);
    entries >= learn::LEAST_ENTRIES
        && (entries >= learned.saturating_mul(LEARN_AGAIN) || entries <= learned / LEARN_AGAIN)
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
