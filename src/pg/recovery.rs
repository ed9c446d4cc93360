//! Whether this server replays another's WAL, and how far it is.

use crate::error::Error;
use pgrx::pg_sys;

/// Not in pgrx's bindings of every version.
mod unbound {
    unsafe extern "C" {
        pub(super) fn GetCurrentReplayRecPtr(timeline: *mut pgrx::pg_sys::TimeLineID) -> u64;
    }
}

/// Where the last record ends that was replayed whole; None on a server that writes.
pub fn replayed() -> Option<u64> {
    // SAFETY: both read shared memory; the pointer to the timeline may be null.
    unsafe {
        pg_sys::RecoveryInProgress().then(|| pg_sys::GetXLogReplayRecPtr(std::ptr::null_mut()))
    }
}

/// An error if a table's contents are not on this server: those of an unlogged one never come to a standby, where its files are missing or empty.
pub(super) fn check_reach(is_permanent: bool) -> Result<(), Error> {
    // SAFETY: reads shared memory.
    if !is_permanent && unsafe { pg_sys::RecoveryInProgress() } {
        return Err(Error::Unsupported {
            what: "unlogged tables on a standby",
        });
    }
    Ok(())
}

/// Whether no record was replayed since [`replayed`] answered that, nor a part of one.
pub fn stands_still_since(replayed: u64) -> bool {
    // SAFETY: reads shared memory (access/xlogrecovery.h); the pointer may be null. It raises no error.
    unsafe { unbound::GetCurrentReplayRecPtr(std::ptr::null_mut()) == replayed }
}
