//! The k best records of one namespace, or of several together, for a query vector.
//!
//! Which rows are looked at [`super::find`] decides. Every row's vector is compared in f32 SIMD; only where the result, less the most its rounding
//! can hide, could still be among the best k, the filter is evaluated and the key computed exactly.
//!
//! Of several namespaces each is looked at under the bar that those before it have set.
#![forbid(unsafe_code)]

use super::candidate::{Candidate, Row, RowPlace};
use super::catalog::Index;
use super::record::{Match, Query, Rank, Record};
use super::shared_search::{Pace, look_into_rest};
use super::{Leaf, Reached, reach, sql};
use crate::error::Error;
use crate::filter::Filter;
use crate::index::topk::TopK;
use crate::metric::Bar;
use crate::pg::access::Privilege;
use crate::pg::heap::{self, Tid};
use crate::pg::leaf::{RecordReader, StoredRecord};
use crate::pg::relation::LockMode;
use crate::record::jsonb;
use std::collections::BTreeSet;

/// The best records of a namespace, best first; none if there is no such namespace.
pub fn top_k(index: &Index, namespace: &str, query: &Query<'_>) -> Result<Vec<Match>, Error> {
    let mut best = Best::new(query);
    look_into(index, namespace, 0, &mut best, false)?;
    Ok(best.into_matches().map(|(_, found)| found).collect())
}

/// The best records of several namespaces (canonical names, each once), best first, each with the place of its namespace. Those that are not there are passed over.
pub fn top_k_of_all(
    index: &Index,
    namespaces: &[impl AsRef<str>],
    query: &Query<'_>,
) -> Result<Vec<(usize, Match)>, Error> {
    let mut best = Best::new(query);
    let pace = Pace::new();
    for (place, namespace) in namespaces.iter().enumerate() {
        pgrx::check_for_interrupts!();
        let workers = pace.workers(place, namespaces.len());
        if workers > 0 {
            look_into_rest(index, namespaces, place, workers, &mut best)?;
            break;
        }
        look_into(index, namespace.as_ref(), place, &mut best, true)?;
    }
    Ok(best.into_matches().collect())
}

/// Looks for better records in a namespace. `briefly`: its locks are given back at once, for there may be more namespaces than locks.
pub(super) fn look_into(
    index: &Index,
    namespace: &str,
    place: usize,
    best: &mut Best<'_>,
    briefly: bool,
) -> Result<(), Error> {
    let select = [Privilege::Select];
    let leaf = match reach(index, namespace, LockMode::AccessShare, &select)? {
        Reached::Missing => return Ok(()),
        Reached::Sql => {
            for (key, record) in sql::top_k(index, namespace, best.query)? {
                best.push(Candidate {
                    rank: Rank::new(key),
                    id: record.id.as_str().into(),
                    place,
                    key,
                    row: Row::Read(Box::new(record)),
                });
            }
            return Ok(());
        }
        Reached::Direct(leaf) => leaf,
    };
    look_into_leaf(index, leaf, place, best, briefly)
}

/// The same for a namespace that has been reached.
pub(super) fn look_into_leaf(
    index: &Index,
    mut leaf: Leaf,
    place: usize,
    best: &mut Best<'_>,
    briefly: bool,
) -> Result<(), Error> {
    if briefly {
        leaf.relation = leaf.relation.unlock_on_drop(LockMode::AccessShare);
    }
    let reader = RecordReader::new(&leaf.relation);
    let mut rows = Rows {
        best,
        reader: &reader,
        file: leaf.relation.file_id().2,
        place,
    };
    rows.find(&leaf, index, briefly)?;
    rows.read_records(&leaf)
}

/// The best rows so far.
pub(super) struct Best<'q> {
    pub(super) query: &'q Query<'q>,
    rows: TopK<Candidate>,
    /// What a vector must beat, once there are k rows, here or elsewhere.
    bar: Option<Bar>,
    /// The k-th best key of somebody else's rows, which will be put together with these.
    elsewhere: Option<f32>,
    scratch: Vec<f32>,
}

impl<'q> Best<'q> {
    pub(super) fn new(query: &'q Query<'q>) -> Self {
        Self {
            query,
            rows: TopK::new(query.k),
            bar: None,
            elsewhere: None,
            scratch: Vec::new(),
        }
    }

    /// How many there are, here or elsewhere.
    pub(super) fn count(&self) -> usize {
        match self.elsewhere {
            Some(_) => self.query.k,
            None => self.rows.len(),
        }
    }

    /// The k-th best key of these, once there are k rows. A NaN is worse than all: nothing misses it.
    pub(super) fn kth_key(&self) -> Option<f32> {
        let worst = self.rows.worst()?;
        (!worst.rank.is_nan()).then(|| worst.rank.key())
    }

    /// The k-th best key of others, if it is known.
    pub(super) fn lower_bar(&mut self, elsewhere: Option<f32>) {
        self.elsewhere = elsewhere;
        self.set_bar();
    }

    /// The lower of both.
    fn lowest(&self) -> Option<f32> {
        match (self.kth_key(), self.elsewhere) {
            (Some(here), Some(elsewhere)) => Some(here.min(elsewhere)),
            (here, elsewhere) => here.or(elsewhere),
        }
    }

    fn set_bar(&mut self) {
        self.bar = self.lowest().map(|key| self.query.scorer.bar(key));
    }

    /// Whether a row whose key is not below this is not among them.
    pub(super) fn excludes(&self, least: f64) -> bool {
        self.bar.as_ref().is_some_and(|bar| bar.is_below(least))
    }

    /// The k-th best key, once there are k rows, here or elsewhere.
    pub(super) fn bar(&self) -> Option<f64> {
        self.lowest().map(f64::from)
    }

    pub(super) fn push(&mut self, candidate: Candidate) {
        self.rows.push(candidate);
        self.set_bar();
    }

    /// The rows, best first.
    pub(super) fn into_candidates(self) -> Vec<Candidate> {
        self.rows.into_sorted_vec()
    }

    /// Reads what is asked for of rows that others have found. A namespace that was dropped, emptied or renamed meanwhile has none.
    pub(super) fn read_rest(
        &mut self,
        index: &Index,
        namespaces: &[impl AsRef<str>],
    ) -> Result<(), Error> {
        if self.query.parts.is_none() {
            return Ok(());
        }
        let candidates = std::mem::replace(&mut self.rows, TopK::new(self.query.k));
        let candidates = candidates.into_sorted_vec();
        let unread = candidates.iter().filter(|one| one.row_place().is_some());
        let places: BTreeSet<usize> = unread.map(|one| one.place).collect();
        for candidate in candidates {
            self.rows.push(candidate);
        }
        for place in places {
            pgrx::check_for_interrupts!();
            let (namespace, select) = (namespaces[place].as_ref(), [Privilege::Select]);
            if let Reached::Direct(mut leaf) =
                reach(index, namespace, LockMode::AccessShare, &select)?
            {
                leaf.relation = leaf.relation.unlock_on_drop(LockMode::AccessShare);
                let reader = RecordReader::new(&leaf.relation);
                let mut rows = Rows {
                    best: self,
                    reader: &reader,
                    file: leaf.relation.file_id().2,
                    place,
                };
                rows.read_records(&leaf)?;
            }
        }
        let candidates = std::mem::replace(&mut self.rows, TopK::new(self.query.k));
        for candidate in candidates.into_sorted_vec() {
            if candidate.row_place().is_none() {
                self.rows.push(candidate);
            }
        }
        Ok(())
    }

    /// Best first, each with the place of its namespace.
    fn into_matches(self) -> impl Iterator<Item = (usize, Match)> {
        let scorer = &self.query.scorer;
        self.rows.into_sorted_vec().into_iter().map(|candidate| {
            let score = scorer.score(candidate.key);
            let record = match candidate.row {
                Row::Read(record) => *record,
                Row::At(_) => Record {
                    id: candidate.id.into(),
                    ..Record::default()
                },
            };
            (candidate.place, Match { score, record })
        })
    }
}

/// The rows of one namespace, offered to the best of all.
pub(super) struct Rows<'b, 'q> {
    pub(super) best: &'b mut Best<'q>,
    reader: &'b RecordReader,
    /// The number of the table's file.
    file: u32,
    place: usize,
}

impl Rows<'_, '_> {
    /// Forgets the rows of this namespace: they will come again. What they displaced they will displace again.
    pub(super) fn forget(&mut self) {
        let best = &mut self.best;
        let rows = std::mem::replace(&mut best.rows, TopK::new(best.query.k));
        for candidate in rows.into_sorted_vec() {
            if candidate.place != self.place {
                best.rows.push(candidate);
            }
        }
        best.set_bar();
    }

    /// What the key of a row is not below; None if it has no vector.
    pub(super) fn least(&mut self, row: &[u8]) -> Result<Option<f64>, Error> {
        let (scorer, scratch) = (&self.best.query.scorer, &mut self.best.scratch);
        self.reader
            .with_values(row, scratch, |vector| scorer.least(vector))
    }

    /// Whether a row passes the filter.
    pub(super) fn passes(&self, row: &[u8]) -> Result<bool, Error> {
        passes(self.best.query, &self.reader.read(row)?)
    }

    pub(super) fn offer(&mut self, tid: Tid, row: &[u8]) -> Result<(), Error> {
        let (best, reader) = (&mut *self.best, self.reader);
        let (scorer, scratch) = (&best.query.scorer, &mut best.scratch);
        if let Some(bar) = &best.bar
            && reader.with_values(row, scratch, |vector| scorer.misses(bar, vector))? != Some(false)
        {
            return Ok(()); // a row without a vector is nowhere near anything
        }
        let key = reader.with_values(row, scratch, |vector| scorer.exact(vector))?;
        let Some(key) = key else {
            return Ok(());
        };
        let rank = Rank::new(key);
        let worst = best.rows.worst();
        if worst.is_some_and(|worst| rank > worst.rank) {
            return Ok(());
        }
        let stored = reader.read(row)?;
        if !passes(best.query, &stored)? {
            return Ok(());
        }
        if worst.is_none_or(|worst| (rank, &*stored.id, self.place) < worst.order()) {
            best.push(Candidate {
                rank,
                id: (&*stored.id).into(),
                place: self.place,
                key,
                row: Row::At(RowPlace {
                    file: self.file,
                    tid,
                }),
            });
        }
        Ok(())
    }

    /// Reads what is asked for of those of this namespace's records that are among the best.
    fn read_records(&mut self, leaf: &Leaf) -> Result<(), Error> {
        let parts = self.best.query.parts;
        if parts.is_none() {
            return Ok(());
        }
        for candidate in self.best.rows.items_mut() {
            if let Row::At(row) = candidate.row
                && candidate.place == self.place
                && row.file == self.file
            {
                let record = heap::fetch(&leaf.relation, row.tid, |row| {
                    Record::from_stored(&self.reader.read(row)?, parts)
                })??;
                candidate.row = Row::Read(Box::new(record));
            }
        }
        Ok(())
    }
}

fn passes(query: &Query<'_>, stored: &StoredRecord<'_>) -> Result<bool, Error> {
    match query.filter {
        Some(filter) => stored.with_metadata(|payload| matches(filter, payload)),
        None => Ok(true),
    }
}

/// Does a record's metadata pass the filter?
pub fn matches(filter: &Filter, metadata: Option<&[u8]>) -> Result<bool, Error> {
    let metadata = metadata.map(jsonb::parse).transpose()?;
    filter.matches(metadata)
}
