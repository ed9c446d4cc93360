//! Planner hooks: installed once, chained to whoever was there before.

use super::node::PlannedRelation;
use pgrx::pg_guard;
use pgrx::pg_sys;
use std::sync::OnceLock;

/// Looks at a relation being planned and may offer paths for it.
pub type OfferPaths = fn(&PlannedRelation<'_>);

struct Installed {
    previous: pg_sys::set_rel_pathlist_hook_type,
    offer: OfferPaths,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Has `offer` called for every base relation the planner makes paths for. Only the first call counts.
pub fn install(offer: OfferPaths) {
    // SAFETY: libraries are loaded on the backend's only thread.
    let previous = unsafe { pg_sys::set_rel_pathlist_hook };
    if INSTALLED.set(Installed { previous, offer }).is_ok() {
        // SAFETY: as above; the function is of the hook's type.
        unsafe { pg_sys::set_rel_pathlist_hook = Some(rel_pathlist) }
    }
}

/// "Hook for plugins to get control in set_rel_pathlist": after the core code has added its own paths, before it
/// picks the cheapest.
#[pg_guard]
unsafe extern "C-unwind" fn rel_pathlist(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rti: pg_sys::Index,
    rte: *mut pg_sys::RangeTblEntry,
) {
    let Some(installed) = INSTALLED.get() else {
        return;
    };
    if let Some(previous) = installed.previous {
        // SAFETY: another library's hook, called with what PostgreSQL called ours with; the closure holds the call
        // alone, so an error jumps over no Rust frame.
        #[allow(ffi_unwind_calls, reason = "guarded")]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, rel, rti, rte));
        }
    }
    // SAFETY: the hook's own arguments, during its call.
    (installed.offer)(&unsafe { PlannedRelation::new(root, rel, rte) });
}
