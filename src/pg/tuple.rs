//! Columns read straight from the bytes of a stored heap tuple (access/htup_details.h), without forming a slot.

use super::relation::Relation;
use super::varlena::{HEADER, Header};
use crate::error::Error;
use pgrx::pg_sys;

/// Places in a tuple's header (HeapTupleHeaderData).
pub(super) const INFOMASK2: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_infomask2);
pub(super) const INFOMASK: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_infomask);
pub(super) const HOFF: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_hoff);
pub(super) const NULL_BITMAP: usize = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_bits);

/// A column's value as it lies in the tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    Null,
    /// A varlena kept in the row, header included: 1-byte or 4-byte uncompressed.
    Inline(&'a [u8]),
    /// A varlena that must be detoasted: compressed, or a pointer to the TOAST table.
    Toasted(&'a [u8]),
}

/// How to step over one column.
#[derive(Clone, Copy)]
struct Step {
    length: i16,
    align: usize,
}

/// How to find some columns of a relation's tuples: built once per scan.
pub struct TupleLayout {
    steps: Vec<Step>,
}

impl TupleLayout {
    /// Knows the columns 1 … `last`.
    pub fn new(relation: &Relation, last: i16) -> TupleLayout {
        let steps = (1..=last)
            .map(|number| {
                let attribute = relation.attribute(number);
                Step {
                    length: attribute.attlen,
                    align: match attribute.attalign as u8 {
                        b'd' => 8,
                        b'i' => 4,
                        b's' => 2,
                        _ => 1,
                    },
                }
            })
            .collect();
        TupleLayout { steps }
    }

    /// The varlena columns `wanted` (attribute numbers, ascending) of one tuple.
    #[inline(always)]
    pub fn read<'a, const N: usize>(
        &self,
        tuple: &'a [u8],
        wanted: [i16; N],
    ) -> Result<[Attribute<'a>; N], Error> {
        let mut found = [Attribute::Null; N];
        let header = |offset: usize| {
            Some(u16::from_ne_bytes([
                *tuple.get(offset)?,
                *tuple.get(offset + 1)?,
            ]))
        };
        let (Some(infomask2), Some(infomask), Some(&hoff)) =
            (header(INFOMASK2), header(INFOMASK), tuple.get(HOFF))
        else {
            return Err(corrupted());
        };
        let stored = (infomask2 as u32 & pg_sys::HEAP_NATTS_MASK) as usize;
        let has_nulls = infomask as u32 & pg_sys::HEAP_HASNULL != 0;
        let mut offset = hoff as usize;
        let mut next = 0;
        for (index, step) in self.steps.iter().enumerate() {
            if next == N || index >= stored {
                break; // columns added after the row was written are NULL: ours have no default
            }
            let is_wanted = wanted[next] as usize == index + 1;
            if has_nulls && is_null(tuple, index)? {
                next += usize::from(is_wanted);
                continue;
            }
            let (value, end) = step.value(tuple, offset)?;
            if is_wanted {
                found[next] = value;
                next += 1;
            }
            offset = end;
        }
        Ok(found)
    }
}

impl Step {
    /// The value at `offset` before alignment, and where it ends.
    #[inline(always)]
    fn value<'a>(&self, tuple: &'a [u8], offset: usize) -> Result<(Attribute<'a>, usize), Error> {
        if self.length > 0 {
            let start = align(offset, self.align);
            let end = start + self.length as usize;
            let bytes = tuple.get(start..end).ok_or_else(corrupted)?;
            return Ok((Attribute::Inline(bytes), end));
        }
        if self.length != -1 {
            return Err(corrupted()); // cstring columns cannot be declared
        }
        // A short header is not aligned; a pad byte before an aligned one is zero (att_align_pointer).
        let start = match tuple.get(offset) {
            Some(0) => align(offset, self.align),
            Some(_) => offset,
            None => return Err(corrupted()),
        };
        let rest = tuple.get(start..).ok_or_else(corrupted)?;
        let (size, inline) = varlena_size(rest)?;
        let bytes = rest.get(..size).ok_or_else(corrupted)?;
        let value = if inline {
            Attribute::Inline(bytes)
        } else {
            Attribute::Toasted(bytes)
        };
        Ok((value, start + size))
    }
}

/// Size of the varlena at the front of `bytes`, and whether its data is here uncompressed (varatt.h).
#[inline(always)]
fn varlena_size(bytes: &[u8]) -> Result<(usize, bool), Error> {
    match Header::read(bytes) {
        Some(Header::Plain(size) | Header::Short(size)) if size > 0 => Ok((size, true)),
        Some(Header::Toasted) => toasted_size(bytes).map(|size| (size, false)),
        _ => Err(corrupted()),
    }
}

/// Bytes a compressed value or a pointer to the TOAST table takes in the tuple.
fn toasted_size(bytes: &[u8]) -> Result<usize, Error> {
    if let [0x01 | 0x80, tag, ..] = *bytes {
        // Only on-disk pointers are ever stored.
        return if u32::from(tag) == pg_sys::vartag_external::VARTAG_ONDISK {
            Ok(pg_sys::VARHDRSZ_EXTERNAL + size_of::<pg_sys::varatt_external>())
        } else {
            Err(corrupted())
        };
    }
    let word = u32::from_ne_bytes(*bytes.first_chunk().ok_or_else(corrupted)?);
    let size = if cfg!(target_endian = "little") {
        word >> 2
    } else {
        word & 0x3fff_ffff
    };
    Ok(size as usize)
}

/// The bytes behind an inline varlena's header.
#[inline]
pub fn payload(inline: &[u8]) -> &[u8] {
    let header = match Header::read(inline) {
        Some(Header::Short(_)) => 1,
        _ => HEADER,
    };
    inline.get(header..).unwrap_or_default()
}

fn is_null(tuple: &[u8], index: usize) -> Result<bool, Error> {
    let byte = tuple.get(NULL_BITMAP + index / 8).ok_or_else(corrupted)?;
    Ok(byte & (1 << (index % 8)) == 0)
}

fn align(offset: usize, to: usize) -> usize {
    offset.next_multiple_of(to)
}

#[cold]
fn corrupted() -> Error {
    Error::Corrupted {
        what: "a heap tuple ends before its columns do".into(),
    }
}
