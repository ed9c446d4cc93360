//! The rows of a top-k scan that indexes tell: a vector index which are near, ordinary indexes which may pass the filters.
#![forbid(unsafe_code)]

use super::exec::TopKScan;
use super::key::{Entry, key_of_distance};
use super::private::FILTERS;
use crate::am::search::{self, IndexSearch, Next};
use crate::am::teller::Tellers;
use crate::error::Error;
use crate::filter::Filter;
use crate::guc;
use crate::index::topk::TopK;
use crate::metric::Distance;
use crate::pg::executor::Executor;
use crate::pg::heap::Tid;
use crate::pg::relation::{LockMode, Oid, Relation};
use crate::pg::statistics;
use crate::pg::table_scan::IndexFetch;
use crate::storage::PgPages;
use std::rc::Rc;

impl TopKScan {
    /// The next rows, by indexes. None if there are none, or they do not pay, or they cannot tell, or know no more: then all rows are looked at.
    pub(super) fn search_indexes(
        &mut self,
        executor: &mut Executor<'_>,
    ) -> Result<Option<Vec<Entry>>, Error> {
        let Some(oid) = self.plan.index.map(Oid::from) else {
            return Ok(None);
        };
        let Some(query) = self.query_of(|index| executor.vector(index))?.clone() else {
            return Ok(None);
        };
        let table = executor.table();
        let pages = table.blocks();
        // Those handed out before are among them.
        let wanted = self.by_index.len().saturating_add(self.batch_size);
        let filter = self.filter_of(executor)?;
        let filter = filter.zip(self.plan.signatures);
        let mut tellers = match &filter {
            Some((filter, asked)) if !search::is_small(pages) => {
                Tellers::of(&table, pages, filter, asked.column)
            }
            _ => None,
        };
        let mut kept: TopK<Entry> = TopK::growing(wanted);
        if let Some((name, places)) = tellers.as_ref().and_then(|tellers| tellers.few(wanted)) {
            self.filter_index = Some((name, places.len()));
            statistics::count_scan(&table);
            self.look_at_all(executor, &places, &mut kept)?;
            return Ok(Some(self.not_handed_out(kept)));
        }
        let recall = guc::recall();
        let distance = self.plan.distance;
        let zeros = query.iter().all(|element| *element == 0.0);
        if (zeros && distance == Distance::Cosine) || !search::pays(pages, query.len(), recall) {
            return Ok(None); // without a direction nothing is nearer than anything else
        }
        let Some(index) = Relation::try_open_any(oid, LockMode::AccessShare) else {
            return Ok(None);
        };
        statistics::count_scan(&index);
        let index_pages = PgPages::new(&index);
        let mut search = IndexSearch::new(&index_pages, &query, wanted, recall)?;
        if let Some((filter, asked)) = &filter {
            search = search.only(filter, asked.column, tellers.take());
        }
        let mut rows = executor.index_fetch(self.plan.column)?;
        let told = loop {
            let bar = kept.worst().and_then(|worst| worst.key.distance());
            let bar = bar.map(|bar| key_of_distance(distance, bar));
            match search.next(bar, kept.len())? {
                Next::Wave([]) => break None,
                Next::Wave(wave) => self.look_at(&mut rows, wave, &mut kept)?,
                Next::Sample(places) => {
                    rows.prefetch(places);
                    let passed = places.iter().filter(|place| rows.go_to(**place)).count();
                    search.tell(passed);
                }
                Next::All(matching) => break Some(matching),
            }
        };
        drop(rows);
        if let Some(matching) = told {
            kept = TopK::growing(wanted);
            self.look_at_all(executor, &matching, &mut kept)?;
        }
        self.filter_index = search.told_by();
        self.found.add(search.stats());
        let rows = self.not_handed_out(kept);
        Ok((!rows.is_empty() || self.complete).then_some(rows))
    }

    /// Those that were not handed out before, nearest first.
    fn not_handed_out(&self, kept: TopK<Entry>) -> Vec<Entry> {
        let mut rows = kept.into_sorted_vec();
        rows.retain(|entry| !self.by_index.contains(&entry.row));
        rows
    }

    /// Of all rows that may pass the filters those that the quals let through, with and without a vector: if they are fewer than are wanted there are
    /// no others.
    fn look_at_all(
        &mut self,
        executor: &mut Executor<'_>,
        places: &[Tid],
        kept: &mut TopK<Entry>,
    ) -> Result<(), Error> {
        let mut rows = executor.index_fetch(self.plan.column)?;
        self.look_at(&mut rows, places, kept)?;
        self.complete = kept.worst().is_none();
        Ok(())
    }

    /// Those of the rows at these places that the quals let through.
    fn look_at(
        &mut self,
        rows: &mut IndexFetch<'_>,
        places: &[Tid],
        kept: &mut TopK<Entry>,
    ) -> Result<(), Error> {
        rows.prefetch(places);
        for &place in places {
            if rows.go_to(place) {
                let row = rows.current();
                let key = self.key(row)?;
                kept.push(Entry {
                    key,
                    row: row.row(),
                });
            }
        }
        Ok(())
    }

    /// What indexes are asked for. What is no filter is left to the qual, which tells so of the first row it is asked about.
    fn filter_of(&mut self, executor: &mut Executor<'_>) -> Result<Option<Rc<Filter>>, Error> {
        if self.filter.is_none() {
            let filters = self.plan.signatures.map_or(0, |asked| asked.filters);
            let mut all = Some(Filter::default());
            for number in 0..filters {
                let filter = executor.jsonb(FILTERS + number, |bytes| Filter::parse(bytes).ok())?;
                all = match (all, filter.flatten()) {
                    (Some(all), Some(filter)) => Some(all.and(filter)),
                    _ => None,
                };
            }
            self.filter = Some(all.map(Rc::new));
        }
        Ok(self.filter.clone().flatten())
    }
}
