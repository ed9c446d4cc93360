//! `Custom Scan (ConiferTopK)`: the rows of one table in the order of a distance, without sorting all of them.
//!
//! ```text
//! planner hook ─► shape: is this query ours? ─► cost ─► private: what the plan remembers
//!              ─► exec: the first rows by a vector index, or by a pass over the table; all others by further passes
//! ```
//!
//! The node is an ordered scan. It can give every row of its table in order, for as long as it is asked; the query's
//! LIMIT only tells how many rows to keep at first. So whatever stands above it (joins, row locks, cursors) may ask for
//! more, and the rows are the same as a sort would give.
#![forbid(unsafe_code)]

mod by_index;
mod cost;
mod exec;
mod key;
mod private;
mod shape;

use crate::guc;
use crate::metric::Distance;
use crate::pg::node::PlannedRelation;
use crate::pg::operator::{NamedFunction, OperatorFunctions};
use crate::pg::relation_shape::QualCalls;
use crate::pg::{custom_scan, hook};
use exec::TopKScan;
use private::Signatures;
use shape::DistanceFunctions;

/// Which functions a distance stands for in SQL: the operators' names.
const OPERATORS: [(Distance, &core::ffi::CStr); 4] = [
    (Distance::L2, c"<->"),
    (Distance::InnerProduct, c"<#>"),
    (Distance::Cosine, c"<=>"),
    (Distance::L1, c"<+>"),
];

thread_local! {
    static FUNCTIONS: OperatorFunctions<4> =
        const { OperatorFunctions::new(c"vector", [OPERATORS[0].1, OPERATORS[1].1, OPERATORS[2].1, OPERATORS[3].1]) };
    static MATCHES: NamedFunction = const { NamedFunction::of_two_jsonb(c"pc_matches") };
}

/// Called once when the library is loaded.
pub fn init() {
    custom_scan::register::<TopKScan>();
    hook::install(offer);
}

/// Offers the scan for a relation of a query it fits; the planner takes it if it is the cheapest.
fn offer(relation: &PlannedRelation<'_>) {
    if !guc::enable_topk_scan() || !relation.is_in_top_k_query() {
        return;
    }
    let Some(functions) = FUNCTIONS.with(OperatorFunctions::get) else {
        return;
    };
    let functions = DistanceFunctions(core::array::from_fn(|i| (functions[i], OPERATORS[i].0)));
    let shape = relation.shape();
    match shape::decide(&shape, &functions) {
        Ok(mut plan) => {
            let index = functions.choose_index(&plan, &relation.vector_indexes());
            plan.index = index.map(|index| index.oid);
            let calls = index.and_then(|index| {
                let (function, column) = (MATCHES.with(NamedFunction::get)?, index.included?);
                Some(QualCalls { function, column })
            });
            plan.signatures = calls.and_then(|calls| {
                let (column, filters) = (calls.column, relation.count_calls(calls));
                (filters > 0).then_some(Signatures { column, filters })
            });
            let index = index.map(|index| cost::IndexInput {
                pages: index.pages,
                signatures: plan.signatures.is_some(),
            });
            let cost = cost::estimate(&relation.cost_input(), plan.limit.expected(), index);
            relation.offer::<TopKScan>(cost, !plan.column_first, calls, &plan.to_text());
        }
        Err(reason) if reason.is_worth_telling() => {
            pgrx::debug1!("ConiferTopK is not offered: {reason}");
        }
        Err(_) => {}
    }
}
