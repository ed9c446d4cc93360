//! EXPLAIN output of a custom scan, in any of EXPLAIN's formats.

use super::pg_list;
use core::ffi::CStr;
use core::marker::PhantomData;
use pgrx::pg_sys;

/// Writes properties of one plan node.
pub struct Explain<'a> {
    node: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
    call: PhantomData<&'a mut ()>,
}

impl Explain<'_> {
    /// # Safety
    /// The arguments are those of `ExplainCustomScan`, during its call.
    pub(super) unsafe fn new(
        node: *mut pg_sys::CustomScanState,
        ancestors: *mut pg_sys::List,
        es: *mut pg_sys::ExplainState,
    ) -> Self {
        Self {
            node,
            ancestors,
            es,
            call: PhantomData,
        }
    }

    /// Was the query run?
    pub fn analyze(&self) -> bool {
        // SAFETY: live during the call (see `new`).
        unsafe { (*self.es).analyze }
    }

    /// A number the query's run came to.
    pub fn count(&mut self, label: &'static CStr, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        // SAFETY: as above; the label is NUL-terminated.
        unsafe {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), core::ptr::null(), value, self.es);
        }
    }

    /// The same, not a whole one.
    pub fn number(&mut self, label: &'static CStr, value: f64) {
        // SAFETY: as above.
        unsafe {
            pg_sys::ExplainPropertyFloat(label.as_ptr(), core::ptr::null(), value, 3, self.es);
        }
    }

    /// A name.
    pub fn text(&mut self, label: &'static CStr, value: &str) {
        let value = super::catalog::c_name(value);
        // SAFETY: as above; both are NUL-terminated.
        unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), self.es) }
    }

    /// The sort key the scan delivers rows in.
    pub fn order_by(&mut self) {
        self.expression(c"Order By", 0);
    }

    /// One of the plan's values, by its number.
    pub fn value(&mut self, label: &'static CStr, number: usize) {
        self.expression(label, number + 1);
    }

    fn expression(&mut self, label: &'static CStr, position: usize) {
        // SAFETY: as above; the first expression of the plan is its sort key and the others are its values
        // (`custom_scan::private_list`), and a plan is deparsed as EXPLAIN deparses a scan's filter.
        unsafe {
            let plan = (*self.node).ss.ps.plan;
            let expressions = (*plan.cast::<pg_sys::CustomScan>()).custom_exprs;
            let Some(key) = pg_list::member::<pg_sys::Node>(expressions, position) else {
                return;
            };
            let several_tables = pg_list::members::<pg_sys::Node>((*self.es).rtable).len() > 1;
            let context =
                pg_sys::set_deparse_context_plan((*self.es).deparse_cxt, plan, self.ancestors);
            let prefix = several_tables || (*self.es).verbose;
            let text = pg_sys::deparse_expression(key, context, prefix, false);
            pg_sys::ExplainPropertyText(label.as_ptr(), text, self.es);
        }
    }
}
