//! A tree's lists as a process knows them: the directory's slots, and the centroid of each.
//!
//! Only VACUUM changes a tree, so what is remembered of it goes out of date slowly and is found out by the pages themselves: a list that
//! has gone or was written anew has none of the generation that its slot tells. Entries appended to a list are behind those that were
//! there.
#![forbid(unsafe_code)]

use super::chain::{Chain, append_page};
use super::pages::{Edit, Pages};
use crate::error::Error;
use crate::kernel::kernels;
use crate::layout::directory::{self, Slot};
use crate::layout::meta::{ListHead, Meta};
use crate::layout::page::{Kind, init};
use crate::layout::{NO_BLOCK, PAGE, centre, corrupted};
use crate::metric::Metric;
use crate::quantizer::Centre;

/// How much more a second list whose residual is parallel to the first one's is avoided (SOAR's λ).
const PARALLEL_PENALTY: f32 = 1.5;
/// The second list is chosen among so many nearest.
const SECOND_AMONG: usize = 24;

/// The lists of a tree.
pub struct Tree {
    /// The meta page's version when they were read.
    pub version: u32,
    /// The directory's slots, used or not.
    pub slots: Vec<Slot>,
    /// The centroid of each slot.
    pub centres: Vec<Centre>,
    /// Pages of the directory and of the centroids.
    directory: Vec<u32>,
    centroids: Vec<u32>,
}

impl Tree {
    /// Reads the tree of an index; none if it is flat. Centroids are of `bits` elements.
    pub fn read(pages: &impl Pages, meta: &Meta, bits: usize) -> Result<Option<Self>, Error> {
        if meta.directory == NO_BLOCK {
            return Ok(None);
        }
        let (mut slots, mut elements) = (Vec::new(), Vec::new());
        let (mut directory, mut centroids) = (Vec::new(), Vec::new());
        let generation = meta.tree_generation;
        // The directory first: the centroid of a slot is written before the slot is used.
        let whole = pages.walk(meta.directory, 0, generation, &mut |block, page| {
            directory.push(block);
            directory::read(page, &mut slots)
        })? && pages.walk(meta.centroids, 0, generation, &mut |block, page| {
            centroids.push(block);
            centre::read(page, &mut elements)
        })?;
        if !whole || elements.len() < slots.len() * bits {
            return Err(corrupted("directory or centroids that are not whole"));
        }
        if elements.iter().any(|element| !element.is_finite()) {
            return Err(corrupted("centroid that is not finite"));
        }
        let centres = elements.chunks_exact(bits).take(slots.len());
        Ok(Some(Self {
            version: meta.version,
            centres: centres
                .map(|elements| Centre::new(elements.to_vec()))
                .collect(),
            slots,
            directory,
            centroids,
        }))
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

    /// Live entries of all lists, as last counted: two for most rows.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.used().map(|at| self.slots[at].head.entries).sum()
    }

    /// The used slots for a query, those first whose lists are likeliest to have near rows. `rotated` is multiplied by `scale`.
    #[must_use]
    pub fn rank(&self, rotated: &[f32], scale: f32, metric: Metric) -> Vec<usize> {
        let dot = kernels().dot;
        let mut ranked: Vec<(f32, usize)> = self
            .used()
            .map(|at| {
                let centre = &self.centres[at];
                let product = scale * dot(rotated, centre.rotated());
                let half_norm = match metric {
                    Metric::DotProduct => 0.0,
                    Metric::Cosine | Metric::Euclidean => centre.squared_norm() as f32 / 2.0,
                };
                (half_norm - product, at)
            })
            .collect();
        ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, at)| at).collect()
    }

    /// The slots of the lists a vector belongs to: the nearest, and the one that makes up best for queries to which the first
    /// does not seem near. None if there are no lists.
    #[must_use]
    pub fn assign(&self, rotated: &[f32], scale: f32) -> Option<(usize, Option<usize>)> {
        let used: Vec<usize> = self.used().collect();
        let centres: Vec<&Centre> = used.iter().map(|&at| &self.centres[at]).collect();
        let (first, second) = assign(&centres, rotated, scale)?;
        Some((used[first], second.map(|second| used[second])))
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

    /// An unused slot with this centroid, made if there is none. Only VACUUM may.
    pub fn prepare_slot(
        &mut self,
        pages: &impl Pages,
        generation: u32,
        centroid: Centre,
        taken: &[usize],
    ) -> Result<usize, Error> {
        let free =
            (0..self.slots.len()).find(|at| !self.slots[*at].is_used() && !taken.contains(at));
        let number = free.unwrap_or(self.slots.len());
        self.write_centroid(pages, generation, number, centroid.rotated())?;
        if free.is_none() {
            self.add_slot(pages, generation)?;
            self.centres.push(centroid);
        } else {
            self.centres[number] = centroid;
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
            edit.commit()?;
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
        elements: &[f32],
    ) -> Result<(), Error> {
        let (mut at, mut rest) = (number * elements.len(), elements);
        while !rest.is_empty() {
            let (place, from) = (at / centre::per_page(), at % centre::per_page());
            let (some, others) = rest.split_at(rest.len().min(centre::per_page() - from));
            if let Some(&block) = self.centroids.get(place) {
                let mut edit = pages.edit();
                let page = edit.open(block)?;
                centre::write(edit.bytes_mut(page)?, from, some)?;
                edit.commit()?;
            } else {
                let mut image = vec![0; PAGE];
                init(&mut image, Kind::Centre, 0, generation);
                centre::write(&mut image, from, some)?;
                let last = self.centroids.last().copied().unwrap_or(NO_BLOCK);
                self.centroids.push(append_page(pages, last, &image)?);
            }
            (at, rest) = (at + some.len(), others);
        }
        Ok(())
    }
}

/// The slot of a list.
#[must_use]
pub fn slot_of(list: u32, head: ListHead) -> Slot {
    Slot {
        head,
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

/// Of these centres the nearest to a vector, and by SOAR's loss a second (Sun et al., "SOAR: Improved Indexing for Approximate
/// Nearest Neighbor Search", NeurIPS 2023): ‖x − c‖² + λ · ⟨x − c, r⟩² / ‖r‖², r being the residual of the first.
pub fn assign(centres: &[&Centre], rotated: &[f32], scale: f32) -> Option<(usize, Option<usize>)> {
    let dot = kernels().dot;
    // ‖x − c‖² − ‖x‖²
    let mut keys: Vec<(f32, usize)> = centres
        .iter()
        .enumerate()
        .map(|(number, centre)| {
            let product = scale * dot(rotated, centre.rotated());
            (centre.squared_norm() as f32 - 2.0 * product, number)
        })
        .collect();
    let among = SECOND_AMONG.min(keys.len());
    if among == 0 {
        return None;
    }
    if among < keys.len() {
        keys.select_nth_unstable_by(among, |a, b| a.0.total_cmp(&b.0));
    }
    keys.truncate(among);
    keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (_, first) = keys[0];
    let first_centre = centres[first].rotated();
    let pairs = rotated.iter().zip(first_centre);
    let residual: Vec<f32> = pairs.map(|(x, c)| x * scale - c).collect();
    let squares = dot(&residual, &residual).max(f32::MIN_POSITIVE);
    let along = scale * dot(rotated, &residual);
    let loss = |&(key, number): &(f32, usize)| {
        let parallel = along - dot(centres[number].rotated(), &residual);
        (
            key + PARALLEL_PENALTY * parallel * parallel / squares,
            number,
        )
    };
    let second = keys[1..]
        .iter()
        .map(loss)
        .min_by(|a, b| a.0.total_cmp(&b.0));
    Some((first, second.map(|(_, number)| number)))
}
