//! VACUUM's manners (commands/vacuum.c). Ordering an index anew is mostly computing, for seconds at a time, which PostgreSQL's costs do not know. So where
//! its cost settings ask, as autovacuum's do, VACUUM sleeps here after so much computing too, and it always lets others in that wait for its processor.

use super::compat;
use pgrx::pg_sys;
use std::cell::Cell;

/// Computing that costs one unit, ns. A default limit of 200 is used up in as long as autovacuum then sleeps by default: a worker alone takes half a
/// processor, three together take three quarters of one, for PostgreSQL divides the limit among them.
const COMPUTED_FOR_ONE: u64 = 10_000;

/// No more is charged at once, ns; PostgreSQL sleeps no longer than four delays either.
const MOST_CHARGED: u64 = 8_000_000;

/// Whoever waits for this processor is let in after so much computing, ns. Linux would let a query that takes 0.1 ms wait for 1 to 3 ms: with three
/// autovacuum workers at work on two processors the slowest query in a hundred took 0.9 ms without this, 0.3 with it, and 0.2 on a quiet server.
const COMPUTED_AT_ONCE: u64 = 30_000;

thread_local! {
    /// The processor's time of this thread that has been charged.
    static CHARGED: Cell<u64> = const { Cell::new(0) };
    /// The same when it last let others in.
    static LET_IN: Cell<u64> = const { Cell::new(0) };
}

/// VACUUM comes to an index: what this thread computed before is not charged.
pub fn begin() {
    CHARGED.set(processor_time());
}

/// A place at which VACUUM lets others in, sleeps as its cost settings ask, and any statement is cancelled. Not under a lock.
pub fn delay() {
    let now = processor_time();
    if now.saturating_sub(LET_IN.get()) >= COMPUTED_AT_ONCE {
        LET_IN.set(now);
        std::thread::yield_now();
    }
    // SAFETY: globals of the backend's only thread; inside a transaction, no lock held.
    unsafe {
        if pg_sys::VacuumCostActive {
            let computed = now.saturating_sub(CHARGED.get());
            let units = computed.min(MOST_CHARGED) / COMPUTED_FOR_ONE;
            // What is less than a unit is charged the next time.
            CHARGED.set(now - computed % COMPUTED_FOR_ONE);
            pg_sys::VacuumCostBalance += units as i32;
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
