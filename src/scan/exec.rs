//! Running a top-k scan: passes, each keeping the next batch of rows in order.
//!
//! ```text
//! pass 1   keeps the k + few nearest (key, row): of the rows a vector index tells to look at, or of all  ──► handed out one by
//!                                                                                               one, fetched again by TID
//! pass 2   keeps the next 4·k … of all rows, those not handed out yet                            ──► only if the parent asks for more
//! pass 3 … keeps those strictly behind the last
//! ```
//!
//! Keys and rows are those of one snapshot, so each pass sees the same table. What the index did not find comes first in the second
//! pass: rows may come late, but none is lost and none comes twice.
#![forbid(unsafe_code)]

use super::key::{Entry, SortKey};
use super::private::{FILTERS, LIMIT, Limit, OFFSET, QUERY, TopKPlan};
use crate::error::Error;
use crate::filter::Filter;
use crate::guc;
use crate::index::search::SearchStats;
use crate::index::topk::TopK;
use crate::pg::custom_scan::CustomScan;
use crate::pg::executor::Executor;
use crate::pg::explain::Explain;
use crate::pg::heap::Tid;
use crate::pg::memory::work_mem;
use crate::pg::relation::{self, Oid};
use crate::pg::table_scan::CurrentRow;
use core::ffi::CStr;
use std::collections::HashSet;
use std::rc::Rc;

/// Rows that a scan of the table keeps beyond those the query wants, which costs nothing: a few may be skipped above (locked rows, joins).
pub const FIRST_EXTRA: usize = 8;
/// Whoever wants more than so many rows gets them by scans of the table.
const MOST_BY_INDEX: usize = 10_000;
/// A batch is this many times its predecessor …
pub const GROWTH: usize = 4;
/// … and at least this large: whoever asked for more than k may well want all.
pub const LEAST_FURTHER: usize = 1_000;

/// Entries that fit in `work_mem`.
pub fn largest_batch(work_mem: usize) -> usize {
    (work_mem / size_of::<Entry>()).max(LEAST_FURTHER)
}

/// The state of one execution of the node.
pub struct TopKScan {
    pub(super) plan: TopKPlan,
    /// The query vector (or that it is NULL), once a row has needed it.
    query: Option<Option<Vec<f32>>>,
    /// What the signatures of the index are asked for (or that it is nothing), once a search by it has needed it.
    pub(super) filter: Option<Option<Rc<Filter>>>,
    /// Rows kept and not yet handed out, the nearest last.
    batch: Vec<Entry>,
    /// Rows wanted of the last batch; 0 before the first.
    pub(super) batch_size: usize,
    /// The last row handed out that was found by a scan of the table. Rows that the index did not find may lie before the last of those it did.
    last: Option<Entry>,
    /// The ordinary index that told the last search which rows may match, and how many it told.
    pub(super) filter_index: Option<(String, usize)>,
    /// The batch came by the index.
    batch_by_index: bool,
    /// Rows handed out that did.
    pub(super) by_index: HashSet<Tid>,
    /// No rows lie behind the batch.
    pub(super) complete: bool,
    scanned: u64,
    passes: u64,
    /// Those of them by the index.
    searches: u64,
    /// Of searches by the index, all together.
    pub(super) found: SearchStats,
}

impl CustomScan for TopKScan {
    const NAME: &'static CStr = c"ConiferTopK";

    fn create(private: &str) -> Result<Self, Error> {
        Ok(Self {
            plan: TopKPlan::from_text(private)?,
            query: None,
            filter: None,
            batch: Vec::new(),
            batch_size: 0,
            last: None,
            filter_index: None,
            batch_by_index: false,
            by_index: HashSet::new(),
            complete: false,
            scanned: 0,
            passes: 0,
            searches: 0,
            found: SearchStats::default(),
        })
    }

    fn next(&mut self, executor: &mut Executor<'_>) -> Result<bool, Error> {
        loop {
            if let Some(entry) = self.batch.pop() {
                if self.batch_by_index {
                    self.by_index.insert(entry.row);
                } else {
                    self.last = Some(entry);
                }
                executor.fetch(entry.row)?;
                return Ok(true);
            }
            if self.complete {
                return Ok(false);
            }
            self.pass(executor)?;
        }
    }

    fn rescan(&mut self) {
        self.query = None;
        self.filter = None;
        self.batch.clear();
        self.batch_size = 0;
        self.last = None;
        self.by_index.clear();
        self.complete = false;
    }

    fn explain(&self, explain: &mut Explain<'_>) {
        explain.order_by();
        if let Some(index) = self.plan.index.map(Oid::from)
            && let Some(name) = relation::name(index)
        {
            explain.text(c"Vector Index", &name);
        }
        let filters = self.plan.signatures.map_or(0, |asked| asked.filters);
        for number in 0..filters {
            explain.value(c"Signature Filter", FILTERS + number);
        }
        if explain.analyze() {
            let by_table = self.passes > self.searches;
            explain.text(
                c"Rows Found By",
                match (self.searches > 0, by_table) {
                    (true, false) => "index",
                    (true, true) => "index, then table",
                    (false, _) => "table",
                },
            );
            if let Some((name, rows)) = &self.filter_index {
                explain.text(c"Filter Index", name);
                explain.count(c"Rows Told by Filter Index", *rows as u64);
            }
            if self.found.passes > 0 {
                explain.number(c"Recall Goal", guc::recall());
                if self.found.lists > 0 {
                    explain.count(c"Lists Visited", self.found.lists);
                }
                explain.count(c"Codes Scanned", self.found.codes);
                if filters > 0 {
                    explain.count(c"Codes Excluded", self.found.excluded);
                }
                explain.count(c"Index Pages Read", self.found.pages);
                explain.count(c"Rows Reranked", self.found.candidates);
            }
            explain.count(c"Rows Scanned", self.scanned);
            explain.count(c"Passes", self.passes);
        }
    }
}

impl TopKScan {
    /// Fills the batch with the next rows.
    fn pass(&mut self, executor: &mut Executor<'_>) -> Result<(), Error> {
        // By the index until it has no more: then what is left, rows without a vector too, is the table's to tell.
        let first = self.batch_size == 0;
        let full = self.batch_by_index && self.by_index.len() < MOST_BY_INDEX;
        self.batch_size = self.next_batch_size(executor)?;
        self.passes += 1;
        let by_index = if first || full {
            self.search_indexes(executor)?
        } else {
            None
        };
        self.batch_by_index = by_index.is_some();
        self.searches += u64::from(self.batch_by_index);
        let kept = match by_index {
            Some(kept) => kept,
            None => self.scan_table(executor)?,
        };
        self.batch = kept;
        self.batch.reverse();
        Ok(())
    }

    /// The next rows behind the last one handed out, of all rows.
    fn scan_table(&mut self, executor: &mut Executor<'_>) -> Result<Vec<Entry>, Error> {
        let last = self.last;
        let mut kept = TopK::new(self.batch_size.saturating_add(FIRST_EXTRA));
        let mut candidates = 0;
        let mut scan = executor.table_scan(self.plan.column)?;
        while scan.advance() {
            let row = scan.current();
            let key = self.key(row)?;
            let entry = Entry {
                key,
                row: row.row(),
            };
            let is_new = last.is_none_or(|last| entry > last);
            if is_new && !self.by_index.contains(&entry.row) {
                candidates += 1;
                kept.push(entry);
            }
        }
        self.scanned += scan.scanned();
        self.complete = candidates == kept.len();
        Ok(kept.into_sorted_vec())
    }

    /// The query vector. Not before it is needed: a sort would not have evaluated it either.
    pub(super) fn query_of(
        &mut self,
        evaluate: impl FnOnce(usize) -> Result<Option<Vec<f32>>, Error>,
    ) -> Result<&Option<Vec<f32>>, Error> {
        Ok(match &mut self.query {
            Some(query) => query,
            unknown => unknown.insert(evaluate(QUERY)?),
        })
    }

    fn next_batch_size(&self, executor: &mut Executor<'_>) -> Result<usize, Error> {
        let wanted = match (self.batch_size, self.plan.limit) {
            (0, Limit::AtRunTime) => limit_at_run_time(executor)?,
            (0, limit) => usize::try_from(limit.expected()).unwrap_or(usize::MAX),
            (before, _) => before.saturating_mul(GROWTH).max(LEAST_FURTHER),
        };
        Ok(wanted.min(largest_batch(work_mem())))
    }

    pub(super) fn key(&mut self, row: &mut CurrentRow<'_>) -> Result<SortKey, Error> {
        let (column_first, distance) = (self.plan.column_first, self.plan.distance);
        let query = self.query_of(|index| row.value(index))?;
        let (Some(query), Some(vector)) = (query, row.vector()?) else {
            return Ok(SortKey::NULL);
        };
        if query.len() != vector.len() {
            return Err(different_dimensions(
                column_first,
                vector.len(),
                query.len(),
            ));
        }
        Ok(SortKey::of(distance.of(&vector, query)))
    }
}

#[cold]
fn different_dimensions(column_first: bool, column: usize, query: usize) -> Error {
    let (left, right) = if column_first {
        (column, query)
    } else {
        (query, column)
    };
    Error::DifferentDimensions { left, right }
}

/// LIMIT plus OFFSET as their expressions say now; a NULL LIMIT is none.
fn limit_at_run_time(executor: &mut Executor<'_>) -> Result<usize, Error> {
    let Some(limit) = executor.bigint(LIMIT)? else {
        return Ok(usize::MAX);
    };
    let offset = executor.bigint(OFFSET)?.unwrap_or(0);
    let rows = limit.max(0).saturating_add(offset.max(0));
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_fits_work_mem_but_is_never_tiny() {
        assert_eq!(size_of::<Entry>(), 16);
        assert_eq!(largest_batch(4 << 20), 262_144);
        assert_eq!(largest_batch(64 << 10), 4_096);
        assert_eq!(largest_batch(0), LEAST_FURTHER);
    }
}
