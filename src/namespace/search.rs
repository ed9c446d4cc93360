//! The k best records of one namespace for a query vector.
//!
//! Rows come from the vector index, those first that may be nearest ([`by_index`]), or all of them from the leaf ([`by_scan`]) where
//! it is small or recall is to be 1. Every row's vector is compared in f32 SIMD; only where the result, less the most its rounding
//! can hide, could still be among the best k, the filter is evaluated and the key computed exactly.
#![forbid(unsafe_code)]

use super::catalog::Index;
use super::record::{Match, Query, Rank, Record};
use super::{Leaf, Reached, reach, sql};
use crate::am::search::{IndexSearch, Next};
use crate::error::Error;
use crate::filter::Filter;
use crate::index::topk::TopK;
use crate::metric::Bar;
use crate::pg::access::Privilege;
use crate::pg::heap::fetch::Fetcher;
use crate::pg::heap::{self, Snapshot, Tid};
use crate::pg::leaf::{METADATA, RecordReader};
use crate::pg::relation::{LockMode, Relation};
use crate::record::jsonb;
use crate::storage::PgPages;
use crate::{am, guc};

/// A row that may be among the best: ordered by rank, then id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: Rank,
    id: Box<str>,
    tid: Tid,
    /// Exact, in bits: it does not take part in the order, which rank and id have settled.
    key: u64,
}

/// The best records of a namespace, best first; none if there is no such namespace.
pub fn top_k(index: &Index, namespace: &str, query: &Query<'_>) -> Result<Vec<Match>, Error> {
    let leaf = match reach(
        index,
        namespace,
        LockMode::AccessShare,
        &[Privilege::Select],
    )? {
        Reached::Missing => return Ok(Vec::new()),
        Reached::Sql => return sql::top_k(index, namespace, query),
        Reached::Direct(leaf) => leaf,
    };
    let snapshot = Snapshot::active();
    let reader = RecordReader::new(&leaf.relation);
    let mut best = Best::new(query, &reader);
    match vector_index(&leaf, index) {
        Some(vectors) => by_index(&leaf, &vectors, snapshot, &mut best)?,
        None => by_scan(&leaf, snapshot, &mut best)?,
    }
    let wants_row = query.parts.values || query.parts.metadata;
    let found = best.rows.into_sorted_vec().into_iter().map(|candidate| {
        let score = query.scorer.score(f64::from_bits(candidate.key));
        let record = if wants_row {
            heap::fetch(&leaf.relation, candidate.tid, |row| {
                Record::from_stored(&reader.read(row)?, query.parts)
            })??
        } else {
            Record {
                id: candidate.id.into(),
                ..Record::default()
            }
        };
        Ok(Match { score, record })
    });
    found.collect()
}

/// The leaf's vector index, if a search by it pays.
fn vector_index(leaf: &Leaf, index: &Index) -> Option<Relation> {
    let oid = leaf.vector_index?;
    if !am::search::pays(&leaf.relation, index.dimension, guc::recall()) {
        return None;
    }
    Relation::try_open_any(oid, LockMode::AccessShare)
}

/// Looks at every row.
fn by_scan(leaf: &Leaf, snapshot: Snapshot<'_>, best: &mut Best<'_>) -> Result<(), Error> {
    heap::scan(&leaf.relation, snapshot, |tid, row| best.offer(tid, row))
}

/// Looks at the rows that may be among the best by their codes.
fn by_index(
    leaf: &Leaf,
    vectors: &Relation,
    snapshot: Snapshot<'_>,
    best: &mut Best<'_>,
) -> Result<(), Error> {
    let pages = PgPages::new(vectors);
    let query = best.query;
    let recall = guc::recall();
    let mut search = IndexSearch::new(&pages, query.scorer.query(), query.k, recall)?;
    if let Some(filter) = query.filter {
        search = search.only(&leaf.relation, filter, METADATA);
    }
    let mut rows = Fetcher::new(&leaf.relation, snapshot);
    loop {
        match search.next(best.bar(), best.rows.len())? {
            Next::Wave([]) => return Ok(()),
            Next::Wave(wave) => rows.fetch(wave, |_, tid, row| best.offer(tid, row))?,
            Next::All(matching) => {
                best.clear();
                return rows.fetch(&matching, |_, tid, row| best.offer(tid, row));
            }
        }
    }
}

/// The best rows so far.
struct Best<'q> {
    query: &'q Query<'q>,
    reader: &'q RecordReader,
    rows: TopK<Candidate>,
    /// What a vector must beat, once there are k rows.
    bar: Option<Bar>,
    scratch: Vec<f32>,
}

impl<'q> Best<'q> {
    fn new(query: &'q Query<'q>, reader: &'q RecordReader) -> Self {
        Self {
            query,
            reader,
            rows: TopK::new(query.k),
            bar: None,
            scratch: Vec::new(),
        }
    }

    /// Forgets all rows.
    fn clear(&mut self) {
        self.rows = TopK::new(self.query.k);
        self.bar = None;
    }

    /// The k-th best key, once there are k rows.
    fn bar(&self) -> Option<f64> {
        let worst = self.rows.worst()?;
        (!worst.rank.is_nan()).then(|| f64::from(worst.rank.key()))
    }

    fn offer(&mut self, tid: Tid, row: &[u8]) -> Result<(), Error> {
        let (scorer, reader) = (&self.query.scorer, self.reader);
        let scratch = &mut self.scratch;
        if let Some(bar) = &self.bar
            && reader.with_values(row, scratch, |vector| scorer.misses(bar, vector))? != Some(false)
        {
            return Ok(()); // a row without a vector is nowhere near anything
        }
        let key = reader.with_values(row, scratch, |vector| scorer.exact(vector))?;
        let Some(key) = key else {
            return Ok(());
        };
        let rank = Rank::new(key);
        let worst = self.rows.worst();
        if worst.is_some_and(|worst| rank > worst.rank) {
            return Ok(());
        }
        let stored = reader.read(row)?;
        if let Some(filter) = self.query.filter
            && !stored.with_metadata(|payload| matches(filter, payload))?
        {
            return Ok(());
        }
        if worst.is_none_or(|worst| (rank, &*stored.id) < (worst.rank, &*worst.id)) {
            self.rows.push(Candidate {
                rank,
                id: (&*stored.id).into(),
                tid,
                key: key.to_bits(),
            });
            // A NaN is worse than all: nothing misses it.
            self.bar = self
                .rows
                .worst()
                .filter(|worst| !worst.rank.is_nan())
                .map(|worst| scorer.bar(worst.rank.key()));
        }
        Ok(())
    }
}

/// Does a record's metadata pass the filter?
pub fn matches(filter: &Filter, metadata: Option<&[u8]>) -> Result<bool, Error> {
    let metadata = metadata.map(jsonb::parse).transpose()?;
    filter.matches(metadata)
}
