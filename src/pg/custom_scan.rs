//! Custom scans of one heap relation: the safe trait a provider implements, and the trampolines PostgreSQL calls.
//!
//! ```text
//! planner    add_path ──► CustomPath ──► plan ──► CustomScan   custom_exprs = [sort key, value, value, …]
//! executor   create_state ──► begin ──► exec (access | recheck)* , rescan ──► end
//! ```
//!
//! A provider's Rust state is boxed beside PostgreSQL's node and dropped with the executor's memory context, so on
//! errors too. Mark/restore, backward scans and parallel workers are not offered: their callbacks are NULL.

use super::compat;
use super::executor::{Executor, Values, clear_slot};
use super::explain::Explain;
use super::memory;
use super::pg_list;
use super::relation_shape::PathCost;
use super::report::OrReport;
use crate::error::Error;
use core::ffi::{CStr, c_int};
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::CString;

/// A scan that gives the rows of one relation, chosen and ordered by itself.
pub trait CustomScan: Sized + 'static {
    /// As EXPLAIN shows it.
    const NAME: &'static CStr;
    /// From what the planner side put into the plan.
    fn create(private: &str) -> Result<Self, Error>;
    /// Puts the next row into the scan's slot; false behind the last one.
    fn next(&mut self, executor: &mut Executor<'_>) -> Result<bool, Error>;
    /// Begin again; parameters may have changed.
    fn rescan(&mut self);
    /// What EXPLAIN shows beside what PostgreSQL shows by itself.
    fn explain(&self, explain: &mut Explain<'_>);
}

/// What a plan carries as expressions, so that the planner treats parameters in them as it does everywhere.
pub(super) struct Expressions {
    /// Shown by EXPLAIN, not evaluated.
    pub(super) order_by: *mut pg_sys::Node,
    /// [`Executor::vector`], [`Executor::bigint`] and [`Executor::jsonb`] count these from 0; null where there is none.
    pub(super) values: Vec<*mut pg_sys::Node>,
}

/// The tables of callbacks, one set for each provider.
struct Methods<T>(T);

impl<T: CustomScan> Methods<T> {
    const PATH: &'static pg_sys::CustomPathMethods = &pg_sys::CustomPathMethods {
        CustomName: T::NAME.as_ptr(),
        PlanCustomPath: Some(plan::<T>),
        ReparameterizeCustomPathByChild: None,
    };
    const SCAN: &'static pg_sys::CustomScanMethods = &pg_sys::CustomScanMethods {
        CustomName: T::NAME.as_ptr(),
        CreateCustomScanState: Some(create_state::<T>),
    };
    const EXEC: &'static pg_sys::CustomExecMethods = &pg_sys::CustomExecMethods {
        CustomName: T::NAME.as_ptr(),
        BeginCustomScan: Some(begin::<T>),
        ExecCustomScan: Some(exec::<T>),
        EndCustomScan: Some(end::<T>),
        ReScanCustomScan: Some(rescan::<T>),
        MarkPosCustomScan: None,
        RestrPosCustomScan: None,
        EstimateDSMCustomScan: None,
        InitializeDSMCustomScan: None,
        ReInitializeDSMCustomScan: None,
        InitializeWorkerCustomScan: None,
        ShutdownCustomScan: None,
        ExplainCustomScan: Some(explain::<T>),
    };
}

/// Makes the provider known by name, for plans that are read from text.
pub fn register<T: CustomScan>() {
    // SAFETY: the table is a constant of this library, which is never unloaded.
    unsafe { pg_sys::RegisterCustomScanMethods(Methods::<T>::SCAN) }
}

/// A zeroed node of the planner's or executor's memory.
///
/// # Safety
/// `T` is the node struct of `tag`, or begins with it.
unsafe fn make_node<T>(tag: NodeTag) -> *mut T {
    // SAFETY: freshly allocated, zeroed and long enough; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>());
        *node.cast::<NodeTag>() = tag;
        node.cast()
    }
}

/// # Safety
/// Called from `set_rel_pathlist_hook` with its relation, a path key of its query and expressions of its trees.
pub(super) unsafe fn add_path<T: CustomScan>(
    rel: *mut pg_sys::RelOptInfo,
    pathkey: *mut pg_sys::PathKey,
    cost: PathCost,
    expressions: &Expressions,
    private: &str,
) {
    // SAFETY: by the caller's promise; all is allocated in the planner's memory, as the path is.
    unsafe {
        let path = make_node::<pg_sys::CustomPath>(NodeTag::T_CustomPath);
        (*path).path.pathtype = NodeTag::T_CustomScan;
        (*path).path.parent = rel;
        (*path).path.pathtarget = (*rel).reltarget;
        (*path).path.rows = (*rel).rows;
        (*path).path.startup_cost = cost.startup;
        (*path).path.total_cost = cost.total;
        (*path).path.pathkeys = pg_list::append(core::ptr::null_mut(), pathkey);
        (*path).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*path).custom_private = private_list(expressions, private);
        (*path).methods = Methods::<T>::PATH;
        pg_sys::add_path(rel, path.cast());
    }
}

/// `[private text, sort key, value, …]`, copies throughout, for the plan is changed in place later.
///
/// # Safety
/// The expressions are null or nodes.
unsafe fn private_list(expressions: &Expressions, private: &str) -> *mut pg_sys::List {
    let text = CString::new(private.replace('\0', "")).unwrap_or_default();
    // SAFETY: by the caller's promise; `pstrdup` copies the text into the planner's memory.
    unsafe {
        let text = pg_sys::makeString(pg_sys::pstrdup(text.as_ptr()));
        let mut list = pg_list::append(core::ptr::null_mut(), text);
        for node in core::iter::once(&expressions.order_by).chain(&expressions.values) {
            let copy: *mut pg_sys::Node = if node.is_null() {
                // A plan's list of expressions has no holes; a constant NULL stands for "none".
                pg_sys::makeNullConst(pg_sys::INT8OID, -1, pg_sys::InvalidOid).cast()
            } else {
                pg_sys::copyObjectImpl(node.cast_const().cast()).cast()
            };
            list = pg_list::append(list, copy);
        }
        list
    }
}

/// "Convert a custom path to a finished plan." The clauses arrive sorted, those of security barriers first.
unsafe extern "C-unwind" fn plan<T: CustomScan>(
    _root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    best_path: *mut pg_sys::CustomPath,
    tlist: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    _custom_plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: PostgreSQL passes a path made by `add_path` and its relation; the private list's first member is the
    // text and the others are expressions.
    unsafe {
        pgrx_extern_c_guard(|| {
            let mut texts = core::ptr::null_mut();
            let mut expressions = core::ptr::null_mut();
            let private = pg_list::members::<pg_sys::Node>((*best_path).custom_private);
            for (position, node) in private.enumerate() {
                let list = if position == 0 {
                    &mut texts
                } else {
                    &mut expressions
                };
                *list = pg_list::append(*list, node);
            }
            let scan = make_node::<pg_sys::CustomScan>(NodeTag::T_CustomScan);
            (*scan).scan.plan.targetlist = tlist;
            (*scan).scan.plan.qual = pg_sys::extract_actual_clauses(clauses, false);
            (*scan).scan.scanrelid = (*rel).relid;
            (*scan).flags = (*best_path).flags;
            (*scan).custom_exprs = expressions;
            (*scan).custom_private = texts;
            (*scan).methods = Methods::<T>::SCAN;
            scan.cast()
        })
    }
}

/// PostgreSQL's state of the node, and ours behind it.
#[repr(C)]
struct State<T> {
    node: pg_sys::CustomScanState,
    /// Null once ended.
    inner: *mut Inner<T>,
}

struct Inner<T> {
    provider: T,
    values: Values,
}

/// "Allocate a CustomScanState for this CustomScan."
unsafe extern "C-unwind" fn create_state<T: CustomScan>(
    scan: *mut pg_sys::CustomScan,
) -> *mut pg_sys::Node {
    // SAFETY: PostgreSQL passes a plan made by `plan` (or a copy of one), whose private list holds one text; the
    // current memory context is the executor's, in which the state lives.
    unsafe {
        pgrx_extern_c_guard(|| {
            let text = pg_list::member::<pg_sys::String>((*scan).custom_private, 0).ok_or(
                Error::Corrupted {
                    what: "a plan without its private text".into(),
                },
            );
            let text = CStr::from_ptr((*text.or_report()).sval);
            let provider = T::create(&text.to_string_lossy()).or_report();
            let state = make_node::<State<T>>(NodeTag::T_CustomScanState);
            (*state).node.methods = Methods::<T>::EXEC;
            compat::heap_slot::request(&raw mut (*state).node);
            memory::on_reset(
                pg_sys::CurrentMemoryContext,
                memory::drop_boxed::<Inner<T>>,
                (&raw mut (*state).inner).cast(),
            );
            (*state).inner = Box::into_raw(Box::new(Inner {
                provider,
                values: Values::default(),
            }));
            state.cast()
        })
    }
}

/// "Complete initialization of the supplied CustomScanState. Standard fields have been initialized by ExecInitCustomScan."
unsafe extern "C-unwind" fn begin<T: CustomScan>(
    node: *mut pg_sys::CustomScanState,
    _estate: *mut pg_sys::EState,
    _eflags: c_int,
) {
    // SAFETY: `node` is the state we allocated in `create_state`; PostgreSQL passes it back unchanged.
    unsafe {
        pgrx_extern_c_guard(|| {
            compat::heap_slot::ensure(node);
            let state = node.cast::<State<T>>();
            (*(*state).inner).values = Values::compile(node);
        });
    }
}

/// "Fetch the next scan tuple."
unsafe extern "C-unwind" fn exec<T: CustomScan>(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as in `begin`; ExecScan passes the node to the two methods, and does projection, EvalPlanQual and
    // interrupts around them.
    unsafe {
        pgrx_extern_c_guard(|| pg_sys::ExecScan(node.cast(), Some(access::<T>), Some(recheck::<T>)))
    }
}

/// ExecScan's access method: the next row into the scan slot.
unsafe extern "C-unwind" fn access<T: CustomScan>(
    node: *mut pg_sys::ScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as in `begin`. Nothing else refers to the inner state while it runs: a node is not entered twice.
    unsafe {
        pgrx_extern_c_guard(|| {
            let inner = &mut *(*node.cast::<State<T>>()).inner;
            let mut executor = Executor::new(node.cast(), &inner.values);
            let slot = (*node).ss_ScanTupleSlot;
            if !inner.provider.next(&mut executor).or_report() {
                clear_slot(slot);
            }
            slot
        })
    }
}

/// ExecScan's recheck method: does the newest version of a row, locked after a concurrent update, still pass?
unsafe extern "C-unwind" fn recheck<T: CustomScan>(
    node: *mut pg_sys::ScanState,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as in `access`.
    unsafe {
        pgrx_extern_c_guard(|| {
            let inner = &*(*node.cast::<State<T>>()).inner;
            Executor::new(node.cast(), &inner.values).row_passes(slot)
        })
    }
}

/// "Clean up any private data associated with the CustomScanState."
unsafe extern "C-unwind" fn end<T: CustomScan>(node: *mut pg_sys::CustomScanState) {
    // SAFETY: as in `begin`; the box came from `create_state`.
    unsafe { memory::drop_boxed::<Inner<T>>((&raw mut (*node.cast::<State<T>>()).inner).cast()) }
}

/// "Rewind the current scan to the beginning and prepare to rescan the relation."
unsafe extern "C-unwind" fn rescan<T: CustomScan>(node: *mut pg_sys::CustomScanState) {
    // SAFETY: as in `begin`.
    unsafe {
        pgrx_extern_c_guard(|| {
            (*(*node.cast::<State<T>>()).inner).provider.rescan();
            clear_slot((*node).ss.ss_ScanTupleSlot);
            pg_sys::ExecScanReScan(node.cast());
        });
    }
}

/// "Output additional information for EXPLAIN."
unsafe extern "C-unwind" fn explain<T: CustomScan>(
    node: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: as in `begin`; EXPLAIN's own arguments during its call.
    unsafe {
        pgrx_extern_c_guard(|| {
            let inner = &*(*node.cast::<State<T>>()).inner;
            inner
                .provider
                .explain(&mut Explain::new(node, ancestors, es));
        });
    }
}
