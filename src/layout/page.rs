//! One page as bytes: PostgreSQL's header, the area between, and the special area that says what the page is.
//!
//! ```text
//! 0         24                                                       8168      8192
//! | header  | area: [meta body, on block 0]  entries or floats        | special |
//! ```
#![forbid(unsafe_code)]

use super::meta::META_BODY;
use super::{FORMAT, NO_BLOCK, PAGE, corrupted};
use crate::error::Error;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// PostgreSQL's page header (SizeOfPageHeaderData); `pg::buffer` asserts it and the offsets below.
pub const HEADER: usize = 24;
const PD_LOWER: usize = 12;
pub const PD_UPPER: usize = 14;
const PD_SPECIAL: usize = 16;
const PD_PAGESIZE_VERSION: usize = 18;
/// PG_PAGE_LAYOUT_VERSION of PostgreSQL 8.3 and later.
const PAGE_VERSION: u16 = 4;

/// Marks a page as one of ours.
const MAGIC: u32 = 0x4e46_4943; // "CIFN"

/// What a page holds. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Block 0: the meta body, and the first entries of a small list.
    Meta = 1,
    /// Entries of a list.
    List = 2,
    /// A centre's elements.
    Centre = 3,
    /// Belongs to nothing; to be used again.
    Free = 4,
    /// Entries of a tree's directory.
    Directory = 5,
}

impl TryFrom<u8> for Kind {
    type Error = Error;

    fn try_from(kind: u8) -> Result<Self, Error> {
        Ok(match kind {
            1 => Self::Meta,
            2 => Self::List,
            3 => Self::Centre,
            4 => Self::Free,
            5 => Self::Directory,
            other => return Err(corrupted(format!("page of unknown kind {other}"))),
        })
    }
}

/// The last bytes of every page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Special {
    /// The next page of the chain, or [`NO_BLOCK`].
    pub next: u32,
    /// Number of the list the page belongs to; 0 in a flat index.
    pub list: u32,
    /// The list's generation when the page became part of it.
    pub generation: u32,
    /// Packed blocks of 32 entries at the area's start.
    pub blocks: u16,
    /// Entries in row form behind them; of a centre page, bytes; of a directory page, slots.
    pub rows: u16,
    /// Removed entries among both.
    pub dead: u16,
    kind: u8,
    format: u8,
    magic: u32,
}

/// Where the special area begins.
pub const SPECIAL: usize = PAGE - size_of::<Special>();

const _: () = {
    assert!(size_of::<Special>() == 24);
    assert!(SPECIAL.is_multiple_of(8)); // MAXALIGN, as PageInit wants it
};

impl Special {
    /// What the page is.
    pub fn kind(&self) -> Result<Kind, Error> {
        if self.magic != MAGIC {
            return Err(corrupted("page that is not of a conifer index"));
        }
        if self.format != FORMAT {
            return Err(Error::UnknownFormat {
                found: self.format.into(),
                known: FORMAT.into(),
            });
        }
        Kind::try_from(self.kind)
    }

    /// The page belongs to that list, as it is since that generation.
    #[must_use]
    pub fn is_of(&self, list: u32, generation: u32) -> bool {
        self.list == list && self.generation == generation
    }
}

/// The special area of a page; of a page that was never written, an error says so.
pub fn special(page: &[u8]) -> Result<Special, Error> {
    page.get(SPECIAL..PAGE)
        .and_then(|bytes| Special::read_from_bytes(bytes).ok())
        .ok_or_else(|| corrupted("page that is shorter than a page"))
}

/// Writes the special area back.
pub fn set_special(page: &mut [u8], special: &Special) {
    page[SPECIAL..PAGE].copy_from_slice(special.as_bytes());
}

/// Whether the page was added to the file and never written: left by a crash, and free.
#[must_use]
pub fn is_new(page: &[u8]) -> bool {
    read_u16(page, PD_UPPER) == 0 // PageIsNew
}

/// Whether nobody uses the page: it was made a free one, or was never written.
#[must_use]
pub fn is_free(page: &[u8]) -> bool {
    let kind = |head: Special| head.kind();
    is_new(page)
        || special(page)
            .and_then(kind)
            .is_ok_and(|kind| kind == Kind::Free)
}

/// Makes a page an empty one of that kind, as PageInit lays it out.
pub fn init(page: &mut [u8], kind: Kind, list: u32, generation: u32) {
    page.fill(0);
    write_u16(page, PD_SPECIAL, SPECIAL as u16);
    write_u16(page, PD_UPPER, SPECIAL as u16);
    write_u16(page, PD_PAGESIZE_VERSION, PAGE as u16 | PAGE_VERSION);
    let special = Special {
        next: NO_BLOCK,
        list,
        generation,
        blocks: 0,
        rows: 0,
        dead: 0,
        kind: kind as u8,
        format: FORMAT,
        magic: MAGIC,
    };
    set_special(page, &special);
    set_used(page, area(kind).start);
}

/// The bytes of a page of that kind that hold entries or floats.
#[must_use]
pub fn area(kind: Kind) -> Range<usize> {
    let start = match kind {
        Kind::Meta => HEADER + META_BODY,
        Kind::List | Kind::Centre | Kind::Free | Kind::Directory => HEADER,
    };
    start..SPECIAL
}

/// Finds the header to say that the page's used bytes end there, and the special area to be where it is. Whatever of a page PostgreSQL takes
/// for its hole it does not log, and writes zeros to when the page is changed.
pub fn check_used(page: &[u8], end: usize) -> Result<(), Error> {
    let header = [PD_LOWER, PD_UPPER, PD_SPECIAL].map(|at| usize::from(read_u16(page, at)));
    if header != [end, SPECIAL, SPECIAL] {
        return Err(corrupted(format!(
            "page with its end, and its special area, at {header:?}, not {end} and {SPECIAL}"
        )));
    }
    Ok(())
}

/// Tells PostgreSQL where the page's used bytes end: what lies between there and the special area is a hole, which its
/// WAL leaves out.
pub fn set_used(page: &mut [u8], end: usize) {
    debug_assert!((HEADER..=SPECIAL).contains(&end));
    write_u16(page, PD_LOWER, end as u16);
}

fn read_u16(page: &[u8], at: usize) -> u16 {
    page.get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

fn write_u16(page: &mut [u8], at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_page_is_these_bytes() {
        let mut page = vec![0xff; PAGE];
        init(&mut page, Kind::List, 7, 3);
        assert_eq!(page[..12], [0; 12]);
        assert_eq!(page[12..20], [24, 0, 0xe8, 0x1f, 0xe8, 0x1f, 4, 0x20]);
        assert!(page[20..SPECIAL].iter().all(|&byte| byte == 0));
        assert_eq!(
            page[SPECIAL..],
            [
                0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0x43, 0x49,
                0x46, 0x4e
            ]
        );
        assert_eq!(special(&page).unwrap().kind().unwrap(), Kind::List);
        assert!(!is_new(&page));
    }

    #[test]
    fn pages_of_others_are_told() {
        let page = vec![0; PAGE];
        assert!(is_new(&page));
        assert!(special(&page).unwrap().kind().is_err());
        assert!(special(&page[..100]).is_err());
        let mut page = vec![0; PAGE];
        init(&mut page, Kind::Free, 0, 0);
        page[PAGE - 5] = FORMAT + 1;
        let error = special(&page).unwrap().kind().unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
    }
}
