//! A relation as the planner sees it, described in owned terms, and the way back: offering a path for it.
//!
//! Nothing of the planner's trees leaves this file, so that deciding which queries are taken (`scan::shape`) is a pure
//! function of a [`RelationShape`].

use super::compat;
use super::custom_scan::{self, CustomScan};
use super::index_relation;
use super::pg_list;
use super::planner_tree::{call_of_two, evaluable, is_unstable, limit_shape, strip_relabels};
use super::relation_shape::{
    CostInput, Operand, OrderShape, PathCost, PlannedIndex, QualCalls, RelationKind, RelationShape,
    SortExpression,
};
use core::cell::OnceCell;
use core::ffi::c_int;
use core::marker::PhantomData;
use core::ptr;
use pgrx::pg_sys::{self, NodeTag};

/// `btree float_ops`, which orders `float8`; built-in operator families keep their OID for ever.
const FLOAT_BTREE_FAMILY: pg_sys::Oid = pg_sys::Oid::from_u32(1970);

/// A relation being planned.
pub struct PlannedRelation<'a> {
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rte: *mut pg_sys::RangeTblEntry,
    sort_member: OnceCell<*mut pg_sys::Expr>,
    planning: PhantomData<&'a ()>,
}

impl PlannedRelation<'_> {
    /// # Safety
    /// The arguments are those of `set_rel_pathlist_hook`, during its call.
    pub(super) unsafe fn new(
        root: *mut pg_sys::PlannerInfo,
        rel: *mut pg_sys::RelOptInfo,
        rte: *mut pg_sys::RangeTblEntry,
    ) -> Self {
        Self {
            root,
            rel,
            rte,
            sort_member: OnceCell::new(),
            planning: PhantomData,
        }
    }

    /// Has the query both an order and a LIMIT? The cheapest question, to be asked first.
    pub fn is_in_top_k_query(&self) -> bool {
        // SAFETY: planner structures stay alive and unmoved during the hook (see `new`).
        unsafe {
            !(*self.root).query_pathkeys.is_null() && !(*(*self.root).parse).limitCount.is_null()
        }
    }

    /// Everything that decides whether the relation is taken.
    pub fn shape(&self) -> RelationShape {
        // SAFETY: as above; the functions asked only read the trees.
        unsafe {
            RelationShape {
                relation: self.kind(),
                lateral: !(*self.rel).lateral_relids.is_null(),
                volatile_quals: pg_sys::contain_volatile_functions(
                    (*self.rel).baserestrictinfo.cast(),
                ),
                order: self.order(),
                limit: limit_shape((*self.root).parse),
            }
        }
    }

    fn kind(&self) -> RelationKind {
        // SAFETY: as in `shape`.
        unsafe {
            let (rel, rte) = (&*self.rel, &*self.rte);
            let relkind = rte.relkind as u8;
            let scanned_by_itself = matches!(
                rel.reloptkind,
                pg_sys::RelOptKind::RELOPT_BASEREL | pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL
            );
            if rte.rtekind != pg_sys::RTEKind::RTE_RELATION || !scanned_by_itself {
                RelationKind::Other
            } else if rte.inh || relkind == pg_sys::RELKIND_PARTITIONED_TABLE {
                RelationKind::Parent
            } else if !rte.tablesample.is_null() {
                RelationKind::Sampled
            } else if pg_sys::is_dummy_rel(self.rel) {
                RelationKind::Empty
            } else if matches!(relkind, pg_sys::RELKIND_RELATION | pg_sys::RELKIND_MATVIEW)
                && access_method(rte.relid) == pg_sys::HEAP_TABLE_AM_OID
            {
                RelationKind::HeapTable
            } else {
                RelationKind::Other
            }
        }
    }

    fn order(&self) -> OrderShape {
        // SAFETY: as in `shape`; `is_in_top_k_query` is not required: an empty list gives a null key.
        unsafe {
            let key = self.first_pathkey();
            OrderShape {
                ascending: compat::pathkey_is_ascending(key),
                nulls_first: (*key).pk_nulls_first,
                float8: (*key).pk_opfamily == FLOAT_BTREE_FAMILY,
                expression: self.sort_expression(),
            }
        }
    }

    fn first_pathkey(&self) -> *mut pg_sys::PathKey {
        // SAFETY: as in `shape`; `query_pathkeys` is a list of PathKey nodes.
        unsafe { pg_list::member((*self.root).query_pathkeys, 0) }
            .expect("only relations of queries with an order are looked at")
    }

    /// The member of the first sort key's equivalence class that this relation can compute; null if there is none.
    fn sort_member(&self) -> *mut pg_sys::Expr {
        // SAFETY: as in `shape`. A member found is computable from the columns this relation hands up, so it is one
        // of this relation (a child's own, where it is a partition) and not nulled by an outer join above.
        *self.sort_member.get_or_init(|| unsafe {
            let class = (*self.first_pathkey()).pk_eclass;
            if (*class).ec_has_volatile {
                return ptr::null_mut();
            }
            let member = pg_sys::find_computable_ec_member(
                self.root,
                class,
                (*(*self.rel).reltarget).exprs,
                (*self.rel).relids,
                false,
            );
            if member.is_null() {
                ptr::null_mut()
            } else {
                strip_relabels((*member).em_expr)
            }
        })
    }

    fn sort_expression(&self) -> SortExpression {
        let expression = self.sort_member();
        if expression.is_null() {
            return SortExpression::Elsewhere;
        }
        match call_of_two(expression) {
            None => SortExpression::Other,
            Some((function, left, right)) => SortExpression::Call {
                function,
                left: self.operand(left),
                right: self.operand(right),
            },
        }
    }

    fn operand(&self, node: *mut pg_sys::Expr) -> Operand {
        let bare = strip_relabels(node);
        // SAFETY: as in `shape`.
        unsafe {
            if (*bare).type_ == NodeTag::T_Var {
                let var = &*bare.cast::<pg_sys::Var>();
                let ours = var.varno as u32 == (*self.rel).relid && var.varlevelsup == 0;
                return if ours && var.varattno > 0 {
                    Operand::Column(var.varattno)
                } else {
                    Operand::Computed
                };
            }
            if is_unstable(bare.cast()) {
                Operand::Unstable
            } else if pg_sys::contain_var_clause(bare.cast()) {
                Operand::Computed
            } else {
                Operand::Value
            }
        }
    }

    /// What the cost of a path is computed from.
    pub fn cost_input(&self) -> CostInput {
        let mut random_page_cost = 0.0;
        let mut seq_page_cost = 0.0;
        let mut distance = pg_sys::QualCost::default();
        // SAFETY: as in `shape`; the settings are read on the backend's only thread.
        unsafe {
            let rel = &*self.rel;
            pg_sys::get_tablespace_page_costs(
                rel.reltablespace,
                &raw mut random_page_cost,
                &raw mut seq_page_cost,
            );
            let expression = self.sort_member();
            if !expression.is_null() {
                pg_sys::cost_qual_eval_node(&raw mut distance, expression.cast(), self.root);
            }
            CostInput {
                pages: f64::from(rel.pages),
                tuples: rel.tuples,
                rows: rel.rows,
                quals: rel.baserestrictcost.into(),
                distance: distance.into(),
                target: (*rel.reltarget).cost.into(),
                seq_page_cost,
                random_page_cost,
                cpu_tuple_cost: pg_sys::cpu_tuple_cost,
                cpu_operator_cost: pg_sys::cpu_operator_cost,
                cache_pages: f64::from(pg_sys::effective_cache_size),
                work_mem: super::memory::work_mem(),
            }
        }
    }

    /// The relation's indexes of this extension's access method that the query may use.
    pub fn vector_indexes(&self) -> Vec<PlannedIndex> {
        let Some(access_method) = index_relation::access_method() else {
            return Vec::new();
        };
        // SAFETY: as in `shape`; `indexlist` is a list of IndexOptInfo, whose arrays have an element for each key column.
        unsafe {
            pg_list::members::<pg_sys::IndexOptInfo>((*self.rel).indexlist)
                .map(|index| &*index)
                .filter(|index| index.relam == access_method && !index.hypothetical)
                .filter(|index| index.indpred.is_null() || index.predOK)
                .filter_map(|index| {
                    Some(PlannedIndex {
                        oid: index.indexoid.to_u32(),
                        column: i16::try_from(*index.indexkeys).ok()?,
                        orders_by: index_relation::ordering_function(*index.opfamily)?,
                        included: first_included(index),
                        pages: f64::from(index.pages),
                    })
                })
                .collect()
        }
    }

    /// How many such calls there are.
    pub fn count_calls(&self, calls: QualCalls) -> usize {
        self.values_of_calls(calls).len()
    }

    /// The second arguments of such calls.
    fn values_of_calls(&self, calls: QualCalls) -> Vec<*mut pg_sys::Node> {
        // SAFETY: as in `shape`; `baserestrictinfo` is a list of RestrictInfo.
        let quals =
            unsafe { pg_list::members::<pg_sys::RestrictInfo>((*self.rel).baserestrictinfo) };
        quals
            // SAFETY: as above.
            .filter_map(|qual| call_of_two(unsafe { (*qual).clause }))
            .filter(|(function, column, value)| {
                *function == calls.function
                    && self.operand(*column) == Operand::Column(calls.column)
                    && self.operand(*value) == Operand::Value
            })
            .map(|(_, _, value)| value.cast())
            .collect()
    }

    /// Offers a scan in the order of the first sort key. `value_first`: the operand that is not the column is the left
    /// one. `private` comes back in [`CustomScan::create`]. The values of `calls` follow those of the order and the limit.
    pub fn offer<T: CustomScan>(
        &self,
        cost: PathCost,
        value_first: bool,
        calls: Option<QualCalls>,
        private: &str,
    ) {
        let Some((_, left, right)) = call_of_two(self.sort_member()) else {
            return;
        };
        // SAFETY: as in `shape`; the nodes handed over belong to this planning run, as the path does.
        unsafe {
            let parse = (*self.root).parse;
            let mut values = vec![
                if value_first { left } else { right }.cast(),
                evaluable((*parse).limitCount),
                evaluable((*parse).limitOffset),
            ];
            values.extend(
                calls
                    .map(|calls| self.values_of_calls(calls))
                    .unwrap_or_default(),
            );
            let expressions = custom_scan::Expressions {
                order_by: self.sort_member().cast(),
                values,
            };
            custom_scan::add_path::<T>(self.rel, self.first_pathkey(), cost, &expressions, private);
        }
    }
}

/// Number of the first column that an index includes beside its keys, if that is a column.
fn first_included(index: &pg_sys::IndexOptInfo) -> Option<i16> {
    let keys = usize::try_from(index.nkeycolumns).ok()?;
    if index.ncolumns <= index.nkeycolumns {
        return None;
    }
    // SAFETY: `indexkeys` has an element for each column of the index, of which there are more than keys.
    let column = unsafe { *index.indexkeys.add(keys) };
    i16::try_from(column).ok().filter(|column| *column > 0)
}

fn access_method(table: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a lookup by OID in the catalog cache; the entry is copied out of before it is released.
    unsafe {
        let entry = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as c_int,
            pg_sys::Datum::from(table),
        );
        if entry.is_null() {
            return pg_sys::InvalidOid;
        }
        let method = (*pg_sys::GETSTRUCT(entry).cast::<pg_sys::FormData_pg_class>()).relam;
        pg_sys::ReleaseSysCache(entry);
        method
    }
}
