//! A tree's lists as a process knows them: the directory's slots, and the centroid of each.
//!
//! Only VACUUM changes a tree, so what is remembered of it goes out of date slowly and is found out by the pages themselves: a list that
//! has gone or was written anew has none of the generation that its slot tells. Entries appended to a list are behind those that were
//! there. When it is looked at again, only the centroids of slots that hold another list are read.
#![forbid(unsafe_code)]

use super::centroids::Centroids;
use super::chain::{Chain, append_page};
use super::pages::{Edit, Pages, ReadPages};
use super::state::IndexState;
use crate::error::Error;
use crate::layout::directory::{self, Slot};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, Special, init, special};
use crate::layout::{NO_BLOCK, PAGE, centre, corrupted};
use crate::stop_point::StopPoint;

/// The lists of a tree.
#[derive(Clone)]
pub struct Tree {
    /// The meta page's version when they were read.
    pub version: u32,
    /// Of its directory and centroids, which are others when all its lists were chosen anew.
    generation: u32,
    /// The directory's slots, used or not.
    pub slots: Vec<Slot>,
    /// The centroid of each slot.
    pub centroids: Centroids,
    /// Pages of the directory and of the centroids.
    directory: Vec<u32>,
    pages: Vec<u32>,
}

impl Tree {
    /// Nothing known yet of the tree of an index with codes of so many bits.
    #[must_use]
    pub fn unknown(code_bits: usize) -> Self {
        Self {
            version: 0,
            generation: 0,
            slots: Vec::new(),
            centroids: Centroids::new(code_bits),
            directory: Vec::new(),
            pages: Vec::new(),
        }
    }

    /// Reads what has changed of the tree that the meta page tells of. What is not as it should be may be damaged or, if the meta page has
    /// another version by now, changed while it was read.
    pub fn refresh(&mut self, pages: &impl ReadPages, meta: &Meta) -> Result<(), Error> {
        if self.generation != meta.tree_generation {
            *self = Self::unknown(self.centroids.code_bits());
            self.generation = meta.tree_generation;
        }
        // The directory first: the centroid of a slot is written before the slot is used.
        let known = std::mem::take(&mut self.slots);
        self.directory.clear();
        let (slots, directory) = (&mut self.slots, &mut self.directory);
        let generation = meta.tree_generation;
        let whole = pages.walk(meta.directory, 0, generation, &mut |block, page| {
            directory.push(block);
            directory::read(page, slots)
        })?;
        if !whole {
            return Err(corrupted("directory that is not whole"));
        }
        let changed = |number: &usize| {
            let list = self.slots[*number].list;
            list != 0 && known.get(*number).is_none_or(|known| known.list != list)
        };
        let changed: Vec<usize> = (0..self.slots.len()).filter(changed).collect();
        self.read_centroids(pages, meta, &changed)?;
        self.version = meta.version;
        Ok(())
    }

    /// Reads the pages on which the records of these slots are.
    fn read_centroids(
        &mut self,
        pages: &impl ReadPages,
        meta: &Meta,
        changed: &[usize],
    ) -> Result<(), Error> {
        let (bytes, per_page) = (self.centroids.record_bytes(), centre::per_page());
        let mut places: Vec<usize> = changed
            .iter()
            .flat_map(|number| number * bytes / per_page..=((number + 1) * bytes - 1) / per_page)
            .collect();
        places.sort_unstable();
        places.dedup();
        // Pages that were added follow the last one known.
        let generation = meta.tree_generation;
        let mut next = meta.centroids;
        if let Some(&last) = self.pages.last() {
            next = centroids_page(&pages.read(last)?, generation)?.next;
        }
        let known = &mut self.pages;
        let mut note = |block, _: &[u8]| {
            known.push(block);
            Ok(())
        };
        if next != NO_BLOCK && !pages.walk(next, 0, generation, &mut note)? {
            return Err(not_of_them());
        }
        for place in places {
            pages.pause();
            let block = self.pages.get(place).copied();
            let block = block.ok_or_else(|| corrupted("slot without a centroid"))?;
            let page = pages.read(block)?;
            centroids_page(&page, generation)?;
            let bytes = centre::read(&page)?;
            if bytes.len() < per_page && place + 1 < self.pages.len() {
                return Err(corrupted("page in the centroids that is not full"));
            }
            self.centroids.set(place * per_page, bytes);
        }
        // The pages of unused slots are not read.
        if changed
            .last()
            .is_some_and(|last| *last >= self.centroids.len())
        {
            return Err(corrupted("fewer centroids than slots"));
        }
        self.centroids.check(changed)?;
        self.centroids.pack(changed);
        Ok(())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.centroids.bytes() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Whether there is a list in a slot.
    #[must_use]
    pub fn is_used(&self, number: usize) -> bool {
        self.slots.get(number).is_some_and(Slot::is_used)
    }

    /// Lists there are.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.used().count()
    }

    /// The numbers of the used slots.
    pub fn used(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.slots.len()).filter(|&at| self.slots[at].is_used())
    }

    /// Live entries of all lists, as last counted.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.used().map(|at| self.slots[at].head.entries).sum()
    }

    /// Writes a slot in a change that may also write others.
    pub fn set_slot(&self, edit: &mut impl Edit, number: usize, slot: &Slot) -> Result<(), Error> {
        let block = self.directory_block(number)?;
        let page = edit.open(block)?;
        directory::write(edit.bytes_mut(page)?, number % directory::per_page(), slot)
    }

    /// The page of the directory a slot is on.
    pub fn directory_block(&self, number: usize) -> Result<u32, Error> {
        let block = self.directory.get(number / directory::per_page()).copied();
        block.ok_or_else(|| corrupted(format!("slot {number} beyond the directory")))
    }

    /// An unused slot with this centroid, made if there is none; none of `taken`. Only VACUUM may.
    pub fn prepare_slot(
        &mut self,
        pages: &impl Pages,
        state: &IndexState,
        point: Vec<f32>,
        taken: &[usize],
    ) -> Result<usize, Error> {
        let generation = state.meta.tree_generation;
        let free = (0..self.slots.len()).find(|at| !self.is_used(*at) && !taken.contains(at));
        let number = free.unwrap_or(self.slots.len());
        let record = self.centroids.put(&state.centre, number, point).to_vec();
        self.write_centroid(pages, generation, number, &record)?;
        if free.is_none() {
            self.add_slot(pages, generation)?;
        }
        Ok(number)
    }

    fn add_slot(&mut self, pages: &impl Pages, generation: u32) -> Result<(), Error> {
        let slot = unused_slot();
        let number = self.slots.len();
        if number.is_multiple_of(directory::per_page()) {
            let mut image = vec![0; PAGE];
            init(&mut image, Kind::Directory, 0, generation);
            directory::write(&mut image, 0, &slot)?;
            let last = self.directory.last().copied().unwrap_or(NO_BLOCK);
            self.directory.push(append_page(pages, last, &image)?);
        } else {
            let mut edit = pages.edit();
            self.set_slot(&mut edit, number, &slot)?;
            edit.commit(StopPoint::AddSlot)?;
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Page by page: nobody uses the centroid of a slot that is not used.
    fn write_centroid(
        &mut self,
        pages: &impl Pages,
        generation: u32,
        number: usize,
        record: &[u8],
    ) -> Result<(), Error> {
        let (mut at, mut rest) = (number * record.len(), record);
        while !rest.is_empty() {
            let (place, from) = (at / centre::per_page(), at % centre::per_page());
            let (some, others) = rest.split_at(rest.len().min(centre::per_page() - from));
            if let Some(&block) = self.pages.get(place) {
                let mut edit = pages.edit();
                let page = edit.open(block)?;
                centre::write(edit.bytes_mut(page)?, from, some)?;
                edit.commit(StopPoint::Centroid)?;
            } else {
                let mut image = vec![0; PAGE];
                init(&mut image, Kind::Centre, 0, generation);
                centre::write(&mut image, from, some)?;
                let last = self.pages.last().copied().unwrap_or(NO_BLOCK);
                self.pages.push(append_page(pages, last, &image)?);
            }
            (at, rest) = (at + some.len(), others);
        }
        Ok(())
    }
}

/// What a page of the centroids says of itself.
fn centroids_page(page: &[u8], generation: u32) -> Result<Special, Error> {
    let head = special(page)?;
    if head.is_of(0, generation) {
        Ok(head)
    } else {
        Err(not_of_them())
    }
}

fn not_of_them() -> Error {
    corrupted("page in the centroids that is not of them")
}

/// The slot of a list just written.
#[must_use]
pub fn slot_of(list: u32, head: ListHead) -> Slot {
    Slot {
        head: ListHead {
            centred: head.entries,
            ..head
        },
        list,
        reserved: 0,
    }
}

/// What an unused slot holds.
#[must_use]
pub fn unused_slot() -> Slot {
    let nowhere = Chain {
        first: NO_BLOCK,
        last: NO_BLOCK,
        entries: 0,
    };
    slot_of(0, nowhere.head(0))
}
