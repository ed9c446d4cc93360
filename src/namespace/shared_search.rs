//! Searching many namespaces with parallel workers: each member takes the next namespace that nobody has taken, and looks into it under the lowest bar that any
//! has set. Workers answer where their best rows are; the caller reads them.
#![forbid(unsafe_code)]

use super::candidate::{Candidate, RowPlace};
use super::catalog::Index;
use super::record::{Parts, Query};
use super::search::{Best, look_into, look_into_leaf};
use super::{Reached, reach};
use crate::error::Error;
use crate::filter::Filter;
use crate::metric::Scorer;
use crate::pg::access::Privilege;
use crate::pg::heap::Tid;
use crate::pg::relation::LockMode;
use crate::pg::team::{self, Shared};
use crate::record::rules;
use std::time::{Duration, Instant};

/// What beginning workers and ending them costs, with what they have to read before they are of use.
const WORTH: Duration = Duration::from_millis(8);

/// Called once when the library is loaded.
pub fn init() {
    team::install(work);
}

/// How the rest of a search is shared out, and when.
pub struct Pace {
    begun: Instant,
    workers: usize,
    forced: bool,
}

impl Pace {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            workers: team::allowed(),
            forced: team::is_forced(),
        }
    }

    /// How many workers are worth beginning, when so many of so many namespaces are done: none before the search has taken as long as they cost, and
    /// if what is left, at the pace so far, will not.
    pub fn workers(&self, done: usize, all: usize) -> usize {
        let left = all - done;
        // The caller takes one of them itself.
        let workers = self.workers.min(left.saturating_sub(1));
        if self.forced || workers == 0 || done == 0 {
            return if self.forced { workers } else { 0 };
        }
        let elapsed = self.begun.elapsed();
        let rest = elapsed.as_secs_f64() / done as f64 * left as f64;
        if elapsed > WORTH && rest > WORTH.as_secs_f64() {
            workers
        } else {
            0
        }
    }
}

/// Looks into the namespaces from the place `first` on together with workers.
pub fn look_into_rest(
    index: &Index,
    namespaces: &[impl AsRef<str>],
    first: usize,
    workers: usize,
    best: &mut Best<'_>,
) -> Result<(), Error> {
    let request = encode_request(index, namespaces, best.query);
    let left_bytes = namespaces.len().div_ceil(8);
    let answer_bytes = left_bytes + best.query.k * MOST_OF_CANDIDATE;
    let ((), answers) = team::share(&request, first, answer_bytes, workers, |shared| {
        take_pieces(shared, namespaces.len(), best, |best, place| {
            look_into(index, namespaces[place].as_ref(), place, best, true)
        })
    })?;
    for answer in answers {
        let mut answer = Reader(&answer);
        let left = answer.bytes(left_bytes)?;
        while !answer.0.is_empty() {
            best.push(decode_candidate(&mut answer)?);
        }
        for (place, namespace) in namespaces.iter().enumerate() {
            if left[place / 8] & (1 << (place % 8)) != 0 {
                pgrx::check_for_interrupts!();
                look_into(index, namespace.as_ref(), place, best, true)?;
            }
        }
    }
    best.read_rest(index, namespaces)
}

/// Takes namespaces by their places until all are taken.
fn take_pieces<'q>(
    shared: &Shared<'_>,
    count: usize,
    best: &mut Best<'q>,
    mut look_into: impl FnMut(&mut Best<'q>, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        pgrx::check_for_interrupts!();
        if let Some(bar) = best.kth_key() {
            shared.lower_bar(bar);
        }
        let place = shared.take();
        if place >= count {
            return Ok(());
        }
        best.lower_bar(shared.bar());
        look_into(best, place)?;
    }
}

/// What a worker does: it answers which namespaces it left to the caller, because they are to be read by SQL, and its best rows.
fn work(request: &[u8], shared: &Shared<'_>) -> Result<Vec<u8>, Error> {
    let mut request = Reader(request);
    let index = super::index(request.text()?)?;
    let k = request.number()? as usize;
    let vector = request.bytes_counted()?.chunks_exact(size_of::<f32>());
    let vector: Vec<f32> = vector
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap_or_default()))
        .collect();
    let filter = match request.number()? {
        0 => None,
        _ => Some(Filter::parse(request.bytes_counted()?)?),
    };
    let count = request.number()? as usize;
    let namespaces = (0..count).map(|_| request.text());
    let namespaces = namespaces.collect::<Result<Vec<&str>, Error>>()?;
    let query = Query {
        scorer: Scorer::new(index.metric, vector),
        k,
        filter: filter.as_ref(),
        filter_jsonb: None,
        parts: Parts {
            values: false,
            metadata: false,
        },
    };
    let mut answer = vec![0; count.div_ceil(8)];
    let mut best = Best::new(&query);
    take_pieces(shared, count, &mut best, |best, place| {
        let select = [Privilege::Select];
        match reach(&index, namespaces[place], LockMode::AccessShare, &select)? {
            Reached::Missing => Ok(()),
            Reached::Sql => {
                answer[place / 8] |= 1 << (place % 8);
                Ok(())
            }
            Reached::Direct(leaf) => look_into_leaf(&index, leaf, place, best, true),
        }
    })?;
    for candidate in best.into_candidates() {
        encode_candidate(&candidate, &mut answer);
    }
    Ok(answer)
}

/// What a worker needs to know.
fn encode_request(index: &Index, namespaces: &[impl AsRef<str>], query: &Query<'_>) -> Vec<u8> {
    let mut request = Vec::new();
    put_counted(&mut request, index.name.as_bytes());
    put_number(&mut request, query.k);
    let vector = query.scorer.query().iter();
    let vector: Vec<u8> = vector.flat_map(|element| element.to_le_bytes()).collect();
    put_counted(&mut request, &vector);
    put_number(&mut request, usize::from(query.filter_jsonb.is_some()));
    if let Some(filter) = query.filter_jsonb {
        put_counted(&mut request, filter);
    }
    put_number(&mut request, namespaces.len());
    for namespace in namespaces {
        put_counted(&mut request, namespace.as_ref().as_bytes());
    }
    request
}

/// A row: its key, the place of its namespace, the file and where it lies there, its id after its length.
const MOST_OF_CANDIDATE: usize = 8 + 4 + 4 + 4 + 4 + 4 + rules::MAX_ID_BYTES;

fn encode_candidate(candidate: &Candidate, answer: &mut Vec<u8>) {
    let Some(RowPlace { file, tid }) = candidate.row_place() else {
        return; // read by SQL, which workers do not
    };
    answer.extend(candidate.key.to_bits().to_le_bytes());
    put_number(answer, candidate.place);
    answer.extend(file.to_le_bytes());
    answer.extend(tid.block.to_le_bytes());
    answer.extend(u32::from(tid.offset).to_le_bytes());
    put_counted(answer, candidate.id.as_bytes());
}

fn decode_candidate(answer: &mut Reader<'_>) -> Result<Candidate, Error> {
    let bits = answer.bytes(size_of::<u64>())?.try_into();
    let key = f64::from_bits(u64::from_le_bytes(bits.unwrap_or_default()));
    let place = answer.number()? as usize;
    let row = RowPlace {
        file: answer.number()?,
        tid: Tid {
            block: answer.number()?,
            offset: answer.number()? as u16,
        },
    };
    Ok(Candidate::at(key, answer.text()?, place, row))
}

fn put_number(to: &mut Vec<u8>, number: usize) {
    to.extend((number as u32).to_le_bytes());
}

/// Bytes after their number.
fn put_counted(to: &mut Vec<u8>, bytes: &[u8]) {
    put_number(to, bytes.len());
    to.extend(bytes);
}

/// The rest of what another process of this server has written.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, Error> {
        let bytes = self.bytes(size_of::<u32>())?;
        Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    fn bytes_counted(&mut self) -> Result<&'a [u8], Error> {
        let count = self.number()?;
        self.bytes(count as usize)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes_counted()?).map_err(|_| cut())
    }
}

fn cut() -> Error {
    Error::Corrupted {
        what: "a message between workers that is cut short".into(),
    }
}
