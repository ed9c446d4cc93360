//! Bitmap scans of an index, and what they found: 17 and earlier hand out a page's offsets, 18 has them extracted.

use pgrx::pg_sys;

/// Begins a bitmap scan for one key.
///
/// # Safety
/// The index must be open and locked, the snapshot registered or active for the scan's life.
pub unsafe fn begin_scan(
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
) -> pg_sys::IndexScanDesc {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's contract.
    unsafe {
        pg_sys::index_beginscan_bitmap(index, snapshot, 1)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's contract; no instrumentation is asked for.
    unsafe {
        pg_sys::index_beginscan_bitmap(index, snapshot, std::ptr::null_mut(), 1)
    }
}

/// Block and offset of every tuple, ascending; false if of a block only is known that it has some.
///
/// # Safety
/// `bitmap` is one that no iteration is under way of.
#[cfg(not(feature = "pg18"))]
pub unsafe fn each_tuple(bitmap: *mut pg_sys::TIDBitmap, each: &mut dyn FnMut(u32, u16)) -> bool {
    // SAFETY: the caller's contract; a result has as many offsets as it says, none if it is of a whole block.
    unsafe {
        let iterator = pg_sys::tbm_begin_iterate(bitmap);
        let mut exact = true;
        loop {
            let found = pg_sys::tbm_iterate(iterator);
            if found.is_null() {
                break;
            }
            let Ok(count) = usize::try_from((*found).ntuples) else {
                exact = false;
                break;
            };
            for &offset in (*found).offsets.as_slice(count) {
                each((*found).blockno, offset);
            }
        }
        pg_sys::tbm_end_iterate(iterator);
        exact
    }
}

/// Block and offset of every tuple, ascending; false if of a block only is known that it has some.
///
/// # Safety
/// `bitmap` is one that no iteration is under way of.
#[cfg(feature = "pg18")]
pub unsafe fn each_tuple(bitmap: *mut pg_sys::TIDBitmap, each: &mut dyn FnMut(u32, u16)) -> bool {
    // MaxHeapTuplesPerPage, a macro: a tuple takes an aligned header of 24 bytes and a line pointer of 4 at least.
    let mut offsets = [0; pg_sys::BLCKSZ as usize / 28];
    // SAFETY: the caller's contract; no more offsets are written than there is room for.
    unsafe {
        let iterator = pg_sys::tbm_begin_private_iterate(bitmap);
        let mut found = pg_sys::TBMIterateResult::default();
        let mut exact = true;
        while pg_sys::tbm_private_iterate(iterator, &raw mut found) {
            if found.lossy {
                exact = false;
                break;
            }
            let room = offsets.len() as u32;
            let count = pg_sys::tbm_extract_page_tuple(&raw mut found, offsets.as_mut_ptr(), room);
            let count = usize::try_from(count).unwrap_or(0).min(offsets.len());
            for &offset in &offsets[..count] {
                each(found.blockno, offset);
            }
        }
        pg_sys::tbm_end_private_iterate(iterator);
        exact
    }
}
