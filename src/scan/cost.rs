//! What a top-k scan costs, in the planner's units, beside the sequential scan and sort it replaces.
#![forbid(unsafe_code)]

use super::exec::{FIRST_EXTRA, GROWTH, LEAST_FURTHER, largest_batch};
use crate::pg::relation_shape::{CostInput, PathCost};

/// Before the first row: one pass over the table, with quals, distances and the choice of the best. Until the last: as
/// many passes as batches, and each row fetched again.
///
/// A row that the quals pass is charged one comparison with the worst row kept, and those kept their way into the heap;
/// a sort with a bound charges two comparisons a level for every row, and rows of all columns move through it.
///
/// Where there is a vector index, the first rows come by it.
pub fn estimate(input: &CostInput, limit: u64, index: Option<IndexInput>) -> PathCost {
    let batch = first_batch(limit, input.work_mem);
    let pass = pass_cost(input, batch + FIRST_EXTRA as f64);
    let further_passes = (passes(input.rows, batch, largest_batch(input.work_mem)) - 1.0).max(0.0);
    let first = index.map_or(pass, |index| pass.min(index_cost(input, batch, index)));
    let startup = input.quals.startup + input.distance.startup + input.target.startup + first;
    let fetches =
        input.rows * (input.cpu_tuple_cost + input.target.per_tuple + refetch_cost(input));
    PathCost {
        startup,
        total: startup + further_passes * pass + fetches,
    }
}

/// The vector index that rows are found by.
#[derive(Clone, Copy, Debug)]
pub struct IndexInput {
    pub pages: f64,
    /// Its signatures tell of most rows whether the quals let them through.
    pub signatures: bool,
}

/// Rows looked at for each that is handed out: codes leave so much open.
const LOOKED_AT: f64 = 4.0;
/// Of rows that do not pass, so many have signatures that admit them.
const ADMITTED_BY_CHANCE: f64 = 0.02;
/// A code is looked at in some nanoseconds, where an operator takes some tens.
const CODE_SHARE: f64 = 0.1;

/// Every page of the index, every code, and the rows that are looked at: more of them, the fewer the quals let through, but for those that
/// signatures exclude.
fn index_cost(input: &CostInput, batch: f64, index: IndexInput) -> f64 {
    let selectivity = (input.rows / input.tuples.max(1.0)).clamp(1e-9, 1.0);
    let looked_at = if index.signatures {
        (batch * LOOKED_AT / selectivity).min(input.rows + input.tuples * ADMITTED_BY_CHANCE)
    } else {
        (batch * LOOKED_AT / selectivity).min(input.tuples)
    };
    let row = input.cpu_tuple_cost
        + input.quals.per_tuple
        + input.distance.per_tuple
        + input.cpu_operator_cost
        + refetch_cost(input);
    // Pages of the heap come into the cache one by one, at most all of them.
    let heap = looked_at.min(input.pages) * input.seq_page_cost;
    index.pages * input.seq_page_cost
        + input.tuples * CODE_SHARE * input.cpu_operator_cost
        + looked_at * row
        + heap
}

fn pass_cost(input: &CostInput, batch: f64) -> f64 {
    let scan = input.pages * input.seq_page_cost
        + input.tuples * (input.cpu_tuple_cost + input.quals.per_tuple);
    let compare = input.distance.per_tuple + input.cpu_operator_cost;
    let kept = batch.min(input.rows);
    // Expected entries into a heap of `kept` while n rows come in random order: kept · (1 + ln(n / kept)).
    let entries = kept * (1.0 + (input.rows.max(1.0) / kept.max(1.0)).ln());
    scan + input.rows * compare + entries * kept.max(2.0).log2() * input.cpu_operator_cost
}

/// Fetching a row whose page was just read costs I/O only as far as the table is larger than the cache.
fn refetch_cost(input: &CostInput) -> f64 {
    if input.pages <= input.cache_pages {
        0.0
    } else {
        input.random_page_cost * (1.0 - input.cache_pages / input.pages)
    }
}

fn first_batch(limit: u64, work_mem: usize) -> f64 {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    limit.min(largest_batch(work_mem)) as f64
}

/// Batches until all rows are out.
fn passes(rows: f64, first: f64, largest: usize) -> f64 {
    let (mut passes, mut out, mut batch) = (1.0, first, first);
    while out < rows {
        let next = (batch * GROWTH as f64)
            .max(LEAST_FURTHER as f64)
            .min(largest as f64);
        if next <= batch {
            return passes + ((rows - out) / batch).ceil();
        }
        batch = next;
        out += batch;
        passes += 1.0;
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::relation_shape::ExpressionCost;

    fn table(rows: f64) -> CostInput {
        CostInput {
            pages: (rows / 5.0).ceil(),
            tuples: rows,
            rows,
            quals: ExpressionCost::default(),
            distance: ExpressionCost {
                startup: 0.0,
                per_tuple: 0.0025,
            },
            target: ExpressionCost::default(),
            seq_page_cost: 1.0,
            random_page_cost: 4.0,
            cpu_tuple_cost: 0.01,
            cpu_operator_cost: 0.0025,
            cache_pages: 524_288.0,
            work_mem: 4 << 20,
        }
    }

    /// PostgreSQL's cost of a sequential scan with a bounded sort above it.
    fn scan_and_sort(input: &CostInput, limit: f64) -> f64 {
        input.pages * input.seq_page_cost
            + input.tuples * (input.cpu_tuple_cost + input.distance.per_tuple)
            + input.rows * 2.0 * input.cpu_operator_cost * (2.0 * limit).log2()
    }

    /// What a Limit node makes of a path.
    fn limited(cost: PathCost, limit: f64, rows: f64) -> f64 {
        cost.startup + (cost.total - cost.startup) * (limit / rows).min(1.0)
    }

    #[test]
    fn a_small_limit_is_cheaper_than_a_sort() {
        for rows in [200.0, 2_000.0, 200_000.0] {
            let input = table(rows);
            let ours = limited(estimate(&input, 10, None), 10.0, rows);
            assert!(ours < scan_and_sort(&input, 10.0), "{rows}: {ours}");
        }
    }

    #[test]
    fn all_rows_are_dearer_than_a_sort() {
        let input = table(200_000.0);
        let sort = scan_and_sort(&input, 100_000.0);
        assert!(estimate(&input, 10, None).total > sort);
    }

    #[test]
    fn an_index_is_cheaper_where_quals_let_most_rows_through() {
        let mut input = table(200_000.0);
        let cost = |input: &CostInput, signatures: Option<bool>| {
            let index = signatures.map(|signatures| IndexInput {
                pages: 2_000.0,
                signatures,
            });
            estimate(input, 10, index).startup
        };
        assert!(cost(&input, Some(false)) * 5.0 < cost(&input, None));
        input.rows = 20.0;
        assert_eq!(cost(&input, Some(false)), cost(&input, None));
        assert!(cost(&input, Some(true)) * 2.0 < cost(&input, None));
    }

    #[test]
    fn counts_passes() {
        assert_eq!(passes(50.0, 100.0, 10_000), 1.0);
        assert_eq!(passes(100.0, 100.0, 10_000), 1.0);
        assert_eq!(passes(101.0, 100.0, 10_000), 2.0);
        assert_eq!(passes(1_101.0, 100.0, 10_000), 3.0);
        // 10,000 at most a batch: 100 + 1,000 + 4,000 + 9 × 10,000 = 95,100.
        assert_eq!(passes(95_100.0, 100.0, 10_000), 12.0);
        assert_eq!(passes(95_101.0, 100.0, 10_000), 13.0);
    }

    #[test]
    fn an_empty_table_has_a_finite_cost() {
        let cost = estimate(&table(0.0), 0, None);
        assert!(
            cost.startup.is_finite() && cost.total >= cost.startup,
            "{cost:?}"
        );
    }
}
