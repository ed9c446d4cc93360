//! PostgreSQL's `List` of nodes or OIDs.

use pgrx::pg_sys;

/// The members, in order. An empty list is a null pointer.
///
/// # Safety
/// `list` is null or a live `List` whose members are pointers to `T`, and stays so while they are looked at.
pub unsafe fn members<T>(list: *const pg_sys::List) -> impl ExactSizeIterator<Item = *mut T> {
    // SAFETY: live by the caller's promise; `length` members lie at `elements`.
    let (length, first) = unsafe {
        if list.is_null() {
            (0, core::ptr::null())
        } else {
            ((*list).length, (*list).elements.cast_const())
        }
    };
    (0..usize::try_from(length).unwrap_or(0)).map(move |position| {
        // SAFETY: the position is below the length; members of a list of pointers are pointers.
        unsafe { (*first.add(position)).ptr_value.cast() }
    })
}

/// The member at `position`, if there is one.
///
/// # Safety
/// As for [`members`].
pub unsafe fn member<T>(list: *const pg_sys::List, position: usize) -> Option<*mut T> {
    // SAFETY: by the caller's promise.
    unsafe { members(list) }.nth(position)
}

/// The first OID, if there is one.
///
/// # Safety
/// `list` is null or a live `List` of OIDs.
pub unsafe fn first_oid(list: *const pg_sys::List) -> Option<pg_sys::Oid> {
    // SAFETY: live by the caller's promise; a list is never empty, and its members lie at `elements`.
    unsafe { (!list.is_null()).then(|| (*(*list).elements).oid_value) }
}

/// Adds a member, making a list of one from none.
///
/// # Safety
/// `list` is null or a live `List` of pointers; what is returned takes its place.
pub unsafe fn append<T>(list: *mut pg_sys::List, member: *mut T) -> *mut pg_sys::List {
    // SAFETY: by the caller's promise.
    unsafe { pg_sys::lappend(list, member.cast()) }
}
