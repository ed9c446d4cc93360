//! All `conifer.*` settings.
#![forbid(unsafe_code)]

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// On by default: the node is only chosen where its cost is lower than that of a sort.
static ENABLE_TOPK_SCAN: GucSetting<bool> = GucSetting::<bool>::new(true);

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
    crate::pg::guc::reserve_prefix(c"conifer");
}
