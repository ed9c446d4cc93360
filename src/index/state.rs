//! An index as a process knows it between two looks at its pages: the meta body, and its list's centre.
#![forbid(unsafe_code)]

use super::pages::ReadPages;
use super::tree::Tree;
use crate::error::Error;
use crate::layout::entry::Geometry;
use crate::layout::meta::{ListHead, Meta};
use crate::layout::{META_BLOCK, NO_BLOCK, centre};
use crate::metric::Metric;
use crate::quantizer::{Centre, Quantizer};
use std::sync::Arc;

/// What was read of an index, and what follows from it.
#[derive(Clone)]
pub struct IndexState {
    /// The meta body when last looked at.
    pub meta: Meta,
    /// The index's metric.
    pub metric: Metric,
    /// Sizes of entries.
    pub geometry: Geometry,
    /// Rotation and codes.
    pub quantizer: Arc<Quantizer>,
    /// The centre of the list, of the meta body's generation.
    pub centre: Arc<Centre>,
    /// The other lists, if there are any.
    pub tree: Option<Arc<Tree>>,
}

impl IndexState {
    /// Reads an index.
    pub fn read(pages: &impl ReadPages) -> Result<Self, Error> {
        let meta = read_meta(pages)?;
        let quantizer = Arc::new(Quantizer::new(meta.dimension as usize, meta.seed));
        let mut state = Self {
            metric: meta.metric()?,
            geometry: Geometry::new(quantizer.code_bits()),
            centre: Arc::new(Centre::zero(quantizer.code_bits())),
            quantizer,
            meta,
            tree: None,
        };
        state.read_centre(pages)?;
        state.read_tree(pages)?;
        Ok(state)
    }

    /// Looks at the meta page again, and at the centre if that is another now.
    pub fn refresh(&mut self, pages: &impl ReadPages) -> Result<(), Error> {
        self.read_meta(pages)?;
        let known = self.tree.as_ref().map(|tree| tree.version);
        let is = (self.meta.directory != NO_BLOCK).then_some(self.meta.version);
        if known != is {
            self.refresh_tree(pages)?;
        }
        Ok(())
    }

    /// The meta page again, and with it the centre its list has now: never one without the other.
    fn read_meta(&mut self, pages: &impl ReadPages) -> Result<(), Error> {
        let generation = self.meta.list.generation;
        let meta = read_meta(pages)?;
        meta.check_like(&self.meta)?;
        self.meta = meta;
        if self.meta.list.generation != generation {
            self.read_centre(pages)?;
        }
        Ok(())
    }

    /// Reads the tree again, whether the meta page says that it has changed or not.
    pub fn read_tree(&mut self, pages: &impl ReadPages) -> Result<(), Error> {
        self.read_meta(pages)?;
        self.refresh_tree(pages)
    }

    fn refresh_tree(&mut self, pages: &impl ReadPages) -> Result<(), Error> {
        while self.meta.directory != NO_BLOCK {
            // Taken out, so that after an error nothing half read is left.
            let mut tree = self.tree.take().unwrap_or_else(|| {
                let code_bits = self.quantizer.code_bits();
                Arc::new(Tree::unknown(code_bits))
            });
            let version = self.meta.version;
            match Arc::make_mut(&mut tree).refresh(pages, &self.meta) {
                Ok(()) => {
                    self.tree = Some(tree);
                    return Ok(());
                }
                // VACUUM may have given up its pages, or have used a slot for another list, while they were read.
                Err(error @ Error::Corrupted { .. }) => {
                    self.read_meta(pages)?;
                    if self.meta.version == version {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.tree = None;
        Ok(())
    }

    /// Rows, as last counted or appended.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let in_lists = self.tree.as_ref().map_or(0, |tree| tree.entries());
        self.list().entries + in_lists / u64::from(self.meta.copies.max(1))
    }

    /// Entries, likewise: of a tree with two for each row, that.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let in_lists = self.tree.as_ref().map_or(0, |tree| tree.entries());
        self.list().entries + in_lists
    }

    /// Bytes of memory it takes, its quantizer aside, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tree = self.tree.as_ref().map_or(0, |tree| tree.bytes());
        size_of::<Self>() + size_of_val(self.centre.rotated()) + tree
    }

    /// The list that takes new entries: of a flat index all.
    #[must_use]
    pub fn list(&self) -> &ListHead {
        &self.meta.list
    }

    /// The centre may be given up while it is read, by a list written anew: then the meta page names another.
    fn read_centre(&mut self, pages: &impl ReadPages) -> Result<(), Error> {
        loop {
            let list = *self.list();
            let mut bytes = Vec::new();
            let whole = list.centre == NO_BLOCK
                || pages.walk(list.centre, 0, list.generation, &mut |_, page| {
                    bytes.extend_from_slice(centre::read(page)?);
                    Ok(())
                })?;
            if whole {
                let elements = centre::from_bytes(&bytes);
                self.centre = Arc::new(self.centre_of(list.centre, elements)?);
                return Ok(());
            }
            let meta = again(pages, list.generation, "centre")?;
            meta.check_like(&self.meta)?;
            self.meta = meta;
        }
    }

    fn centre_of(&self, block: u32, elements: Vec<f32>) -> Result<Centre, Error> {
        let bits = self.quantizer.code_bits();
        if block == NO_BLOCK {
            return Ok(Centre::zero(bits));
        }
        if elements.len() != bits || elements.iter().any(|element| !element.is_finite()) {
            return Err(crate::layout::corrupted(format!(
                "centre of {} elements, not {bits}, or not finite",
                elements.len()
            )));
        }
        Ok(Centre::new(elements))
    }
}

/// The meta body.
pub fn read_meta(pages: &impl ReadPages) -> Result<Meta, Error> {
    Meta::read(&pages.read(META_BLOCK)?)
}

/// The meta body after a page was found not to be of `generation`: if that still is the list's, the index is damaged.
pub fn again(pages: &impl ReadPages, generation: u32, what: &str) -> Result<Meta, Error> {
    let meta = read_meta(pages)?;
    if meta.list.generation == generation {
        return Err(crate::layout::corrupted(format!(
            "page in the {what} of generation {generation} that is not of it"
        )));
    }
    Ok(meta)
}
