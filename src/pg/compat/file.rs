//! A relation's file and its pages, by names that 16 gave new types.

use crate::pg::index_relation::FileId;
use pgrx::pg_sys;

/// Tablespace, database and number of a relation's file.
///
/// # Safety
/// `relation` must be open.
pub unsafe fn id(relation: pg_sys::Relation) -> FileId {
    // SAFETY: the caller's contract.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let node = (*relation).rd_node;
            (
                node.spcNode.to_u32(),
                node.dbNode.to_u32(),
                node.relNode.to_u32(),
            )
        }
        #[cfg(not(feature = "pg15"))]
        {
            let locator = (*relation).rd_locator;
            (
                locator.spcOid.to_u32(),
                locator.dbOid.to_u32(),
                locator.relNumber.to_u32(),
            )
        }
    }
}

#[cfg(feature = "pg15")]
type FileLocator = pg_sys::RelFileNode;
#[cfg(not(feature = "pg15"))]
type FileLocator = pg_sys::RelFileLocator;

unsafe extern "C-unwind" {
    /// storage/bufmgr.h, without pgrx's guard.
    fn ReadRecentBuffer(
        file: FileLocator,
        fork: pg_sys::ForkNumber::Type,
        block: pg_sys::BlockNumber,
        recent: pg_sys::Buffer,
    ) -> bool;
}

/// Pins the buffer a block was last seen in, if it is still there: saves the lookup in the buffer table.
///
/// # Safety
/// Inside a guard. `relation` must be open, `buffer` a number some earlier pin had.
#[inline]
#[allow(ffi_unwind_calls, reason = "called inside a guard")]
pub unsafe fn read_recent_buffer(
    relation: pg_sys::Relation,
    block: u32,
    buffer: pg_sys::Buffer,
) -> bool {
    // SAFETY: the caller's contract; the function compares the buffer's tag before it trusts it.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        let file = (*relation).rd_locator;
        ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, block, buffer)
    }
}

/// The name of a relation's main file for the storage manager.
#[cfg(feature = "pg15")]
fn locator(file: FileId) -> pg_sys::RelFileNode {
    pg_sys::RelFileNode {
        spcNode: pg_sys::Oid::from(file.0),
        dbNode: pg_sys::Oid::from(file.1),
        relNode: pg_sys::Oid::from(file.2),
    }
}

/// The name of a relation's main file for the storage manager.
#[cfg(not(feature = "pg15"))]
fn locator(file: FileId) -> pg_sys::RelFileLocator {
    pg_sys::RelFileLocator {
        spcOid: pg_sys::Oid::from(file.0),
        dbOid: pg_sys::Oid::from(file.1),
        relNumber: pg_sys::Oid::from(file.2),
    }
}

/// Pins a page of a relation that need not be open.
///
/// # Safety
/// The relation is locked, not temporary, and has such a page.
pub unsafe fn read_uncached(
    file: FileId,
    is_permanent: bool,
    block: u32,
    strategy: pg_sys::BufferAccessStrategy,
) -> pg_sys::Buffer {
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::ReadBufferWithoutRelcache(
            locator(file),
            pg_sys::ForkNumber::MAIN_FORKNUM,
            block,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            strategy,
            is_permanent,
        )
    }
}

/// Closes the file of a relation that was read without being open.
///
/// # Safety
/// Nobody goes on with a storage-manager handle on it that was had before.
pub unsafe fn close(file: FileId) {
    /// InvalidBackendId, INVALID_PROC_NUMBER: not a temporary relation.
    const NO_BACKEND: i32 = -1;
    // SAFETY: the caller's contract.
    unsafe { pg_sys::smgrclose(pg_sys::smgropen(locator(file), NO_BACKEND)) };
}
