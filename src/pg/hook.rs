//! Planner hooks: installed once, chained to whoever was there before.

use super::compat;
use super::node::PlannedRelation;
use super::relation::Oid;
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

/// Watches the relations a query is planned for: the OID of each, partitions included, and how many the query has so far. The last is to be called before it is
/// refused: it raises the error of whoever has no right to the query, which PostgreSQL would look at only once it is planned.
pub type Watch = fn(Oid, usize, &dyn Fn());

struct Watching {
    previous: pg_sys::get_relation_info_hook_type,
    watch: Watch,
}

static WATCHING: OnceLock<Watching> = OnceLock::new();

/// Has `watch` called for every relation the planner opens, before it opens the next. Only the first call counts.
pub fn install_watch(watch: Watch) {
    // SAFETY: libraries are loaded on the backend's only thread.
    let previous = unsafe { pg_sys::get_relation_info_hook };
    if WATCHING.set(Watching { previous, watch }).is_ok() {
        // SAFETY: as above; the function is of the hook's type.
        unsafe { pg_sys::get_relation_info_hook = Some(relation_info) }
    }
}

/// "Allow a plugin to editorialize on the info we obtained from the catalogs" (optimizer/util/plancat.c).
#[pg_guard]
unsafe extern "C-unwind" fn relation_info(
    root: *mut pg_sys::PlannerInfo,
    relation: Oid,
    is_parent: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    let Some(watching) = WATCHING.get() else {
        return;
    };
    if let Some(previous) = watching.previous {
        // SAFETY: as in rel_pathlist.
        #[allow(ffi_unwind_calls, reason = "guarded")]
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, relation, is_parent, rel));
        }
    }
    // SAFETY: the query being planned; partitions are added to its range table one by one as they are opened.
    let (query, planned) = unsafe {
        let query = (*root).parse;
        (
            query,
            (*query).rtable.as_ref().map_or(0, |list| list.length),
        )
    };
    // SAFETY: the same.
    let check_rights = || unsafe { compat::check_rights(query) };
    (watching.watch)(
        relation,
        usize::try_from(planned).unwrap_or(0),
        &check_rights,
    );
}
