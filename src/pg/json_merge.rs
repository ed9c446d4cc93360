//! Keys of a `jsonb` object set and removed, by PostgreSQL's own `||` and `-`. It may be done to millions of rows: what one
//! takes is freed before the next.

use super::json::{self, JsonbArg};
use pgrx::{IntoDatum, pg_sys};

/// What is set and what is removed, and the memory it is done in.
pub struct JsonMerge<'a> {
    set: Option<JsonbArg<'a>>,
    /// A text array that lives as long as `scratch`'s parent.
    remove: Option<pg_sys::Datum>,
    scratch: pg_sys::MemoryContext,
}

impl<'a> JsonMerge<'a> {
    /// For as long as the current memory context lives.
    pub fn new(set: Option<JsonbArg<'a>>, remove: Option<&[String]>) -> Self {
        // SAFETY: the name is a static string; the new context goes on drop, or with its parent.
        let scratch = unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"conifer metadata".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        };
        Self {
            set,
            remove: remove.and_then(|keys| keys.to_vec().into_datum()),
            scratch,
        }
    }

    /// Is anything set or removed?
    pub fn changes(&self) -> bool {
        self.set.is_some() || self.remove.is_some()
    }

    /// What becomes of these bytes behind a value's header. None stays none unless something is set.
    pub fn apply(&self, old: Option<&[u8]>) -> Option<Vec<u8>> {
        let start = match (old, self.set) {
            (Some(old), _) => old,
            (None, Some(set)) => set.payload(),
            (None, None) => return None,
        };
        // SAFETY: the functions take jsonb values and a text array, and answer a new jsonb value in the current context,
        // which is ours and is emptied after its bytes are copied out.
        unsafe {
            let previous = pg_sys::MemoryContextSwitchTo(self.scratch);
            let mut value = json::jsonb_from_payload(start);
            if let Some(set) = self.set {
                value = call(pg_sys::F_JSONB_CONCAT, value, set.datum());
            }
            if let Some(keys) = self.remove {
                value = call(pg_sys::F_JSONB_DELETE_JSONB__TEXT, value, keys);
            }
            let merged = json::payload_of_datum(value);
            pg_sys::MemoryContextSwitchTo(previous);
            pg_sys::MemoryContextReset(self.scratch);
            Some(merged)
        }
    }
}

/// # Safety
/// `function` takes two values of the types of these.
unsafe fn call(function: u32, left: pg_sys::Datum, right: pg_sys::Datum) -> pg_sys::Datum {
    let function = pg_sys::Oid::from(function);
    // SAFETY: by the caller's promise.
    unsafe { pg_sys::OidFunctionCall2Coll(function, pg_sys::InvalidOid, left, right) }
}

impl Drop for JsonMerge<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // abort deletes it
        }
        // SAFETY: made in `new`; nothing that was handed out lies in it.
        unsafe { pg_sys::MemoryContextDelete(self.scratch) };
    }
}
