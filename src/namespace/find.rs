//! Which rows of a leaf a query looks at, and in which order.
//!
//! ```text
//! few pages, or recall 1                    ──► every row, but under a filter those that an ordinary index tells
//! a B-tree index tells few rows             ──► all of them, the nearest first
//! else, by the vector index                 ──► in waves, the nearest by their codes first
//!   an ordinary index told few meanwhile    ──► all of them, the nearest first
//! ```
#![forbid(unsafe_code)]

use super::Leaf;
use super::catalog::Index;
use super::search::Rows;
use crate::am::search::{self, IndexSearch, Next};
use crate::am::teller::Tellers;
use crate::error::Error;
use crate::guc;
use crate::pg::heap::fetch::Fetcher;
use crate::pg::heap::{self, Snapshot, Tid};
use crate::pg::leaf::METADATA;
use crate::pg::relation::{LockMode, Relation};
use crate::pg::statistics;
use crate::storage::PgPages;

/// So many rows beyond k are looked at closely at first: rounding may have changed the order of some, and some may not pass the filter.
const EXTRA: usize = 4;

impl Rows<'_, '_> {
    /// Looks at the rows that may be among the best. `briefly`: no lock is kept.
    pub(super) fn find(&mut self, leaf: &Leaf, index: &Index, briefly: bool) -> Result<(), Error> {
        let table = &leaf.relation;
        let query = self.best.query;
        let pages = table.blocks();
        let fetcher = || Fetcher::new(table, pages, Snapshot::active());
        let tellers = match query.filter {
            Some(filter) if !search::is_small(pages) => Tellers::of(table, pages, filter, METADATA),
            _ => None,
        };
        let few = tellers.as_ref().and_then(|tellers| tellers.few(query.k));
        if let Some((_, places)) = few {
            statistics::count_scan(table);
            return self.look_at_all(fetcher(), &places);
        }
        let vectors = leaf
            .vector_index
            .filter(|_| search::pays(pages, index.dimension, guc::recall()));
        let lock = LockMode::AccessShare;
        match vectors.and_then(|vectors| Relation::try_open_any(vectors, lock)) {
            Some(vectors) if briefly => {
                self.by_index(fetcher(), &vectors.unlock_on_drop(lock), tellers)
            }
            Some(vectors) => self.by_index(fetcher(), &vectors, tellers),
            None => {
                // One row of a page costs about as much to read by its place as all of them one after the other.
                let told = tellers.and_then(|tellers| tellers.matching(pages as usize));
                match told {
                    Some((_, mut places)) => {
                        statistics::count_scan(table);
                        places.sort_unstable();
                        self.look_at_all(fetcher(), &places)
                    }
                    None => heap::scan(table, Snapshot::active(), |tid, row| self.offer(tid, row)),
                }
            }
        }
    }

    /// Looks at the rows that may be among the best by their codes.
    fn by_index(
        &mut self,
        mut fetcher: Fetcher<'_>,
        vectors: &Relation,
        tellers: Option<Tellers<'_>>,
    ) -> Result<(), Error> {
        statistics::count_scan(vectors);
        let pages = PgPages::new(vectors);
        let query = self.best.query;
        let mut search = IndexSearch::new(&pages, query.scorer.query(), query.k, guc::recall())?;
        if let Some(filter) = query.filter {
            search = search.only(filter, METADATA, tellers);
        }
        loop {
            match search.next(self.best.bar(), self.best.count())? {
                Next::Wave([]) => return Ok(()),
                Next::Wave(wave) => fetcher.fetch(wave, |_, tid, row| self.offer(tid, row))?,
                Next::Sample(rows) => {
                    let mut passed = 0;
                    fetcher.fetch(rows, |_, _, row| {
                        passed += usize::from(self.passes(row)?);
                        Ok(())
                    })?;
                    search.tell(passed);
                }
                Next::All(places) => {
                    self.forget();
                    return self.look_at_all(fetcher, &places);
                }
            }
        }
    }

    /// Looks at rows, given in the order of their places: first how near each is, about; then closely at the nearest.
    fn look_at_all(&mut self, mut fetcher: Fetcher<'_>, places: &[Tid]) -> Result<(), Error> {
        let mut size = self.best.query.k.saturating_add(EXTRA);
        if places.len() <= size {
            return fetcher.fetch(places, |_, tid, row| self.offer(tid, row));
        }
        let mut near = Vec::with_capacity(places.len());
        fetcher.fetch(places, |number, _, row| {
            // A row without a vector is nowhere near anything.
            let least = self.least(row)?;
            if let Some(least) = least.filter(|least| !self.best.excludes(*least)) {
                near.push((least, number));
            }
            Ok(())
        })?;
        let mut wave = Vec::with_capacity(size.min(near.len()));
        while !near.is_empty() {
            let rest = near.len() - size.min(near.len());
            if rest > 0 {
                near.select_nth_unstable_by(rest, |a, b| b.0.total_cmp(&a.0));
            }
            wave.clear();
            wave.extend(near.drain(rest..).map(|(_, number)| places[number]));
            wave.sort_unstable();
            fetcher.fetch(&wave, |_, tid, row| self.offer(tid, row))?;
            near.retain(|(least, _)| !self.best.excludes(*least));
            size = size.saturating_mul(2);
        }
        Ok(())
    }
}
