//! The k best records of one namespace for a query vector: exact, by scanning the leaf once.
//!
//! Every row's vector is compared in f32 SIMD; only where the result, less the most its rounding can hide, could still
//! be among the best k, the filter is evaluated and the key computed exactly.
#![forbid(unsafe_code)]

use super::catalog::Index;
use super::record::{Match, Query, Rank, Record};
use super::{Leaf, Reached, reach, sql};
use crate::error::Error;
use crate::filter::Filter;
use crate::index::topk::TopK;
use crate::pg::access::Privilege;
use crate::pg::heap::{self, Snapshot, Tid};
use crate::pg::leaf::RecordReader;
use crate::pg::relation::LockMode;
use crate::record::jsonb;

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
    let best = scan(&leaf, snapshot, &reader, query)?;
    let wants_row = query.parts.values || query.parts.metadata;
    let found = best.into_iter().map(|candidate| {
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

fn scan(
    leaf: &Leaf,
    snapshot: Snapshot<'_>,
    reader: &RecordReader,
    query: &Query<'_>,
) -> Result<Vec<Candidate>, Error> {
    let scorer = &query.scorer;
    let mut best: TopK<Candidate> = TopK::new(query.k);
    let mut bar = None;
    let mut scratch = Vec::new();
    heap::scan(&leaf.relation, snapshot, |tid, row| {
        if let Some(bar) = &bar
            && reader.with_values(row, &mut scratch, |vector| scorer.misses(bar, vector))?
                != Some(false)
        {
            return Ok(()); // a row without a vector is nowhere near anything
        }
        let key = reader.with_values(row, &mut scratch, |vector| scorer.exact(vector))?;
        let Some(key) = key else {
            return Ok(());
        };
        let rank = Rank::new(key);
        if best.worst().is_some_and(|worst| rank > worst.rank) {
            return Ok(());
        }
        let stored = reader.read(row)?;
        if let Some(filter) = query.filter
            && !stored.with_metadata(|payload| matches(filter, payload))?
        {
            return Ok(());
        }
        if best
            .worst()
            .is_none_or(|worst| (rank, &*stored.id) < (worst.rank, &*worst.id))
        {
            best.push(Candidate {
                rank,
                id: (&*stored.id).into(),
                tid,
                key: key.to_bits(),
            });
            // A NaN is worse than all: nothing misses it.
            bar = best
                .worst()
                .filter(|worst| !worst.rank.is_nan())
                .map(|worst| scorer.bar(worst.rank.key()));
        }
        Ok(())
    })?;
    Ok(best.into_sorted_vec())
}

/// Does a record's metadata pass the filter?
pub fn matches(filter: &Filter, metadata: Option<&[u8]>) -> Result<bool, Error> {
    let metadata = metadata.map(jsonb::parse).transpose()?;
    filter.matches(metadata)
}
