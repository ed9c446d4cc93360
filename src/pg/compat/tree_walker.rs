//! The walkers of query trees (nodes/nodeFuncs.c), without pgrx's guard: they call back into Rust, and an error raised below must leave by one
//! jump, over frames that own nothing, to the one guard around the whole walk.

use core::ffi::{c_int, c_void};
use pgrx::pg_sys::{Node, Query};

/// Looks at a node; true ends the walk.
pub type Walker = unsafe extern "C-unwind" fn(node: *mut Node, context: *mut c_void) -> bool;

unsafe extern "C-unwind" {
    /// Shows the walker every node directly below an expression.
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    pub fn expression_tree_walker(node: *mut Node, walker: Walker, context: *mut c_void) -> bool;
    /// Shows the walker every expression and query directly below a query.
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    pub fn query_tree_walker(
        query: *mut Query,
        walker: Walker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
}
