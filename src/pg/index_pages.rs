//! Pages of an index: read under a shared lock, changed by generic WAL records, made and given back.
//!
//! A change (access/generic_xlog.h) locks its pages exclusively, works on copies and is logged and put in place by
//! [`PageEdit::commit`]; without it nothing has happened. Order of locks is the caller's.

use super::heap::page::{PageSource, Pin};
use super::relation::Relation;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ops::Deref;

/// Bytes of a page.
pub const PAGE: usize = pg_sys::BLCKSZ as usize;

/// Functions of the server without pgrx's guard, for use inside a guarded closure only.
mod unguarded {
    use core::ffi::c_int;
    use pgrx::pg_sys::Buffer;

    unsafe extern "C-unwind" {
        pub(super) fn LockBuffer(buffer: Buffer, mode: c_int);
        pub(super) fn UnlockReleaseBuffer(buffer: Buffer);
    }
}

/// A page under a shared lock.
pub struct SharedPage {
    buffer: pg_sys::Buffer,
}

impl SharedPage {
    /// Pins and locks a page of an index. A block past the end raises PostgreSQL's error.
    pub fn read(relation: &Relation, block: u32) -> SharedPage {
        // SAFETY: the relation is open.
        let buffer = unsafe { pg_sys::ReadBuffer(relation.raw(), block) };
        SharedPage::lock(Pin(buffer))
    }

    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn lock(pin: Pin) -> SharedPage {
        let buffer = pin.0;
        std::mem::forget(pin); // the lock's drop gives back the pin too
        // SAFETY: the buffer is pinned.
        unsafe {
            pg_guard_ffi_boundary(|| {
                unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            });
        }
        SharedPage { buffer }
    }
}

impl Deref for SharedPage {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        page_bytes(self.buffer)
    }
}

impl Drop for SharedPage {
    #[expect(ffi_unwind_calls, reason = "the one call is inside the guard")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort lets go of lock and pin
        }
        // SAFETY: pinned and locked by the constructor, let go of once.
        unsafe { pg_guard_ffi_boundary(|| unguarded::UnlockReleaseBuffer(self.buffer)) };
    }
}

fn page_bytes<'a>(buffer: pg_sys::Buffer) -> &'a [u8] {
    // SAFETY: the caller's buffer is pinned for 'a; a page has BLCKSZ bytes, all initialised. While it is locked, shared or
    // exclusively by us, nobody writes to it but for hint bits, which index pages have none of.
    unsafe { std::slice::from_raw_parts(pg_sys::BufferGetPage(buffer).cast::<u8>(), PAGE) }
}

/// Reads many pages of an index one after the other, remembering where they were in shared buffers. One page is locked at a time.
pub struct PageReader<'r> {
    source: PageSource<'r>,
    /// The page that is locked; 0 if none is.
    buffer: pg_sys::Buffer,
}

impl<'r> PageReader<'r> {
    /// `blocks`: the pages of the file.
    pub fn new(relation: &'r Relation, blocks: u32) -> PageReader<'r> {
        PageReader {
            source: PageSource::new(relation, blocks),
            buffer: 0,
        }
    }

    /// Lets go of the page before, and pins and locks this one: under one guard, which is a good part of a page's price.
    #[inline]
    #[expect(ffi_unwind_calls, reason = "the calls are inside the guard")]
    pub fn turn_to(&mut self, block: u32) {
        let before = std::mem::take(&mut self.buffer);
        // SAFETY: the page before was pinned and locked here. The closure owns nothing that would have to be dropped, so that an
        // error may jump over it; then the transaction's abort lets go of what is pinned or locked.
        self.buffer = unsafe {
            pg_guard_ffi_boundary(|| {
                if before != 0 {
                    unguarded::UnlockReleaseBuffer(before);
                }
                let buffer = self.source.read_unguarded(block);
                unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                buffer
            })
        };
    }

    /// The page that is locked. Panics if none is.
    #[inline]
    pub fn page(&self) -> &[u8] {
        assert_ne!(self.buffer, 0, "a page is turned to");
        page_bytes(self.buffer)
    }

    /// Lets go of the page, before whatever takes time.
    pub fn let_go(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if buffer != 0 {
            // SAFETY: pinned and locked by `turn_to`, let go of once.
            unsafe { pg_sys::UnlockReleaseBuffer(buffer) };
        }
    }

    /// Has the processor fetch a page that will be read next, if it is known where it is.
    #[inline]
    pub fn prefetch(&self, block: u32) {
        self.source.prefetch(block);
    }
}

impl Drop for PageReader<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.let_go();
        }
    }
}

/// A page of a [`PageEdit`].
struct OpenPage {
    buffer: pg_sys::Buffer,
    /// The copy that is changed; null as long as it is only looked at.
    image: *mut u8,
    /// Its old contents do not matter.
    new: bool,
}

/// A change of at most four pages (MAX_GENERIC_XLOG_PAGES) in one WAL record.
pub struct PageEdit<'r> {
    relation: &'r Relation,
    state: *mut pg_sys::GenericXLogState,
    pages: Vec<OpenPage>,
}

impl<'r> PageEdit<'r> {
    /// Of no pages yet.
    pub fn new(relation: &'r Relation) -> PageEdit<'r> {
        PageEdit {
            relation,
            state: std::ptr::null_mut(),
            pages: Vec::with_capacity(pg_sys::MAX_GENERIC_XLOG_PAGES as usize),
        }
    }

    /// Locks a page exclusively and answers its place in this change.
    pub fn open(&mut self, block: u32) -> usize {
        // SAFETY: the relation is open.
        let buffer = unsafe {
            let buffer = pg_sys::ReadBuffer(self.relation.raw(), block);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            buffer
        };
        self.add(buffer, false)
    }

    /// A page nobody uses: one of the free space map that `is_free` says is free, or a new one. Its place and its block.
    pub fn create(&mut self, is_free: impl Fn(&[u8]) -> bool) -> (usize, u32) {
        let (buffer, block) = free_page(self.relation, is_free)
            .unwrap_or_else(|| new_page(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM));
        (self.add(buffer, true), block)
    }

    fn add(&mut self, buffer: pg_sys::Buffer, new: bool) -> usize {
        self.pages.push(OpenPage {
            buffer,
            image: std::ptr::null_mut(),
            new,
        });
        self.pages.len() - 1
    }

    /// A page as it stands in this change.
    pub fn bytes(&self, page: usize) -> &[u8] {
        let page = &self.pages[page];
        if page.image.is_null() {
            page_bytes(page.buffer)
        } else {
            // SAFETY: an image has BLCKSZ bytes and lives until the change ends; only `bytes_mut` writes to it.
            unsafe { std::slice::from_raw_parts(page.image, PAGE) }
        }
    }

    /// A page to be changed.
    pub fn bytes_mut(&mut self, page: usize) -> &mut [u8] {
        let page = &mut self.pages[page];
        // SAFETY: the relation is open; the buffer is pinned and locked exclusively, registered once, and at most four are, which
        // GenericXLogRegisterBuffer checks. The image has BLCKSZ bytes and is borrowed from self.
        unsafe {
            if self.state.is_null() {
                self.state = pg_sys::GenericXLogStart(self.relation.raw());
            }
            if page.image.is_null() {
                let flags = if page.new {
                    pg_sys::GENERIC_XLOG_FULL_IMAGE
                } else {
                    0
                };
                page.image =
                    pg_sys::GenericXLogRegisterBuffer(self.state, page.buffer, flags as i32).cast();
            }
            std::slice::from_raw_parts_mut(page.image, PAGE)
        }
    }

    /// Logs the changes and puts them in place, all or none.
    pub fn commit(mut self) {
        if !self.state.is_null() {
            // SAFETY: started by `bytes_mut`, finished once.
            unsafe { pg_sys::GenericXLogFinish(self.state) };
            self.state = std::ptr::null_mut();
        }
    }
}

impl Drop for PageEdit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort lets go of locks, pins and memory
        }
        // SAFETY: an unfinished change is dropped; buffers were pinned and locked by this change, and are let go of once.
        unsafe {
            if !self.state.is_null() {
                pg_sys::GenericXLogAbort(self.state);
            }
            for page in &self.pages {
                pg_sys::UnlockReleaseBuffer(page.buffer);
            }
        }
    }
}

/// A free page, locked. The free space map is a hint: a page another took first is passed over.
fn free_page(
    relation: &Relation,
    is_free: impl Fn(&[u8]) -> bool,
) -> Option<(pg_sys::Buffer, u32)> {
    loop {
        // SAFETY: the relation is open; a block of the map lies within the file, or was cut off by a crash: then reading it is
        // an error, which VACUUM of the map mends. A lock that is not free at once belongs to another user of the page.
        unsafe {
            let block = pg_sys::GetFreeIndexPage(relation.raw());
            if block == pg_sys::InvalidBlockNumber {
                return None;
            }
            if block >= relation.blocks() {
                continue;
            }
            let buffer = pg_sys::ReadBuffer(relation.raw(), block);
            if pg_sys::ConditionalLockBuffer(buffer) {
                if is_free(page_bytes(buffer)) {
                    return Some((buffer, block));
                }
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            }
            pg_sys::ReleaseBuffer(buffer);
        }
    }
}

/// A page added to the file, zeroed and locked.
fn new_page(relation: &Relation, fork: pg_sys::ForkNumber::Type) -> (pg_sys::Buffer, u32) {
    let lock = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open. The extension lock is held over the extension alone, as in nbtree's _bt_getbuf before 16;
    // later versions still take P_NEW.
    unsafe {
        pg_sys::LockRelationForExtension(relation.raw(), lock);
        let buffer = pg_sys::ReadBufferExtended(
            relation.raw(),
            fork,
            pg_sys::InvalidBlockNumber, // P_NEW
            pg_sys::ReadBufferMode::RBM_ZERO_AND_LOCK,
            std::ptr::null_mut(),
        );
        pg_sys::UnlockRelationForExtension(relation.raw(), lock);
        (buffer, pg_sys::BufferGetBlockNumber(buffer))
    }
}

/// Notes in the free space map that a page may be used again.
pub fn recycle(relation: &Relation, block: u32) {
    // SAFETY: the relation is open.
    unsafe { pg_sys::RecordFreeIndexPage(relation.raw(), block) };
}

/// Writes the one page of an empty index to an unlogged index's init fork, which a restart copies over the main fork.
pub fn write_init_fork(relation: &Relation, image: &[u8]) {
    assert_eq!(image.len(), PAGE, "a page");
    let (buffer, _) = new_page(relation, pg_sys::ForkNumber::INIT_FORKNUM);
    // SAFETY: the buffer is pinned, locked and of BLCKSZ bytes. No error may be raised between change and log: nothing here but
    // log_newpage_buffer could, and its are PANICs by the critical section, as in btbuildempty. Init forks are always logged.
    unsafe {
        pg_sys::CritSectionCount += 1;
        std::ptr::copy_nonoverlapping(
            image.as_ptr(),
            pg_sys::BufferGetPage(buffer).cast::<u8>(),
            PAGE,
        );
        pg_sys::MarkBufferDirty(buffer);
        pg_sys::log_newpage_buffer(buffer, true);
        pg_sys::CritSectionCount -= 1;
        pg_sys::UnlockReleaseBuffer(buffer);
    }
}

/// Whether [`check_for_interrupts`] would do anything.
#[inline]
pub fn is_interrupt_pending() -> bool {
    // SAFETY: reads a flag that signal handlers set.
    unsafe { (&raw const pg_sys::InterruptPending).read_volatile() != 0 }
}

/// A place at which a statement is cancelled.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}
