//! Places of rows in the order of their ids, on disk where `work_mem` has no room for them (utils/sort/tuplesort.c).

use super::compat;
use super::heap::Tid;
use super::varlena::{HEADER, NewVarlena, plain_bytes};
use pgrx::pg_sys;

/// Of a place behind its id: block and offset.
const PLACE: usize = size_of::<u32>() + size_of::<u16>();

/// Rows to be sorted. What it takes is in the memory context it was begun in; files go with the transaction's resources.
pub struct IdSort {
    state: *mut pg_sys::Tuplesortstate,
}

impl IdSort {
    /// None yet.
    pub fn begin() -> Self {
        // SAFETY: bytea has an operator class for its `<`; `work_mem` is a setting.
        let state = unsafe {
            pg_sys::tuplesort_begin_datum(
                pg_sys::BYTEAOID,
                pg_sys::Oid::from(pg_sys::ByteaLessOperator),
                pg_sys::InvalidOid,
                false,
                pg_sys::work_mem,
                std::ptr::null_mut(),
                pg_sys::TUPLESORT_NONE as core::ffi::c_int,
            )
        };
        Self { state }
    }

    /// Adds one. Text has no byte 0, so that one behind the id puts an id before those that it begins.
    pub fn put(&mut self, id: &str, place: Tid) {
        let mut key = NewVarlena::zeroed(HEADER + id.len() + 1 + PLACE);
        let (name, behind) = key.bytes_mut()[HEADER..].split_at_mut(id.len());
        name.copy_from_slice(id.as_bytes());
        behind[1..5].copy_from_slice(&place.block.to_be_bytes());
        behind[5..].copy_from_slice(&place.offset.to_be_bytes());
        // SAFETY: the sort copies the datum, which is ours to free.
        unsafe {
            let datum = key.into_datum();
            pg_sys::tuplesort_putdatum(self.state, datum, false);
            pg_sys::pfree(datum.cast_mut_ptr());
        }
    }

    /// Shows each place, in the order of ids.
    pub fn each<E>(self, mut show: impl FnMut(Tid) -> Result<(), E>) -> Result<(), E> {
        // SAFETY: begun by `begin`, and not sorted yet.
        unsafe { pg_sys::tuplesort_performsort(self.state) };
        loop {
            pgrx::check_for_interrupts!();
            // SAFETY: sorted above; the datum is one of `put`, and ours to free.
            let place = unsafe {
                let Some(datum) = compat::next_sorted_datum(self.state) else {
                    break;
                };
                let place = place_behind(plain_bytes(datum));
                pg_sys::pfree(datum.cast_mut_ptr());
                place
            };
            show(place)?;
        }
        // SAFETY: nobody has anything of it any more.
        unsafe { pg_sys::tuplesort_end(self.state) };
        Ok(())
    }
}

fn place_behind(key: &[u8]) -> Tid {
    let &[.., b0, b1, b2, b3, o0, o1] = key else {
        unreachable!("a key ends with a place")
    };
    Tid {
        block: u32::from_be_bytes([b0, b1, b2, b3]),
        offset: u16::from_be_bytes([o0, o1]),
    }
}
