//! The search algorithm's own data structures; so far the bounded heap of the best k.

pub mod topk;
