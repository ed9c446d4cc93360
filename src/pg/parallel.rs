//! Threads that compute, for the length of one index build. They never call PostgreSQL.

use crate::error::Error;
use pgrx::pg_sys;

/// A pool of the threads that `max_parallel_maintenance_workers` allows besides the backend, or none.
///
/// Signals are PostgreSQL's business and must reach the backend's own thread: the pool's threads are begun with all blocked.
pub fn workers() -> Result<Option<rayon::ThreadPool>, Error> {
    // SAFETY: a setting, read on the backend's only thread.
    let allowed = unsafe { pg_sys::max_parallel_maintenance_workers };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = usize::try_from(allowed)
        .unwrap_or(0)
        .saturating_add(1)
        .min(cores);
    if threads < 2 {
        return Ok(None);
    }
    let pool = with_signals_blocked(|| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("conifer {number}"))
            .build()
    });
    match pool {
        Ok(pool) => Ok(Some(pool)),
        // Out of threads: the backend computes by itself.
        Err(_) => Ok(None),
    }
}

/// New threads take over the signal mask of the thread that begins them.
fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are written before they are read; the mask is put back as it was.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let answer = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        answer
    }
}
