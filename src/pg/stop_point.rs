//! Stops this process for good at a named place, if a test has asked for it. Builds without debug assertions have nothing of it.
//!
//! `SET conifer.stop_point = 'after append:3'` has this process stop when the place is reached the third time; it then holds what it holds, locks of
//! pages too, and hears no signal but SIGKILL. `SHOW conifer.stop_points` lists every place and how often this process was there.

use crate::stop_point::StopPoint;

/// Before a change of pages: their locks are held.
pub fn before(change: StopPoint) {
    armed::reach("before", change);
}

/// After a change of pages, their locks let go of; or after a step of an operation on namespaces.
pub fn after(change: StopPoint) {
    armed::reach("after", change);
}

/// Registers the settings.
pub fn init() {
    armed::init();
}

#[cfg(not(debug_assertions))]
mod armed {
    use super::StopPoint;

    #[inline]
    pub(super) fn reach(_: &'static str, _: StopPoint) {}

    pub(super) fn init() {}
}

#[cfg(debug_assertions)]
mod armed {
    use super::StopPoint;
    use core::ffi::{CStr, c_char};
    use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
    use pgrx::pg_sys;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::ffi::CString;
    use std::time::Duration;

    static STOP_POINT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

    thread_local! {
        /// How often this process was at a place.
        static REACHED: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
        /// What SHOW was answered last: PostgreSQL keeps the pointer for a moment.
        static SHOWN: RefCell<CString> = RefCell::default();
    }

    pub(super) fn reach(when: &'static str, point: StopPoint) {
        let name = format!("{when} {}", point.name());
        let times = REACHED.with_borrow_mut(|reached| {
            let times = reached.entry(name.clone()).or_default();
            *times += 1;
            *times
        });
        let Some(wanted) = STOP_POINT.get() else {
            return;
        };
        let wanted = wanted.to_string_lossy();
        let (wanted, at) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        if wanted == name && at.parse() == Ok(times) {
            // Not by PostgreSQL's own log, which would look for interrupts.
            eprintln!("[{}] stopped {name}:{times}", std::process::id());
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }

    pub(super) fn init() {
        GucRegistry::define_string_guc(
            c"conifer.stop_point",
            c"Sets the place at which this process stops for good.",
            c"For tests. A name of SHOW conifer.stop_points, and after a colon which time it is there.",
            &STOP_POINT,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL,
        );
        static mut UNUSED: bool = false;
        // SAFETY: the strings are NUL-terminated and never freed, the variable lives for ever, and only PostgreSQL looks at it.
        unsafe {
            pg_sys::DefineCustomBoolVariable(
                c"conifer.stop_points".as_ptr(),
                c"Shows the places at which a process can stop, and how often this one was there."
                    .as_ptr(),
                c"For tests.".as_ptr(),
                &raw mut UNUSED,
                false,
                pg_sys::GucContext::PGC_INTERNAL,
                pg_sys::GUC_NO_SHOW_ALL as i32,
                None,
                None,
                Some(show),
            );
        }
    }

    /// `name=times`, separated by commas.
    #[pgrx::pg_guard]
    unsafe extern "C-unwind" fn show() -> *const c_char {
        let pages = StopPoint::PAGES
            .iter()
            .flat_map(|page| [("before", page), ("after", page)]);
        let steps = StopPoint::STEPS.iter().map(|step| ("after", step));
        let lines = pages.chain(steps).map(|(when, point)| {
            let name = format!("{when} {}", point.name());
            let times = REACHED.with_borrow(|reached| reached.get(&name).copied());
            format!("{name}={}", times.unwrap_or_default())
        });
        let text = lines.collect::<Vec<_>>().join(",");
        SHOWN.with_borrow_mut(|shown| {
            *shown = CString::new(text).unwrap_or_default();
            CStr::as_ptr(shown)
        })
    }
}
