//! Running a top-k scan: passes over the table, each keeping the next batch of rows in order.
//!
//! ```text
//! pass 1   keeps the k + few nearest (key, row) of all rows         ──► handed out one by one, fetched again by TID
//! pass 2   keeps the next 4·k … strictly behind the last handed out ──► only if the parent asks for more
//! ```
//!
//! Keys and rows are those of one snapshot, so each pass sees the same table.
#![forbid(unsafe_code)]

use super::private::{LIMIT, Limit, OFFSET, QUERY, TopKPlan};
use crate::error::Error;
use crate::index::topk::TopK;
use crate::pg::custom_scan::CustomScan;
use crate::pg::executor::Executor;
use crate::pg::explain::Explain;
use crate::pg::heap::Tid;
use crate::pg::memory::work_mem;
use crate::pg::table_scan::TableScan;
use core::ffi::CStr;

/// Rows kept beyond those the query wants: a few may be skipped above (locked rows, joins).
pub const FIRST_EXTRA: usize = 8;
/// A batch is this many times its predecessor …
pub const GROWTH: usize = 4;
/// … and at least this large: whoever asked for more than k may well want all.
pub const LEAST_FURTHER: usize = 1_000;

/// Entries that fit in `work_mem`.
pub fn largest_batch(work_mem: usize) -> usize {
    (work_mem / size_of::<Entry>()).max(LEAST_FURTHER)
}

/// One row's place in the order: by distance, then by place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: SortKey,
    row: Tid,
}

/// A `float8` or NULL as an integer of the same order: numbers, then NaN, then NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey(u64);

impl SortKey {
    const NULL: Self = Self(u64::MAX);
    /// All NaN are equal.
    const NAN: Self = Self(u64::MAX - 1);

    #[inline]
    fn of(distance: f64) -> Self {
        const SIGN: u64 = 1 << 63;
        if distance.is_nan() {
            return Self::NAN;
        }
        // Minus zero equals zero; the sum makes it so.
        let bits = (distance + 0.0).to_bits();
        Self(if bits & SIGN == 0 { bits | SIGN } else { !bits })
    }
}

/// The state of one execution of the node.
pub struct TopKScan {
    plan: TopKPlan,
    /// The query vector (or that it is NULL), once a row has needed it.
    query: Option<Option<Vec<f32>>>,
    /// Rows kept and not yet handed out, the nearest last.
    batch: Vec<Entry>,
    /// Size of the last batch asked for; 0 before the first.
    batch_size: usize,
    last: Option<Entry>,
    /// No rows lie behind the batch.
    complete: bool,
    scanned: u64,
    passes: u64,
}

impl CustomScan for TopKScan {
    const NAME: &'static CStr = c"ConiferTopK";

    fn create(private: &str) -> Result<Self, Error> {
        Ok(Self {
            plan: TopKPlan::from_text(private)?,
            query: None,
            batch: Vec::new(),
            batch_size: 0,
            last: None,
            complete: false,
            scanned: 0,
            passes: 0,
        })
    }

    fn next(&mut self, executor: &mut Executor<'_>) -> Result<bool, Error> {
        loop {
            if let Some(entry) = self.batch.pop() {
                self.last = Some(entry);
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
        self.batch.clear();
        self.batch_size = 0;
        self.last = None;
        self.complete = false;
    }

    fn explain(&self, explain: &mut Explain<'_>) {
        explain.order_by();
        if explain.analyze() {
            explain.count(c"Rows Scanned", self.scanned);
            explain.count(c"Passes", self.passes);
        }
    }
}

impl TopKScan {
    /// Fills the batch with the next rows behind the last one handed out.
    fn pass(&mut self, executor: &mut Executor<'_>) -> Result<(), Error> {
        self.batch_size = self.next_batch_size(executor)?;
        let mut kept = TopK::new(self.batch_size);
        let mut candidates = 0;
        let mut scan = executor.table_scan(self.plan.column)?;
        while scan.advance() {
            let key = self.key(&mut scan)?;
            let entry = Entry {
                key,
                row: scan.row(),
            };
            if self.last.is_none_or(|last| entry > last) {
                candidates += 1;
                kept.push(entry);
            }
        }
        self.scanned += scan.scanned();
        self.passes += 1;
        self.complete = candidates == kept.len();
        self.batch = kept.into_sorted_vec();
        self.batch.reverse();
        Ok(())
    }

    fn next_batch_size(&self, executor: &mut Executor<'_>) -> Result<usize, Error> {
        let wanted = match (self.batch_size, self.plan.limit) {
            (0, Limit::AtRunTime) => limit_at_run_time(executor)?,
            (0, limit) => usize::try_from(limit.expected()).unwrap_or(usize::MAX),
            (before, _) => before.saturating_mul(GROWTH).max(LEAST_FURTHER),
        };
        Ok(wanted
            .saturating_add(FIRST_EXTRA)
            .min(largest_batch(work_mem())))
    }

    fn key(&mut self, scan: &mut TableScan<'_>) -> Result<SortKey, Error> {
        // Not before a row needs it: a sort would not have evaluated it either.
        let query = match &mut self.query {
            Some(query) => query,
            unknown => unknown.insert(scan.value(QUERY)?),
        };
        let (Some(query), Some(vector)) = (query, scan.vector()?) else {
            return Ok(SortKey::NULL);
        };
        if query.len() != vector.len() {
            return Err(different_dimensions(
                self.plan.column_first,
                vector.len(),
                query.len(),
            ));
        }
        Ok(SortKey::of(self.plan.distance.of(&vector, query)))
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
    fn keys_sort_as_float8_does_with_nulls_last() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -1.0,
            -f64::MIN_POSITIVE,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ];
        let mut keys: Vec<SortKey> = ascending.into_iter().map(SortKey::of).collect();
        keys.push(SortKey::NULL);
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    #[test]
    fn equal_values_have_equal_keys() {
        assert_eq!(SortKey::of(-0.0), SortKey::of(0.0));
        let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
        assert_eq!(SortKey::of(negative_nan), SortKey::of(f64::NAN));
    }

    #[test]
    fn a_batch_fits_work_mem_but_is_never_tiny() {
        assert_eq!(size_of::<Entry>(), 16);
        assert_eq!(largest_batch(4 << 20), 262_144);
        assert_eq!(largest_batch(64 << 10), 4_096);
        assert_eq!(largest_batch(0), LEAST_FURTHER);
    }
}
