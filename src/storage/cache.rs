//! What this backend remembers of indexes between statements: their state, which the meta page's numbers say is still right.
#![forbid(unsafe_code)]

use super::PgPages;
use crate::error::Error;
use crate::index::state::IndexState;
use crate::layout::meta::Meta;
use crate::pg::index_relation::FileId;
use crate::pg::relation::Oid;
use crate::quantizer::Quantizer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that states may take; past it all are forgotten, and read again when used.
const MOST_BYTES: usize = 16 << 20;

#[derive(Default)]
struct Cache {
    states: HashMap<Oid, (FileId, IndexState)>,
    /// The rotations of indexes, shared by those of one dimension and seed.
    quantizers: HashMap<(u32, u64), Arc<Quantizer>>,
    bytes: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// An index's state as of now; what its first page says of its vectors must be what `expected` does.
pub fn state(
    pages: &PgPages<'_>,
    expected: impl Fn() -> Result<Meta, Error>,
) -> Result<IndexState, Error> {
    let (oid, file) = (pages.relation().oid(), pages.relation().file_id());
    let known = CACHE.with_borrow_mut(|cache| match cache.states.remove(&oid) {
        Some((known, state)) if known == file => Some(state),
        _ => None,
    });
    let state = match known {
        Some(mut state) => {
            state.refresh(pages)?;
            state
        }
        None => {
            let state = read(pages)?;
            state.meta.check_like(&expected()?)?;
            state
        }
    };
    // Not the state that was there: an error in between leaves nothing behind.
    CACHE.with_borrow_mut(|cache| {
        if cache.bytes > MOST_BYTES {
            *cache = Cache::default();
        }
        cache.states.insert(oid, (file, state.clone()));
    });
    Ok(state)
}

fn read(pages: &PgPages<'_>) -> Result<IndexState, Error> {
    let mut state = IndexState::read(pages)?;
    let key = (state.meta.dimension, state.meta.seed);
    CACHE.with_borrow_mut(|cache| {
        cache.bytes += state.bytes();
        let shared = cache
            .quantizers
            .entry(key)
            .or_insert_with(|| Arc::clone(&state.quantizer));
        state.quantizer = Arc::clone(shared);
    });
    Ok(state)
}

/// Forgets an index whose description has changed (or, None, all).
pub fn forget(relation: Option<Oid>) {
    CACHE.with_borrow_mut(|cache| match relation {
        Some(oid) => drop(cache.states.remove(&oid)),
        None => *cache = Cache::default(),
    });
}
