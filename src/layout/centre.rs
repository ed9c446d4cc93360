//! The elements of a centre, or of many, over a chain of pages: `f32` after `f32`, as many as a page takes.
#![forbid(unsafe_code)]

use super::corrupted;
use super::page::{Kind, area, set_special, set_used, special};
use crate::error::Error;

/// Elements a page takes.
#[must_use]
pub fn per_page() -> usize {
    area(Kind::Centre).len() / size_of::<f32>()
}

/// Writes elements to a centre page, the first as number `from` of the page's. They follow those that are there, or take their place.
pub fn write(page: &mut [u8], from: usize, elements: &[f32]) -> Result<(), Error> {
    let start = area(Kind::Centre).start;
    let mut head = special(page)?;
    let end = from + elements.len();
    if from > usize::from(head.rows) || end > per_page() {
        return Err(corrupted(format!(
            "elements {from} to {end} of a centre page"
        )));
    }
    for (at, element) in elements.iter().enumerate() {
        let at = start + (from + at) * size_of::<f32>();
        page[at..at + size_of::<f32>()].copy_from_slice(&element.to_ne_bytes());
    }
    head.rows = head.rows.max(end as u16);
    set_special(page, &head);
    set_used(page, start + usize::from(head.rows) * size_of::<f32>());
    Ok(())
}

/// Appends the elements of a centre page.
pub fn read(page: &[u8], elements: &mut Vec<f32>) -> Result<(), Error> {
    let head = special(page)?;
    let kind = head.kind()?;
    let count = usize::from(head.rows);
    if kind != Kind::Centre || count > per_page() {
        return Err(corrupted(format!(
            "page of kind {kind:?} with {count} elements in a centre"
        )));
    }
    let start = area(Kind::Centre).start;
    let bytes = &page[start..start + count * size_of::<f32>()];
    elements.extend(
        bytes
            .chunks_exact(size_of::<f32>())
            .map(|chunk| f32::from_ne_bytes(chunk.try_into().unwrap_or_default())),
    );
    Ok(())
}
