//! Is this query ours, and if not, why?
#![forbid(unsafe_code)]

use super::private::{Limit, TopKPlan};
use crate::metric::Distance;
use crate::pg::operator::FunctionId;
use crate::pg::relation_shape::{
    LimitShape, Operand, OrderShape, PlannedIndex, RelationKind, RelationShape, SortExpression,
};
use core::fmt;

/// The functions behind Conifer's operators in this database.
pub struct DistanceFunctions(pub [(FunctionId, Distance); 4]);

impl DistanceFunctions {
    /// The vector index to find a plan's rows by, the smallest if there are several.
    pub fn choose_index(&self, plan: &TopKPlan, indexes: &[PlannedIndex]) -> Option<PlannedIndex> {
        let fits = |index: &&PlannedIndex| {
            index.column == plan.column && self.distance(index.orders_by) == Some(plan.distance)
        };
        let smallest = |a: &&PlannedIndex, b: &&PlannedIndex| a.pages.total_cmp(&b.pages);
        indexes.iter().filter(fits).min_by(smallest).copied()
    }

    fn distance(&self, function: FunctionId) -> Option<Distance> {
        self.0
            .iter()
            .find(|(id, _)| *id == function)
            .map(|(_, distance)| *distance)
    }
}

/// Why a relation of a query with ORDER BY and LIMIT is left to other plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    NotADistance,
    NotAHeapTable,
    Sampled,
    NoRows,
    Lateral,
    VolatileQuals,
    NotAscending,
    NullsFirst,
    NotFloat8Order,
    NoColumn,
    UnstableQuery,
    NoLimit,
}

impl Declined {
    /// Is the order one of ours, so that the user may wonder?
    pub fn is_worth_telling(self) -> bool {
        self != Self::NotADistance
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotADistance => "the first sort key is not a distance of this relation",
            Self::NotAHeapTable => "the relation is not a table that stores its own rows in a heap",
            Self::Sampled => "the table is sampled",
            Self::NoRows => "the relation is known to give no rows",
            Self::Lateral => "the relation refers to others of the same FROM",
            Self::VolatileQuals => "a condition is volatile",
            Self::NotAscending => "the order is descending",
            Self::NullsFirst => "nulls come first",
            Self::NotFloat8Order => "the order is not that of float8",
            Self::NoColumn => "neither side of the operator is a column",
            Self::UnstableQuery => "the query vector is not the same for all rows",
            Self::NoLimit => "there is no LIMIT",
        })
    }
}

/// The plan for a relation, or why there is none.
pub fn decide(shape: &RelationShape, functions: &DistanceFunctions) -> Result<TopKPlan, Declined> {
    let (distance, left, right) = distance_call(&shape.order, functions)?;
    check_relation(shape)?;
    check_order(&shape.order)?;
    let (column, column_first, query) = match (left, right) {
        (Operand::Column(column), other) => (column, true, other),
        (other, Operand::Column(column)) => (column, false, other),
        _ => return Err(Declined::NoColumn),
    };
    if query != Operand::Value {
        return Err(Declined::UnstableQuery);
    }
    Ok(TopKPlan {
        column,
        column_first,
        distance,
        limit: match shape.limit {
            LimitShape::None => return Err(Declined::NoLimit),
            LimitShape::Constant(rows) => Limit::Rows(rows),
            LimitShape::AtRunTime => Limit::AtRunTime,
            LimitShape::Unknown => Limit::Unknown,
        },
        index: None,
        signatures: None,
    })
}

fn distance_call(
    order: &OrderShape,
    functions: &DistanceFunctions,
) -> Result<(Distance, Operand, Operand), Declined> {
    match order.expression {
        SortExpression::Call {
            function,
            left,
            right,
        } => functions
            .distance(function)
            .map(|distance| (distance, left, right))
            .ok_or(Declined::NotADistance),
        SortExpression::Elsewhere | SortExpression::Other => Err(Declined::NotADistance),
    }
}

fn check_relation(shape: &RelationShape) -> Result<(), Declined> {
    match shape.relation {
        RelationKind::HeapTable if shape.lateral => Err(Declined::Lateral),
        RelationKind::HeapTable if shape.volatile_quals => Err(Declined::VolatileQuals),
        RelationKind::HeapTable => Ok(()),
        RelationKind::Parent | RelationKind::Other => Err(Declined::NotAHeapTable),
        RelationKind::Sampled => Err(Declined::Sampled),
        RelationKind::Empty => Err(Declined::NoRows),
    }
}

/// The scan gives distances ascending as `float8` sorts them (NaN behind all numbers), nulls last.
fn check_order(order: &OrderShape) -> Result<(), Declined> {
    if !order.float8 {
        Err(Declined::NotFloat8Order)
    } else if !order.ascending {
        Err(Declined::NotAscending)
    } else if order.nulls_first {
        Err(Declined::NullsFirst)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: FunctionId = FunctionId::fake(3);

    fn functions() -> DistanceFunctions {
        DistanceFunctions([
            (FunctionId::fake(1), Distance::L2),
            (FunctionId::fake(2), Distance::InnerProduct),
            (COSINE, Distance::Cosine),
            (FunctionId::fake(4), Distance::L1),
        ])
    }

    fn call(function: FunctionId, left: Operand, right: Operand) -> SortExpression {
        SortExpression::Call {
            function,
            left,
            right,
        }
    }

    /// `SELECT … ORDER BY third_column <=> $1 LIMIT 10`
    fn ours() -> RelationShape {
        RelationShape {
            relation: RelationKind::HeapTable,
            lateral: false,
            volatile_quals: false,
            order: OrderShape {
                ascending: true,
                nulls_first: false,
                float8: true,
                expression: call(COSINE, Operand::Column(3), Operand::Value),
            },
            limit: LimitShape::Constant(10),
        }
    }

    fn with(change: impl FnOnce(&mut RelationShape)) -> Result<TopKPlan, Declined> {
        let mut shape = ours();
        change(&mut shape);
        decide(&shape, &functions())
    }

    #[test]
    fn takes_a_distance_to_a_value_under_a_limit() {
        let plan = TopKPlan {
            column: 3,
            column_first: true,
            distance: Distance::Cosine,
            limit: Limit::Rows(10),
            index: None,
            signatures: None,
        };
        assert_eq!(with(|_| {}), Ok(plan.clone()));
        assert_eq!(
            with(|s| s.order.expression = call(COSINE, Operand::Value, Operand::Column(3))),
            Ok(TopKPlan {
                column_first: false,
                ..plan.clone()
            })
        );
        assert_eq!(
            with(|s| s.limit = LimitShape::AtRunTime),
            Ok(TopKPlan {
                limit: Limit::AtRunTime,
                ..plan.clone()
            })
        );
        assert_eq!(
            with(|s| s.limit = LimitShape::Unknown),
            Ok(TopKPlan {
                limit: Limit::Unknown,
                ..plan
            })
        );
    }

    #[test]
    fn knows_each_operator() {
        for (function, distance) in functions().0 {
            let plan = with(|s| {
                s.order.expression = call(function, Operand::Column(1), Operand::Value);
            });
            assert_eq!(plan.map(|plan| plan.distance), Ok(distance));
        }
    }

    #[test]
    fn says_why_not() {
        use Operand as O;
        let expression = |e: SortExpression| with(|s| s.order.expression = e);
        let relation = |kind| with(|s| s.relation = kind);
        let cases = [
            (
                expression(SortExpression::Elsewhere),
                Declined::NotADistance,
            ),
            (expression(SortExpression::Other), Declined::NotADistance),
            (
                expression(call(FunctionId::fake(9), O::Column(3), O::Value)),
                Declined::NotADistance,
            ),
            (
                expression(call(COSINE, O::Value, O::Value)),
                Declined::NoColumn,
            ),
            (
                expression(call(COSINE, O::Computed, O::Value)),
                Declined::NoColumn,
            ),
            (
                expression(call(COSINE, O::Column(3), O::Column(4))),
                Declined::UnstableQuery,
            ),
            (
                expression(call(COSINE, O::Column(3), O::Unstable)),
                Declined::UnstableQuery,
            ),
            (
                expression(call(COSINE, O::Computed, O::Column(3))),
                Declined::UnstableQuery,
            ),
            (relation(RelationKind::Parent), Declined::NotAHeapTable),
            (relation(RelationKind::Other), Declined::NotAHeapTable),
            (relation(RelationKind::Sampled), Declined::Sampled),
            (relation(RelationKind::Empty), Declined::NoRows),
            (with(|s| s.lateral = true), Declined::Lateral),
            (with(|s| s.volatile_quals = true), Declined::VolatileQuals),
            (with(|s| s.order.ascending = false), Declined::NotAscending),
            (with(|s| s.order.nulls_first = true), Declined::NullsFirst),
            (with(|s| s.order.float8 = false), Declined::NotFloat8Order),
            (with(|s| s.limit = LimitShape::None), Declined::NoLimit),
        ];
        for (position, (decision, reason)) in cases.into_iter().enumerate() {
            assert_eq!(decision, Err(reason), "case {position}");
        }
    }

    #[test]
    fn is_silent_about_queries_that_have_nothing_to_do_with_distances() {
        assert!(!Declined::NotADistance.is_worth_telling());
        assert!(Declined::NotAscending.is_worth_telling());
    }
}
