//! A relation being planned, in owned terms: what decides whether a scan in order is offered, and what it would cost.

use super::operator::FunctionId;
use pgrx::pg_sys;

/// What matters of a base relation to a scan in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationShape {
    pub relation: RelationKind,
    /// Refers to relations beside it in FROM.
    pub lateral: bool,
    /// A qual gives another answer each time it is asked.
    pub volatile_quals: bool,
    pub order: OrderShape,
    pub limit: LimitShape,
}

/// What is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A table or materialized view that holds its rows itself, in a heap.
    HeapTable,
    /// A table standing for its partitions or children.
    Parent,
    /// TABLESAMPLE.
    Sampled,
    /// Proven to give no rows.
    Empty,
    /// A foreign table, another table access method, a function, a subquery …
    Other,
}

/// The first sort key of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderShape {
    pub ascending: bool,
    pub nulls_first: bool,
    /// In the order of `float8`.
    pub float8: bool,
    pub expression: SortExpression,
}

/// What the first sort key is, seen from one relation.
#[derive(Clone, Debug, PartialEq)]
pub enum SortExpression {
    /// Cannot be computed from this relation alone.
    Elsewhere,
    /// Not a call of a function of two arguments.
    Other,
    Call {
        function: FunctionId,
        left: Operand,
        right: Operand,
    },
}

/// One side of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A column of the relation, by number.
    Column(i16),
    /// The same for every row: a constant, a parameter, or computed from those.
    Value,
    /// Volatile, or with a sub-query of its own, or returning a set.
    Unstable,
    /// Computed from columns.
    Computed,
}

/// How many rows the query wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitShape {
    /// There is no LIMIT, or it is NULL.
    None,
    /// LIMIT and OFFSET together.
    Constant(u64),
    /// Known when the query runs.
    AtRunTime,
    /// Not to be computed by anyone but the Limit node.
    Unknown,
}

/// A vector index that the query may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedIndex {
    pub oid: u32,
    /// Number of the column it is on; 0 for an expression.
    pub column: i16,
    /// The function whose result it orders by.
    pub orders_by: FunctionId,
    /// Number of the first column it includes, if it includes any.
    pub included: Option<i16>,
    pub pages: f64,
}

/// Calls of a function among the quals, all of which must hold: of a column, and of a value that is the same for every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualCalls {
    pub function: FunctionId,
    pub column: i16,
}

/// What the planner knows of the relation's size and of its cost settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostInput {
    pub pages: f64,
    /// Rows in the table.
    pub tuples: f64,
    /// Rows that pass the quals.
    pub rows: f64,
    pub quals: ExpressionCost,
    /// Of the sort key.
    pub distance: ExpressionCost,
    /// Of the columns handed up.
    pub target: ExpressionCost,
    pub seq_page_cost: f64,
    pub random_page_cost: f64,
    pub cpu_tuple_cost: f64,
    pub cpu_operator_cost: f64,
    /// `effective_cache_size`.
    pub cache_pages: f64,
    pub work_mem: usize,
}

/// Cost of an expression: once, and per row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpressionCost {
    pub startup: f64,
    pub per_tuple: f64,
}

/// Costs as a path carries them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathCost {
    pub startup: f64,
    pub total: f64,
}

impl From<pg_sys::QualCost> for ExpressionCost {
    fn from(cost: pg_sys::QualCost) -> Self {
        Self {
            startup: cost.startup,
            per_tuple: cost.per_tuple,
        }
    }
}
