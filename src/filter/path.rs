//! Where in a filter an error lies, written as a JSON path: `$.genre.$in[2]`.
#![forbid(unsafe_code)]

use crate::error::Error;
use std::fmt;

/// Longest name shown of a field, in characters.
const SHOWN: usize = 64;

/// A place in a filter. It borrows the way to it, so that nothing is written down unless there is an error.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The whole filter.
    Root,
    /// The value of a key.
    Key(&'a Path<'a>, &'a [u8]),
    /// An element of a list, counted from 0.
    Element(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub fn key(&'a self, name: &'a [u8]) -> Self {
        Self::Key(self, name)
    }

    pub fn element(&'a self, index: usize) -> Self {
        Self::Element(self, index)
    }

    /// The error that what stands here is not of the language.
    pub fn refused(&self, problem: impl Into<String>) -> Error {
        Error::InvalidFilter {
            path: self.to_string(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => to.write_str("$"),
            Self::Element(parent, index) => write!(to, "{parent}[{index}]"),
            Self::Key(parent, name) => {
                let name = String::from_utf8_lossy(name);
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
                let shown = match name.char_indices().nth(SHOWN) {
                    Some((end, _)) => format!("{}…", &name[..end]),
                    None => name.to_string(),
                };
                if !name.is_empty() && name.chars().all(plain) {
                    write!(to, "{parent}.{shown}")
                } else {
                    write!(to, "{parent}.{shown:?}") // as jsonpath quotes a key
                }
            }
        }
    }
}
