//! All `conifer.*` settings.
#![forbid(unsafe_code)]

use crate::index::plan;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;

/// On by default: the node is only chosen where its cost is lower than that of a sort.
static ENABLE_TOPK_SCAN: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Of the true nearest rows, the share a query finds on average at least.
static RECALL: GucSetting<f64> = GucSetting::<f64>::new(0.99);

/// What the functions may be used for by the session; nothing or empty is everything.
static NAMESPACE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// For tests of what large indexes do, on small ones.
static TREE_ROWS: GucSetting<i32> = GucSetting::<i32>::new(plan::TREE_ROWS as i32);

/// From so many rows on an index is to be a tree.
pub fn tree_rows() -> u64 {
    u64::try_from(TREE_ROWS.get()).unwrap_or(plan::TREE_ROWS)
}

/// The recall goal, from 0.5 to 1; 1 is exact.
pub fn recall() -> f64 {
    RECALL.get()
}

/// The only namespace that the functions may be used for, if the session is pinned to one.
pub fn namespace() -> Option<String> {
    let name = NAMESPACE.get()?;
    Some(name.to_string_lossy().into_owned())
}

/// May the planner consider `Custom Scan (ConiferTopK)`?
pub fn enable_topk_scan() -> bool {
    ENABLE_TOPK_SCAN.get()
}

/// Registers the settings.
pub fn init() {
    GucRegistry::define_bool_guc(
        c"conifer.enable_topk_scan",
        c"Enables the planner's use of ConiferTopK plans.",
        c"ConiferTopK answers ORDER BY column <operator> vector LIMIT k by keeping the k nearest rows while it scans, \
          instead of sorting all of them. The rows are the same either way.",
        &ENABLE_TOPK_SCAN,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"conifer.recall",
        c"Sets the share of the true nearest rows that queries by a conifer index find on average.",
        c"1 is exact: every row is looked at. Scores and order of the rows found are exact always.",
        &RECALL,
        0.5,
        1.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"conifer.namespace",
        c"Sets the only namespace that Conifer's functions may be used for.",
        c"Empty is no limit. What SQL on tables may do is a matter of rights and row security.",
        &NAMESPACE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"conifer.tree_rows",
        c"Sets the number of rows from which on a conifer index has lists.",
        c"A developer option: the default was measured. From three times as many rows on each row has two entries.",
        &TREE_ROWS,
        1000,
        i32::MAX,
        GucContext::Suset,
        GucFlags::NO_SHOW_ALL,
    );
    crate::pg::stop_point::init();
    crate::pg::guc::reserve_prefix(c"conifer");
}
