//! Generic plans that are not to be made. For a prepared statement PostgreSQL tries, from its sixth execution on, whether a plan for any parameters is as
//! cheap as one for these (choose_custom_plan in utils/cache/plancache.c). If a parameter says which partition is meant, such a plan opens and locks all
//! of them. In its place a plan comes that is too expensive to be chosen, and that is refused if it is executed all the same.

use super::pg_list::members;
use super::relation::Oid;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, RTEKind};
use std::ffi::CStr;
use std::sync::OnceLock;

/// More than any custom plan costs.
const PROHIBITIVE: f64 = 1e100;

struct Installed {
    previous: pg_sys::planner_hook_type,
    is_too_broad: fn(Oid) -> bool,
    refusal: &'static CStr,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Has no generic plan made for statements on partitioned tables of which `is_too_broad` says so; `refusal` is the statement that refuses. Only the first
/// call counts.
pub fn prevent(is_too_broad: fn(Oid) -> bool, refusal: &'static CStr) {
    // SAFETY: libraries are loaded on the backend's only thread.
    let previous = unsafe { pg_sys::planner_hook };
    let installed = Installed {
        previous,
        is_too_broad,
        refusal,
    };
    if INSTALLED.set(installed).is_ok() {
        // SAFETY: as above; the function is of the hook's type.
        unsafe { pg_sys::planner_hook = Some(planner) }
    }
}

/// "Hook for plugins to get control in planner()".
#[pg_guard]
unsafe extern "C-unwind" fn planner(
    query: *mut pg_sys::Query,
    text: *const core::ffi::c_char,
    options: core::ffi::c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    let previous = INSTALLED.get().and_then(|installed| installed.previous);
    // SAFETY: the hook's own arguments, during its call. What is called next is PostgreSQL's or another library's; the closure holds the call alone.
    #[allow(ffi_unwind_calls, reason = "guarded")]
    unsafe {
        if let Some(installed) = INSTALLED.get()
            && parameters.is_null()
            && names_one_too_broad(query, installed.is_too_broad)
            && has_parameters(query)
        {
            return refused(installed.refusal);
        }
        match previous {
            Some(previous) => {
                pg_sys::ffi::pg_guard_ffi_boundary(|| previous(query, text, options, parameters))
            }
            None => pg_sys::standard_planner(query, text, options, parameters),
        }
    }
}

/// Does it, or a query in its FROM or WITH, name a partitioned table that is too broad?
///
/// # Safety
/// A live query after rewriting, or null.
unsafe fn names_one_too_broad(query: *const pg_sys::Query, is_too_broad: fn(Oid) -> bool) -> bool {
    // SAFETY: by the caller's promise; an entry of the range table has the fields of its kind, and a WITH query is a query by now.
    unsafe {
        let Some(query) = query.as_ref() else {
            return false;
        };
        let in_range = members::<pg_sys::RangeTblEntry>(query.rtable).any(|entry| {
            let entry = &*entry;
            match entry.rtekind {
                RTEKind::RTE_RELATION => {
                    entry.inh
                        && entry.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
                        && is_too_broad(entry.relid)
                }
                RTEKind::RTE_SUBQUERY => names_one_too_broad(entry.subquery, is_too_broad),
                _ => false,
            }
        });
        in_range
            || members::<pg_sys::CommonTableExpr>(query.cteList)
                .any(|with| names_one_too_broad((*with).ctequery.cast(), is_too_broad))
    }
}

/// Are there parameters in it whose values are not known? Told from its text form, which is made only for the few queries that matter here.
///
/// # Safety
/// A live query.
unsafe fn has_parameters(query: *const pg_sys::Query) -> bool {
    /// As _outParam in nodes/outfuncs.c writes one of PARAM_EXTERN.
    const PARAMETER: &[u8] = b"{PARAM :paramkind 0 ";
    // SAFETY: by the caller's promise; the text is palloc'd and freed here.
    unsafe {
        let text = pg_sys::nodeToString(query.cast());
        let bytes = CStr::from_ptr(text).to_bytes();
        let found = bytes.windows(PARAMETER.len()).any(|part| part == PARAMETER);
        pg_sys::pfree(text.cast());
        found
    }
}

/// The plan of a statement that refuses, too expensive to be chosen.
///
/// # Safety
/// `statement` is one SELECT.
unsafe fn refused(statement: &CStr) -> *mut pg_sys::PlannedStmt {
    // SAFETY: by the caller's promise the list has one member; everything is made in the current memory context, as the planner's own results are.
    unsafe {
        let text = statement.as_ptr();
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
