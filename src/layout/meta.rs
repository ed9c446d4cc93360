//! The meta body: what block 0 says of the index.
#![forbid(unsafe_code)]

use super::page::{HEADER, Kind, init, special};
use super::{NO_BLOCK, corrupted};
use crate::error::Error;
use crate::metric::Metric;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of block 0 behind the page header that the meta body may take.
pub const META_BODY: usize = 256;

/// Recall goals for which the meta page keeps what was learned, ascending.
pub const GOALS: [f32; 8] = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];

/// Numbers of nearest rows for which recall is learned.
pub const NEIGHBOURS: [usize; 2] = [10, 100];

/// No index has so many entries: its file has at most 2³² pages of less than 2⁸ entries.
const MOST_ENTRIES: u64 = 1 << 40;

/// No index has given out as many numbers of generations or lists: each takes a page to be written at least.
const MOST_NUMBERS: u32 = 1 << 31;

/// Where a list is and what it is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ListHead {
    /// Its first page: 0 if its entries begin on block 0.
    pub first: u32,
    /// Its last page, where entries are appended.
    pub last: u32,
    /// The first page of its centre; [`NO_BLOCK`] if that is the origin.
    pub centre: u32,
    /// Counts how often the list was written anew. Its pages carry the same number.
    pub generation: u32,
    /// Entries when it was last written anew or vacuumed; those appended since are not counted.
    pub entries: u64,
    /// Removed entries that still take room.
    pub dead: u64,
    /// Entries its centre is the mean of; 0 if it is the origin.
    pub centred: u64,
}

impl ListHead {
    /// Counts that can be, and whose sums do not overflow; else an error.
    pub fn check(&self) -> Result<(), Error> {
        let counts = [self.entries, self.dead, self.centred];
        if counts.iter().any(|count| *count > MOST_ENTRIES) {
            return Err(corrupted(format!(
                "list of {} entries and {} removed ones, {} when it was made",
                self.entries, self.dead, self.centred
            )));
        }
        Ok(())
    }
}

/// The meta body.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Meta {
    /// Seed of the rotation.
    pub seed: u64,
    /// Elements of a vector.
    pub dimension: u32,
    /// [`Metric`] as a number.
    metric: u32,
    /// The last generation number given out.
    pub generations: u32,
    /// Nonzero while a list is being written anew: pages of other generations may lie about after a crash.
    pub rewriting: u32,
    /// The list that takes all new entries: the one list of a flat index, the inbox of a tree.
    pub list: ListHead,
    /// For [`NEIGHBOURS`] and each of [`GOALS`], the ε of the lower bound that reached it on this index's own data; 0 where
    /// nothing was learned.
    pub epsilon: [[f32; GOALS.len()]; NEIGHBOURS.len()],
    /// Entries when that was learned.
    pub learned: u64,
    /// Likewise how much farther from a query than the nearest few centroids those are whose lists had to be looked at.
    pub gaps: [[f32; GOALS.len()]; NEIGHBOURS.len()],
    /// First page of a tree's directory; [`NO_BLOCK`] in a flat index.
    pub directory: u32,
    /// First page of the centroids of its lists.
    pub centroids: u32,
    /// The generation that pages of both carry.
    pub tree_generation: u32,
    /// The last list number given out.
    pub lists: u32,
    /// Changes when lists were added or removed.
    pub version: u32,
    /// Entries of a row in a tree's lists: 1 or 2; 0 in a flat index.
    pub copies: u32,
    /// Rows when a tree's lists were chosen.
    pub chosen: u64,
    /// Changes when pages were cut off the list that takes new entries: it may use them again, without another generation.
    pub cuts: u64,
}

const _: () = {
    assert!(size_of::<ListHead>() == 40);
    assert!(size_of::<Meta>() == 24 + 40 + 64 + 8 + 64 + 40);
    assert!(size_of::<Meta>() <= META_BODY);
};

impl Meta {
    /// The meta body of an empty index.
    #[must_use]
    pub fn new(dimension: usize, metric: Metric, seed: u64) -> Self {
        Self {
            seed,
            dimension: dimension as u32,
            metric: metric_number(metric),
            generations: 1,
            rewriting: 0,
            list: ListHead {
                first: 0,
                last: 0,
                centre: NO_BLOCK,
                generation: 1,
                entries: 0,
                dead: 0,
                centred: 0,
            },
            epsilon: Default::default(),
            learned: 0,
            gaps: Default::default(),
            directory: NO_BLOCK,
            centroids: NO_BLOCK,
            tree_generation: 0,
            lists: 0,
            version: 0,
            copies: 0,
            chosen: 0,
            cuts: 0,
        }
    }

    /// Reads block 0.
    pub fn read(page: &[u8]) -> Result<Self, Error> {
        let kind = special(page)?.kind()?;
        if kind != Kind::Meta {
            return Err(corrupted(format!("block 0 is a page of kind {kind:?}")));
        }
        let (meta, _) = Self::read_from_prefix(&page[HEADER..])
            .map_err(|_| corrupted("meta page that is too short"))?;
        let dimension = meta.dimension as usize;
        if dimension == 0 || dimension > crate::vector::MAX_DIMENSIONS {
            return Err(corrupted(format!("index of {dimension} dimensions")));
        }
        meta.metric()?;
        meta.list.check()?;
        let numbers = [meta.generations, meta.lists];
        let generations = [meta.list.generation, meta.tree_generation];
        if numbers.iter().any(|number| *number > MOST_NUMBERS)
            || generations.iter().any(|of| *of > meta.generations)
        {
            return Err(corrupted(format!(
                "generations {generations:?} of {}, {} lists",
                meta.generations, meta.lists
            )));
        }
        if meta.learned.max(meta.chosen) > MOST_ENTRIES {
            return Err(corrupted(format!(
                "index of {} rows when it learned, {} when its lists were chosen",
                meta.learned, meta.chosen
            )));
        }
        let in_tree = meta.directory != NO_BLOCK;
        if meta.copies > 2 || in_tree != (meta.copies > 0) {
            return Err(corrupted(format!(
                "index of {} entries for each row",
                meta.copies
            )));
        }
        Ok(meta)
    }

    /// Writes it to block 0.
    pub fn write(&self, page: &mut [u8]) {
        page[HEADER..][..size_of::<Self>()].copy_from_slice(self.as_bytes());
    }

    /// The page of an empty index.
    #[must_use]
    pub fn new_page(&self) -> Vec<u8> {
        let mut page = vec![0; super::PAGE];
        init(&mut page, Kind::Meta, 0, self.list.generation);
        self.write(&mut page);
        page
    }

    /// Finds it to say of the index's vectors what another does, as it always has to.
    pub fn check_like(&self, other: &Self) -> Result<(), Error> {
        let [one, another] = [self, other].map(|meta| (meta.dimension, meta.metric, meta.seed));
        if one != another {
            return Err(corrupted(format!(
                "index of dimension, metric and seed {one:?}, not {another:?}"
            )));
        }
        Ok(())
    }

    /// The index's metric.
    pub fn metric(&self) -> Result<Metric, Error> {
        Metric::ALL
            .into_iter()
            .find(|&metric| metric_number(metric) == self.metric)
            .ok_or_else(|| corrupted(format!("index of unknown metric {}", self.metric)))
    }
}

/// Numbers of metrics on disk, never used again for another.
fn metric_number(metric: Metric) -> u32 {
    match metric {
        Metric::Cosine => 1,
        Metric::DotProduct => 2,
        Metric::Euclidean => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_wrote() {
        for metric in Metric::ALL {
            let meta = Meta::new(384, metric, 42);
            let read = Meta::read(&meta.new_page()).unwrap();
            assert_eq!(read, meta);
            assert_eq!(read.metric().unwrap(), metric);
        }
    }

    #[test]
    fn nonsense_is_told() {
        let meta = Meta::new(3, Metric::Cosine, 1);
        for (at, byte) in [
            (HEADER + 8, 0),
            (HEADER + 12, 9),
            (HEADER + 24 + 16 + 5, 2),
            (super::super::PAGE - 6, 2),
        ] {
            let mut page = meta.new_page();
            page[at] = byte;
            assert!(Meta::read(&page).is_err(), "{at}");
        }
    }
}
