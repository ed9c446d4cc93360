//! The bytes of a centre, or of a tree's centroids, over a chain of pages: as many as a page takes, then the next.
#![forbid(unsafe_code)]

use super::corrupted;
use super::page::{Kind, area, check_used, set_special, set_used, special};
use crate::error::Error;

/// Bytes a page takes.
#[must_use]
pub fn per_page() -> usize {
    area(Kind::Centre).len()
}

/// Writes bytes to a centre page, the first as number `from` of the page's. They follow those that are there, or take their place.
pub fn write(page: &mut [u8], from: usize, bytes: &[u8]) -> Result<(), Error> {
    let start = area(Kind::Centre).start;
    let mut head = special(page)?;
    let end = from + bytes.len();
    if from > usize::from(head.rows) || end > per_page() {
        return Err(corrupted(format!("bytes {from} to {end} of a centre page")));
    }
    page[start + from..start + end].copy_from_slice(bytes);
    head.rows = head.rows.max(end as u16);
    set_special(page, &head);
    set_used(page, start + usize::from(head.rows));
    Ok(())
}

/// The bytes of a centre page.
pub fn read(page: &[u8]) -> Result<&[u8], Error> {
    let head = special(page)?;
    let kind = head.kind()?;
    let count = usize::from(head.rows);
    if kind != Kind::Centre || count > per_page() {
        return Err(corrupted(format!(
            "page of kind {kind:?} with {count} bytes in a centre"
        )));
    }
    let start = area(Kind::Centre).start;
    check_used(page, start + count)?;
    Ok(&page[start..start + count])
}

/// Elements as the bytes they are kept as.
pub fn to_bytes(elements: &[f32]) -> Vec<u8> {
    elements
        .iter()
        .flat_map(|element| element.to_ne_bytes())
        .collect()
}

/// The elements that these bytes are.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks();
    elements
        .iter()
        .map(|bytes| f32::from_ne_bytes(*bytes))
        .collect()
}
