//! VACUUM's manners (commands/vacuum.c): where its cost settings ask, as autovacuum's do, it sleeps after so much reading and writing, and here after so
//! much computing too. Ordering an index anew is mostly computing, which PostgreSQL's costs do not know: uncounted, it would take a processor from
//! everybody else's queries for seconds.

use super::compat;
use pgrx::pg_sys;
use std::cell::Cell;

/// Computing that costs as much as `vacuum_cost_limit`, ns: as long as autovacuum then sleeps by default, so that it takes half a processor.
const COMPUTED_FOR_LIMIT: u64 = 2_000_000;

/// No more is charged at once, ns; PostgreSQL sleeps no longer than four delays either.
const MOST_CHARGED: u64 = 4 * COMPUTED_FOR_LIMIT;

thread_local! {
    /// The processor's time this thread had taken when it was last charged.
    static CHARGED: Cell<u64> = const { Cell::new(0) };
}

/// A place at which VACUUM sleeps as its cost settings ask, and any statement is cancelled. Not under a lock.
pub fn delay() {
    // SAFETY: globals of the backend's only thread; inside a transaction, no lock held.
    unsafe {
        if pg_sys::VacuumCostActive {
            let now = processor_time();
            let computed = now.saturating_sub(CHARGED.replace(now)).min(MOST_CHARGED);
            let limit = u64::try_from(pg_sys::VacuumCostLimit).unwrap_or(0);
            pg_sys::VacuumCostBalance += (limit * computed / COMPUTED_FOR_LIMIT) as i32;
        }
        compat::vacuum_delay_point();
    }
}

/// Of this thread, ns.
fn processor_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the struct given.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if done == 0 {
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    } else {
        0
    }
}
