//! The search algorithm's own data structures; so far the bounded heap of the best k.
#![forbid(unsafe_code)]

pub mod topk;
