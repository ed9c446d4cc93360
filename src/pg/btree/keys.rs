//! Scan keys of B-tree indexes on fields of metadata.

use super::Keys;
use crate::pg::relation::Relation;
use crate::pg::varlena::{HEADER, NewVarlena};
use pgrx::pg_sys::{self, Datum, ScanKeyData};

/// What one or two scans are to be asked. In the order of float8 nothing is above NaN, which stands for lists: a range with an upper bound leaves it out, and
/// a scan of its own finds it.
pub(super) struct ScanKeys {
    first: Vec<ScanKeyData>,
    /// The same, but for NaN in place of the range.
    lists: Option<Vec<ScanKeyData>>,
    arrays: Vec<*mut pg_sys::ArrayType>,
}

/// Does it take more than a comparison for equality?
pub(super) fn is_range(keys: &Keys<'_>) -> bool {
    match keys {
        Keys::Between(Some((from, true)), Some((to, true))) => from != to,
        Keys::Between(..) => true,
        Keys::OneOf(_) => false,
    }
}

impl ScanKeys {
    /// For the first columns of an index; only the last may be a range.
    pub(super) fn of(index: &Relation, keys: &[&Keys<'_>]) -> Self {
        let mut built = Self {
            first: Vec::with_capacity(keys.len() + 1),
            lists: None,
            arrays: Vec::new(),
        };
        for (place, keys) in keys.iter().enumerate() {
            built.add(index, place, keys);
        }
        built
    }

    fn add(&mut self, index: &Relation, place: usize, keys: &Keys<'_>) {
        let key = |flags, strategy, function, argument| {
            key_of(index, place, flags, strategy, function, argument)
        };
        let equal = pg_sys::BTEqualStrategyNumber;
        match keys {
            Keys::OneOf(strings) => {
                let array = array_of_texts(strings);
                self.arrays.push(array);
                let one_of = pg_sys::SK_SEARCHARRAY;
                self.first
                    .push(key(one_of, equal, pg_sys::F_TEXTEQ, Datum::from(array)));
            }
            Keys::Between(Some((from, true)), Some((to, true))) if from == to => {
                let array = array_of_numbers(&[*from, f64::NAN]);
                self.arrays.push(array);
                let one_of = pg_sys::SK_SEARCHARRAY;
                self.first
                    .push(key(one_of, equal, pg_sys::F_FLOAT8EQ, Datum::from(array)));
            }
            Keys::Between(from, to) => {
                let number = |number: f64| Datum::from(number.to_bits());
                if to.is_some() {
                    let mut lists = self.first.clone();
                    lists.push(key(0, equal, pg_sys::F_FLOAT8EQ, number(f64::NAN)));
                    self.lists = Some(lists);
                }
                if let Some((from, included)) = from {
                    let (strategy, function) = if *included {
                        (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_FLOAT8GE)
                    } else {
                        (pg_sys::BTGreaterStrategyNumber, pg_sys::F_FLOAT8GT)
                    };
                    self.first.push(key(0, strategy, function, number(*from)));
                }
                if let Some((to, included)) = to {
                    let (strategy, function) = if *included {
                        (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_FLOAT8LE)
                    } else {
                        (pg_sys::BTLessStrategyNumber, pg_sys::F_FLOAT8LT)
                    };
                    self.first.push(key(0, strategy, function, number(*to)));
                }
            }
        }
    }

    /// Calls `scan` with the keys of each scan.
    pub(super) fn each(&mut self, mut scan: impl FnMut(&mut [ScanKeyData])) {
        scan(&mut self.first);
        if let Some(lists) = &mut self.lists {
            scan(lists);
        }
    }
}

impl Drop for ScanKeys {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort frees the memory context
        }
        for array in &self.arrays {
            // SAFETY: allocated here; the scans that were asked are over.
            unsafe { pg_sys::pfree(array.cast()) };
        }
    }
}

fn key_of(
    index: &Relation,
    place: usize,
    flags: u32,
    strategy: u32,
    function: u32,
    argument: Datum,
) -> ScanKeyData {
    let mut key = ScanKeyData::default();
    // SAFETY: the key is ours; the functions are built-in and compare two values of the column's type, of which the argument is one, or an array.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &raw mut key,
            flags as i32,
            (place + 1) as pg_sys::AttrNumber,
            strategy as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            index.collation_of(place),
            pg_sys::Oid::from(function),
            argument,
        );
    }
    key
}

/// Of these and the empty string, which stands for lists.
fn array_of_texts(strings: &[&[u8]]) -> *mut pg_sys::ArrayType {
    let text = |string: &[u8]| {
        let mut text = NewVarlena::zeroed(HEADER + string.len());
        text.bytes_mut()[HEADER..].copy_from_slice(string);
        text.into_datum()
    };
    let strings = strings.iter().copied();
    let mut texts: Vec<Datum> = strings.chain([&[][..]]).map(text).collect();
    // SAFETY: values of type text, which the array takes copies of.
    unsafe {
        let array = pg_sys::construct_array(
            texts.as_mut_ptr(),
            texts.len() as i32,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as core::ffi::c_char,
        );
        for text in texts {
            pg_sys::pfree(text.cast_mut_ptr());
        }
        array
    }
}

fn array_of_numbers(numbers: &[f64]) -> *mut pg_sys::ArrayType {
    let mut numbers: Vec<Datum> = numbers
        .iter()
        .map(|number| Datum::from(number.to_bits()))
        .collect();
    // SAFETY: values of type float8, which are passed by value.
    unsafe {
        pg_sys::construct_array(
            numbers.as_mut_ptr(),
            numbers.len() as i32,
            pg_sys::FLOAT8OID,
            size_of::<f64>() as i32,
            true,
            pg_sys::TYPALIGN_DOUBLE as core::ffi::c_char,
        )
    }
}
