//! Looking into a vector index: what is wrong with it, what it is made of.
#![forbid(unsafe_code)]

use crate::am::check;
use crate::index::search::Effort;
use crate::layout::meta::GOALS;
use crate::pg::json::JsonbOut;
use crate::pg::regclass::Regclass;
use crate::pg::report::OrReport;
use crate::pg::rows::TableIterator;
use pgrx::{name, pg_extern};
use serde_json::{Map, Value, json};

#[pg_extern(volatile, parallel_unsafe, strict)]
fn conifer_check(
    index: Regclass,
) -> TableIterator<'static, (name!(block, Option<i64>), name!(violation, String))> {
    let violations = check::violations(index.0).or_report();
    TableIterator::new(
        violations
            .into_iter()
            .map(|found| (found.block.map(i64::from), found.message)),
    )
}

#[pg_extern(volatile, parallel_unsafe, strict)]
fn conifer_inspect(index: Regclass) -> JsonbOut {
    let found = check::inspect(index.0).or_report();
    let census = found.census;
    let entries = census.packed + census.rows;
    let fill = entries as f64 / found.room.max(1) as f64;
    let by_recall = |of: fn(&Effort) -> f32| -> Map<String, Value> {
        let pairs = GOALS.iter().zip(&found.efforts);
        pairs
            .map(|(goal, effort)| (goal.to_string(), json!(of(effort))))
            .collect()
    };
    let text = json!({
        "form": found.form,
        "dimension": found.dimension,
        "metric": found.metric,
        "lists": found.lists,
        "entries_per_row": found.copies,
        "code_bits": found.code_bits,
        "centred": found.centred,
        "entries": entries - census.dead,
        "dead_entries": census.dead,
        "packed_entries": census.packed,
        "row_entries": census.rows,
        "fill": (fill * 1000.0).round() / 1000.0,
        "list_pages": census.list_pages,
        "other_pages": census.other_pages,
        "free_pages": census.free_pages,
        "bytes": found.bytes,
        "learned_at_rows": found.learned,
        "epsilon_by_recall": by_recall(|effort| effort.epsilon),
        "gap_by_recall": by_recall(|effort| effort.gap),
    });
    JsonbOut::from_text(&text.to_string())
}
