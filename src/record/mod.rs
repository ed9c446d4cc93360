//! What a record is made of, and how it comes in and goes out: rules and limits, metadata as stored, JSON of both directions.
#![forbid(unsafe_code)]

pub mod json;
pub mod jsonb;
pub mod metadata;
pub mod response;
pub mod rules;
