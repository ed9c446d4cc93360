//! A leaf's columns, and reading a record out of its row's bytes.

use super::column::{Detoasted, with_elements};
use super::relation::{LockMode, Oid, Relation};
use super::tuple::{Attribute, HOFF, INFOMASK, INFOMASK2, NULL_BITMAP, TupleLayout, payload};
use super::vector_datum;
use crate::error::Error;
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ffi::CStr;

/// Attribute numbers of a leaf's columns, in the order every index creates them.
pub const NAMESPACE: i16 = 1;
pub const ID: i16 = 2;
pub const VALUES: i16 = 3;
pub const METADATA: i16 = 4;
/// How many they are.
pub const COLUMNS: i16 = 4;

const NAMES: [&CStr; COLUMNS as usize] = [c"namespace", c"id", c"values", c"metadata"];

/// Is the table made as leaves are, so that its rows may be read and written by their bytes: a heap with the columns at
/// their places and of their types? Others may follow. An owner can ALTER any of it.
pub fn is_leaf(relation: &Relation) -> bool {
    let types = [
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        vector_datum::type_oid(),
        pg_sys::JSONBOID,
    ];
    let fits = |number: i16| {
        let attribute = relation.attribute(number);
        let at = number as usize - 1;
        // SAFETY: a syscache lookup of an attribute's type; domains answer the type they are over.
        let base = unsafe { pg_sys::getBaseType(attribute.atttypid) };
        let collates =
            base != pg_sys::TEXTOID || attribute.attcollation == Oid::from(pg_sys::C_COLLATION_OID);
        relation.column(NAMES[at]) == Some(number) && base == types[at] && collates
    };
    relation.is_heap() && relation.column_count() >= COLUMNS && (1..=COLUMNS).all(fits)
}

/// Is the key a text in ascending C order?
///
/// # Safety
/// `index` must be an open index with more than `key` key columns.
unsafe fn is_plain_text_key(index: pg_sys::Relation, key: usize) -> bool {
    // SAFETY: the caller's contract; these arrays have an element for each key column.
    unsafe {
        *(*index).rd_opcintype.add(key) == pg_sys::TEXTOID
            && *(*index).rd_indcollation.add(key) == Oid::from(pg_sys::C_COLLATION_OID)
            && *(*index).rd_indoption.add(key) == 0
    }
}

/// The unique index on exactly (namespace, id) of a leaf, if it is there.
pub fn id_index(relation: &Relation) -> Option<Oid> {
    // SAFETY: the list is ours to read; each index is opened before its pg_index row is looked at.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation.raw());
        let count = if list.is_null() {
            0
        } else {
            (*list).length as usize
        };
        (0..count)
            .map(|index| (*(*list).elements.add(index)).oid_value)
            .find(|&oid| {
                let index = pg_sys::index_open(oid, LockMode::AccessShare.raw());
                let form = &*(*index).rd_index;
                let keys = form.indkey.values.as_slice(2);
                let fits = form.indisunique
                    && form.indisvalid
                    && form.indimmediate
                    && form.indnatts == 2
                    && keys == [NAMESPACE, ID]
                    && (0..2).all(|key| is_plain_text_key(index, key))
                    && (*index).rd_indexprs.is_null()
                    && (*index).rd_indpred.is_null();
                pg_sys::index_close(index, LockMode::AccessShare.raw());
                fits
            })
    }
}

/// More records with a vector than this the pages of a leaf cannot hold.
pub fn most_records(relation: &Relation, dimension: usize) -> u64 {
    /// A row's header, the shortest namespace, id and length of a vector, and the line pointer.
    const LEAST: usize = 24 + 1 + 2 + 4 + size_of::<pg_sys::ItemIdData>();
    /// A vector in the TOAST table, or compressed.
    const LEAST_ELSEWHERE: usize = 18;
    /// Below this the vector fits a page beside the longest namespace and id, and MAIN keeps it in the row as it is.
    const SURELY_INLINE: usize = 6800;
    let bytes = 4 * dimension;
    let is_main = relation.attribute(VALUES).attstorage as u8 == pg_sys::TYPSTORAGE_MAIN;
    let vector = if is_main && bytes < SURELY_INLINE {
        bytes
    } else {
        bytes.min(LEAST_ELSEWHERE)
    };
    u64::from(relation.blocks()) * (pg_sys::BLCKSZ as usize / (LEAST + vector)) as u64
}

/// Reads records out of the rows of one leaf.
pub struct RecordReader {
    layout: TupleLayout,
}

/// A record as it lies in its row.
pub struct StoredRecord<'a> {
    /// Borrowed from the row, but for a long id of a row that was too large for its page: then PostgreSQL compressed it.
    pub id: Cow<'a, str>,
    values: Attribute<'a>,
    metadata: Attribute<'a>,
}

impl RecordReader {
    pub fn new(relation: &Relation) -> RecordReader {
        RecordReader {
            layout: TupleLayout::new(relation, COLUMNS),
        }
    }

    /// The parts of a row; vector and metadata are not detoasted yet.
    #[inline]
    pub fn read<'a>(&self, tuple: &'a [u8]) -> Result<StoredRecord<'a>, Error> {
        let [id, values, metadata] = self.layout.read(tuple, [ID, VALUES, METADATA])?;
        let not_utf8 = |_| corrupted("an id that is not UTF-8");
        let id = match id {
            Attribute::Null => return Err(corrupted("an id that is null")),
            Attribute::Inline(id) => {
                Cow::Borrowed(std::str::from_utf8(payload(id)).map_err(not_utf8)?)
            }
            Attribute::Toasted(id) => {
                let id = Detoasted::new(id);
                Cow::Owned(std::str::from_utf8(id.payload()).map_err(not_utf8)?.into())
            }
        };
        Ok(StoredRecord {
            id,
            values,
            metadata,
        })
    }

    /// Only the vector of a row: the hot path of a scan.
    #[inline(always)]
    pub fn with_values<T>(
        &self,
        tuple: &[u8],
        scratch: &mut Vec<f32>,
        use_elements: impl FnOnce(&[f32]) -> T,
    ) -> Result<Option<T>, Error> {
        if let Some(elements) = plain_values(tuple) {
            return Ok(Some(use_elements(elements)));
        }
        let [values] = self.layout.read(tuple, [VALUES])?;
        with_elements(values, scratch, use_elements)
    }
}

/// The vector of a row as nearly all rows are: short namespace and id, none of the three null, the vector inline behind
/// a four-byte header. None where anything is otherwise. A third of the general walk's time, which was a quarter of a
/// scan's over rows of 384 dimensions.
#[inline(always)]
fn plain_values(tuple: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    let header = tuple.first_chunk::<{ NULL_BITMAP + 1 }>()?;
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let columns = u32::from(word(INFOMASK2)) & pg_sys::HEAP_NATTS_MASK;
    let has_nulls = u32::from(word(INFOMASK)) & pg_sys::HEAP_HASNULL != 0;
    if columns < VALUES as u32 || (has_nulls && header[NULL_BITMAP] & 0b111 != 0b111) {
        return None;
    }
    let mut at = header[HOFF] as usize;
    for _ in NAMESPACE..=ID {
        // An odd byte is a short value's header and tells its size; 1 announces a value stored elsewhere.
        let first = *tuple.get(at)?;
        if first & 1 == 0 || first == 1 {
            return None;
        }
        at += usize::from(first >> 1);
    }
    if !at.is_multiple_of(4) {
        if *tuple.get(at)? != 0 {
            return None; // not padding: a short header
        }
        at = at.next_multiple_of(4);
    }
    let start = tuple.get(at..)?;
    let size = u32::from_ne_bytes(*start.first_chunk()?);
    if size & 3 != 0 {
        return None; // short, compressed or stored elsewhere
    }
    vector_datum::elements_of_plain(start.get(..(size >> 2) as usize)?).ok()
}

impl StoredRecord<'_> {
    /// The vector's elements; None for a null.
    pub fn with_values<T>(
        &self,
        use_elements: impl FnOnce(&[f32]) -> T,
    ) -> Result<Option<T>, Error> {
        with_elements(self.values, &mut Vec::new(), use_elements)
    }

    /// The bytes of the metadata behind the jsonb header; None for a null.
    pub fn with_metadata<T>(&self, use_payload: impl FnOnce(Option<&[u8]>) -> T) -> T {
        match self.metadata {
            Attribute::Null => use_payload(None),
            Attribute::Inline(bytes) => {
                // A jsonb container is read as 4-byte words from its start: a short header leaves it unaligned, which
                // the reader of crate::record::jsonb does not mind.
                use_payload(Some(payload(bytes)))
            }
            Attribute::Toasted(bytes) => use_payload(Some(Detoasted::new(bytes).payload())),
        }
    }
}

#[cold]
fn corrupted(what: &str) -> Error {
    Error::Corrupted { what: what.into() }
}
