//! Generic plans that are not to be made. For a prepared statement PostgreSQL tries, from its sixth execution on, whether a plan for any parameters is as
//! cheap as one for these (choose_custom_plan in utils/cache/plancache.c). If a parameter says which partition is meant, such a plan opens and locks all
//! of them. In its place a plan comes that is too expensive to be chosen, and that is refused if it is executed all the same.

use super::compat::tree_walker;
use super::pg_list::members;
use super::relation::Oid;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, NodeTag, RTEKind};
use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

/// More than any custom plan costs.
const PROHIBITIVE: f64 = 1e100;

struct Installed {
    previous: pg_sys::planner_hook_type,
    is_too_broad: fn(Oid) -> bool,
    condition: &'static str,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Has no generic plan made for statements on partitioned tables of which `is_too_broad` says so; `condition` is one in SQL that refuses. Only the
/// first call counts.
pub fn prevent(is_too_broad: fn(Oid) -> bool, condition: &'static str) {
    // SAFETY: libraries are loaded on the backend's only thread.
    let previous = unsafe { pg_sys::planner_hook };
    let installed = Installed {
        previous,
        is_too_broad,
        condition,
    };
    if INSTALLED.set(installed).is_ok() {
        // SAFETY: as above; the function is of the hook's type.
        unsafe { pg_sys::planner_hook = Some(planner) }
    }
}

/// PostgreSQL's own, without pgrx's guard, which would take CONTEXT and the like off every error that planning raises.
mod unguarded {
    use core::ffi::{c_char, c_int};
    use pgrx::pg_sys::{ParamListInfo, PlannedStmt, Query};

    unsafe extern "C-unwind" {
        pub(super) fn standard_planner(
            query: *mut Query,
            text: *const c_char,
            options: c_int,
            parameters: ParamListInfo,
        ) -> *mut PlannedStmt;
    }
}

/// "Hook for plugins to get control in planner()". Errors leave by one jump over its frame, which owns nothing.
#[expect(
    ffi_unwind_calls,
    reason = "called by PostgreSQL, over a frame without destructors"
)]
unsafe extern "C-unwind" fn planner(
    query: *mut pg_sys::Query,
    text: *const core::ffi::c_char,
    options: core::ffi::c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    let previous = INSTALLED.get().and_then(|installed| installed.previous);
    let next = previous.unwrap_or(unguarded::standard_planner);
    // SAFETY: the hook's own arguments, during its call, given on to PostgreSQL or another library.
    unsafe {
        if parameters.is_null() {
            let plan = plan_that_refuses(query);
            if !plan.is_null() {
                return plan;
            }
        }
        next(query, text, options, parameters)
    }
}

/// The plan in place of a generic one that is not to be made; null if there is nothing against it.
#[pg_guard]
unsafe extern "C-unwind" fn plan_that_refuses(
    query: *mut pg_sys::Query,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the query about to be planned.
    unsafe {
        match INSTALLED.get() {
            Some(installed) if is_to_be_refused(query, installed.is_too_broad) => {
                refused(query, installed.condition)
            }
            _ => std::ptr::null_mut(),
        }
    }
}

/// Partitioned tables of a query that are looked at; no query of use has more.
const MOST_TABLES: usize = 16;

/// What a walk over a query found.
#[derive(Default)]
struct Found {
    /// Partitioned tables.
    tables: [Oid; MOST_TABLES],
    count: usize,
    /// A parameter whose value is not known.
    has_parameter: bool,
}

/// Takes a node down into what was found, which the context points to, and looks below it.
#[expect(ffi_unwind_calls, reason = "inside the guard around the walk")]
unsafe extern "C-unwind" fn look_at(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: called by PostgreSQL's walkers and below with live nodes or null, and with the context given to them; a tag says which struct a node is.
    unsafe {
        if node.is_null() {
            return false;
        }
        let found = &mut *context.cast::<Found>();
        match (*node).type_ {
            NodeTag::T_Param => {
                let kind = (*node.cast::<pg_sys::Param>()).paramkind;
                found.has_parameter |= kind == pg_sys::ParamKind::PARAM_EXTERN;
                false
            }
            NodeTag::T_Query => {
                let query = node.cast::<pg_sys::Query>();
                for entry in members::<pg_sys::RangeTblEntry>((*query).rtable) {
                    let entry = &*entry;
                    if entry.rtekind == RTEKind::RTE_RELATION
                        && entry.inh
                        && entry.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
                        && found.count < MOST_TABLES
                    {
                        found.tables[found.count] = entry.relid;
                        found.count += 1;
                    }
                }
                tree_walker::query_tree_walker(query, look_at, context, 0)
            }
            _ => tree_walker::expression_tree_walker(node, look_at, context),
        }
    }
}

/// Is it about a partitioned table that is too broad, and about parameters whose values are not known?
///
/// # Safety
/// A live query after rewriting.
unsafe fn is_to_be_refused(query: *mut pg_sys::Query, is_too_broad: fn(Oid) -> bool) -> bool {
    let mut found = Found::default();
    let context = (&raw mut found).cast();
    // SAFETY: by the caller's promise; the context is a local that outlives the walk.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| look_at(query.cast(), context)) };
    let tables = &found.tables[..found.count];
    found.has_parameter && tables.iter().any(|table| is_too_broad(*table))
}

/// The plan of a statement with the same columns whose condition refuses, too expensive to be chosen.
///
/// # Safety
/// A live query after rewriting.
unsafe fn refused(query: *const pg_sys::Query, condition: &str) -> *mut pg_sys::PlannedStmt {
    // SAFETY: by the caller's promise; the text is one statement; everything is made in the current memory context, as the planner's own results are.
    unsafe {
        let columns = columns(query).join(", ");
        let text = super::catalog::c_name(&format!("SELECT {columns} WHERE {condition}"));
        let text = pg_sys::pstrdup(text.as_ptr()).cast_const();
        let parsed = pg_sys::raw_parser(text, pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let parsed = members::<pg_sys::RawStmt>(parsed).next();
        let query = pg_sys::parse_analyze_fixedparams(
            parsed.unwrap_or(core::ptr::null_mut()),
            text,
            core::ptr::null(),
            0,
            core::ptr::null_mut(),
        );
        let plan = pg_sys::standard_planner(query, text, 0, core::ptr::null_mut());
        (*(*plan).planTree).total_cost = PROHIBITIVE;
        plan
    }
}

/// NULLs of the types of a query's columns: who has prepared it expects those.
///
/// # Safety
/// A live query after rewriting.
unsafe fn columns(query: *const pg_sys::Query) -> Vec<String> {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY;
    // SAFETY: by the caller's promise; names of types are palloc'd C strings.
    unsafe {
        let list = match (*query).commandType {
            pg_sys::CmdType::CMD_SELECT => (*query).targetList,
            _ => (*query).returningList,
        };
        members::<pg_sys::TargetEntry>(list)
            .map(|entry| &*entry)
            .filter(|entry| !entry.resjunk)
            .map(|entry| {
                let expression = entry.expr.cast();
                let (oid, modifier) =
                    (pg_sys::exprType(expression), pg_sys::exprTypmod(expression));
                let name = pg_sys::format_type_extended(oid, modifier, flags as pg_sys::bits16);
                format!("NULL::{}", CStr::from_ptr(name).to_string_lossy())
            })
            .collect()
    }
}
