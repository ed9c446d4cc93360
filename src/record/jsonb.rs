//! A reader of PostgreSQL's binary `jsonb` over plain bytes: nothing is copied, every access is checked.
//!
//! The bytes are the datum without its length header (`VARDATA`), in the machine's byte order, as `utils/jsonb.h` lays them
//! out:
//!
//! ```text
//! container  header (u32: count, and flags scalar / object / array)
//!            entries (u32 each): `count` of an array; of an object `count` keys, then `count` values
//!            data of the entries, one after the other
//! entry      bits 0 … 27 length of its data, or, if bit 31 is set, where its data ends
//!            bits 28 … 30 type
//! ```
//!
//! Numbers and containers are aligned to four bytes counted from the container's first data byte; the padding belongs to their
//! length. An object's keys are in the order of (length, bytes). A lone scalar is an array of one with the scalar flag.
//! Bytes that break these rules give [`Error::Corrupted`].
#![forbid(unsafe_code)]

use crate::error::Error;

mod number;
pub use number::Number;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod build;
#[cfg(test)]
mod tests;

const COUNT_MASK: u32 = 0x0fff_ffff;
const SCALAR: u32 = 0x1000_0000;
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

const LENGTH_MASK: u32 = 0x0fff_ffff;
const TYPE_MASK: u32 = 0x7000_0000;
const HAS_OFFSET: u32 = 0x8000_0000;

const TYPE_STRING: u32 = 0x0000_0000;
const TYPE_NUMBER: u32 = 0x1000_0000;
const TYPE_FALSE: u32 = 0x2000_0000;
const TYPE_TRUE: u32 = 0x3000_0000;
const TYPE_NULL: u32 = 0x4000_0000;
const TYPE_CONTAINER: u32 = 0x5000_0000;

fn corrupted(what: &str) -> Error {
    Error::Corrupted {
        what: format!("jsonb {what}"),
    }
}

/// A value inside a `jsonb`.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// A string in the server's encoding.
    String(&'a [u8]),
    /// A number, not yet decoded.
    Number(Number<'a>),
    /// `true` or `false`
    Bool(bool),
    /// A list.
    Array(Array<'a>),
    /// Keys and values.
    Object(Object<'a>),
}

impl Value<'_> {
    /// What it is, with its article, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::String(_) => "a string",
            Self::Number(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The value that a whole `jsonb` is.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Error> {
    let (header, value) = container(bytes)?;
    match value {
        Value::Array(array) if header & SCALAR != 0 => array
            .iter()
            .next()
            .unwrap_or_else(|| Err(corrupted("scalar is missing"))),
        value => Ok(value),
    }
}

fn container(bytes: &[u8]) -> Result<(u32, Value<'_>), Error> {
    let header = word(bytes, 0)?;
    let count = (header & COUNT_MASK) as usize;
    let entries = |number: usize| -> Result<Entries<'_>, Error> {
        let (table, data) = bytes[4..]
            .split_at_checked(number * 4)
            .ok_or_else(|| corrupted("is shorter than its entries"))?;
        Ok(Entries { table, data })
    };
    let value = match header & (OBJECT | ARRAY) {
        OBJECT => Value::Object(Object {
            entries: entries(count * 2)?,
            count,
        }),
        ARRAY => Value::Array(Array {
            entries: entries(count)?,
            count,
        }),
        _ => return Err(corrupted("is neither object nor array")),
    };
    Ok((header, value))
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Error> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(|word| u32::from_ne_bytes(*word))
        .ok_or_else(|| corrupted("ends early"))
}

/// The entries of one container and the data they speak of.
#[derive(Clone, Copy, Debug)]
struct Entries<'a> {
    table: &'a [u8],
    data: &'a [u8],
}

impl<'a> Entries<'a> {
    fn entry(&self, index: usize) -> Result<u32, Error> {
        word(self.table, index * 4)
    }

    /// Where the data of an entry begins: the end of the nearest earlier entry that stores an offset (one in 32 does), and
    /// the lengths of those between.
    fn start(&self, index: usize) -> Result<usize, Error> {
        let mut start = 0usize;
        for earlier in (0..index).rev() {
            let entry = self.entry(earlier)?;
            start = start.saturating_add((entry & LENGTH_MASK) as usize);
            if entry & HAS_OFFSET != 0 {
                break;
            }
        }
        Ok(start)
    }

    /// The data of an entry that begins at `start`, and where it ends.
    fn data(&self, entry: u32, start: usize) -> Result<(&'a [u8], usize), Error> {
        let number = (entry & LENGTH_MASK) as usize;
        let end = if entry & HAS_OFFSET != 0 {
            number
        } else {
            start.saturating_add(number)
        };
        let data = self.data.get(start..end);
        Ok((
            data.ok_or_else(|| corrupted("entry is out of bounds"))?,
            end,
        ))
    }

    /// The value of entry `index`, whose data begins at `start`, and where it ends.
    fn value(&self, index: usize, start: usize) -> Result<(Value<'a>, usize), Error> {
        let entry = self.entry(index)?;
        let (data, end) = self.data(entry, start)?;
        // Alignment is counted from the container's data, which `start` is relative to.
        let padding = start.next_multiple_of(4) - start;
        let aligned = || {
            data.get(padding..)
                .ok_or_else(|| corrupted("entry is shorter than its padding"))
        };
        let value = match entry & TYPE_MASK {
            TYPE_STRING => Value::String(data),
            TYPE_NUMBER => Value::Number(Number::new(aligned()?)?),
            TYPE_FALSE => Value::Bool(false),
            TYPE_TRUE => Value::Bool(true),
            TYPE_NULL => Value::Null,
            TYPE_CONTAINER => container(aligned()?)?.1,
            _ => return Err(corrupted("entry has an unknown type")),
        };
        Ok((value, end))
    }

    fn key(&self, index: usize, start: usize) -> Result<(&'a [u8], usize), Error> {
        match self.value(index, start)? {
            (Value::String(key), end) => Ok((key, end)),
            _ => Err(corrupted("key is not a string")),
        }
    }
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    entries: Entries<'a>,
    count: usize,
}

impl<'a> Array<'a> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its elements. After an error there are no more.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, Error>> + use<'a> {
        let Self { entries, count } = *self;
        let mut start = 0;
        until_error((0..count).map(move |index| {
            let (value, end) = entries.value(index, start)?;
            start = end;
            Ok(value)
        }))
    }
}

/// Keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    entries: Entries<'a>,
    /// Of pairs.
    count: usize,
}

impl<'a> Object<'a> {
    /// How many pairs it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value of a key, by binary search.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'a>>, Error> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, _) = self.entries.key(middle, self.entries.start(middle)?)?;
            match (found.len(), found).cmp(&(key.len(), key)) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let index = self.count + middle;
                    let start = self.entries.start(index)?;
                    return Ok(Some(self.entries.value(index, start)?.0));
                }
            }
        }
        Ok(None)
    }

    /// Its pairs in the order they are stored. After an error there are no more.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&'a [u8], Value<'a>), Error>> + use<'a> {
        let Self { entries, count } = *self;
        let mut starts = entries.start(count).map(|value_start| (0, value_start));
        until_error((0..count).map(move |index| {
            let (key_start, value_start) = starts.clone()?;
            let (key, key_end) = entries.key(index, key_start)?;
            let (value, value_end) = entries.value(count + index, value_start)?;
            starts = Ok((key_end, value_end));
            Ok((key, value))
        }))
    }
}

fn until_error<T>(
    items: impl Iterator<Item = Result<T, Error>>,
) -> impl Iterator<Item = Result<T, Error>> {
    let mut failed = false;
    items.take_while(move |item| {
        let go_on = !failed;
        failed |= item.is_err();
        go_on
    })
}
