//! Reading expressions of the planner's trees.

use super::operator::FunctionId;
use super::pg_list;
use super::relation_shape::LimitShape;
use core::ptr;
use pgrx::pg_sys::{self, NodeTag};

/// Function and arguments of an operator or function of two arguments.
pub(super) fn call_of_two(
    expression: *mut pg_sys::Expr,
) -> Option<(FunctionId, *mut pg_sys::Expr, *mut pg_sys::Expr)> {
    if expression.is_null() {
        return None;
    }
    // SAFETY: a node of the planner's trees, alive during the hook; its tag says which struct it is.
    let (function, arguments) = unsafe {
        match (*expression).type_ {
            NodeTag::T_OpExpr => {
                let call = &*expression.cast::<pg_sys::OpExpr>();
                let function = match call.opfuncid {
                    pg_sys::InvalidOid => pg_sys::get_opcode(call.opno),
                    known => known,
                };
                (function, call.args)
            }
            NodeTag::T_FuncExpr => {
                let call = &*expression.cast::<pg_sys::FuncExpr>();
                (call.funcid, call.args)
            }
            _ => return None,
        }
    };
    // SAFETY: `args` is a list of expressions.
    let mut arguments = unsafe { pg_list::members::<pg_sys::Expr>(arguments) };
    match (arguments.len(), arguments.next(), arguments.next()) {
        (2, Some(left), Some(right)) => Some((FunctionId::of(function), left, right)),
        _ => None,
    }
}

/// Below the casts that change nothing but the type's name.
pub(super) fn strip_relabels(mut node: *mut pg_sys::Expr) -> *mut pg_sys::Expr {
    // SAFETY: a node of the planner's trees, alive during the hook; its tag says which struct it is.
    unsafe {
        while !node.is_null() && (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg;
        }
    }
    node
}

/// # Safety
/// `node` is an expression of the planner's trees.
pub(super) unsafe fn is_unstable(node: *mut pg_sys::Node) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        pg_sys::contain_volatile_functions(node)
            || pg_sys::contain_subplans(node)
            || pg_sys::expression_returns_set(node)
    }
}

/// The expression if a second evaluation of it, in the scan, is harmless; else null.
///
/// # Safety
/// `node` is null or an expression of the planner's trees.
pub(super) unsafe fn evaluable(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: by the caller's promise.
    unsafe {
        if node.is_null() || is_unstable(node) || pg_sys::contain_var_clause(node) {
            ptr::null_mut()
        } else {
            node
        }
    }
}

/// # Safety
/// `parse` is the query being planned.
pub(super) unsafe fn limit_shape(parse: *const pg_sys::Query) -> LimitShape {
    // SAFETY: by the caller's promise.
    unsafe {
        let (count, offset) = ((*parse).limitCount, (*parse).limitOffset);
        match (constant_bigint(count), constant_bigint(offset)) {
            _ if count.is_null() => LimitShape::None,
            (Some(None), _) => LimitShape::None,
            (Some(Some(count)), Some(offset)) => {
                LimitShape::Constant(as_count(count).saturating_add(as_count(offset.unwrap_or(0))))
            }
            (Some(Some(count)), None) if offset.is_null() => LimitShape::Constant(as_count(count)),
            _ if evaluable(count).is_null() => LimitShape::Unknown,
            _ if !offset.is_null() && evaluable(offset).is_null() => LimitShape::Unknown,
            _ => LimitShape::AtRunTime,
        }
    }
}

fn as_count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The value of a constant (`Some(None)`: NULL); `None` for anything else.
///
/// # Safety
/// `node` is null or a LIMIT or OFFSET expression, which PostgreSQL has coerced to `bigint`.
unsafe fn constant_bigint(node: *const pg_sys::Node) -> Option<Option<i64>> {
    // SAFETY: by the caller's promise; a `bigint` is passed by value.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_Const {
            return None;
        }
        let constant = &*node.cast::<pg_sys::Const>();
        Some((!constant.constisnull).then(|| constant.constvalue.value() as i64))
    }
}
