//! What the current database's copy of the extension is made of: its operators and functions, by identity and never by name
//! alone, for another extension with the same names may be installed beside it.

use super::{compat, extension};
use core::cell::Cell;
use core::ffi::{CStr, c_int};
use pgrx::pg_guard;
use pgrx::pg_sys::{self, SysCacheIdentifier};

/// The OID of a function, as an opaque value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(u32);

impl FunctionId {
    pub(super) fn of(oid: pg_sys::Oid) -> Self {
        Self(oid.to_u32())
    }

    /// For tests that need some identity.
    #[cfg(test)]
    pub const fn fake(number: u32) -> Self {
        Self(number)
    }
}

thread_local! {
    /// Counts changes of `pg_operator` as far as this backend has heard of them.
    static GENERATION: Cell<u64> = const { Cell::new(1) };
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

/// What was looked up once per backend, and is again after the extension was made or dropped.
struct Known<T> {
    found: Cell<Option<T>>,
    /// The generation `found` belongs to; none is 0.
    generation: Cell<u64>,
}

impl<T: Copy> Known<T> {
    const fn new() -> Self {
        Self {
            found: Cell::new(None),
            generation: Cell::new(0),
        }
    }

    fn get(&self, look_up: impl FnOnce() -> Option<T>) -> Option<T> {
        listen();
        let generation = GENERATION.get();
        if self.generation.get() != generation {
            self.found.set(look_up());
            // Not the number after the lookup: what changed during it may have been missed.
            self.generation.set(generation);
        }
        self.found.get()
    }
}

/// A function of the extension, by its name and the types of its arguments.
pub struct NamedFunction {
    name: &'static CStr,
    arguments: [pg_sys::Oid; 2],
    known: Known<FunctionId>,
}

impl NamedFunction {
    /// Of two `jsonb`.
    pub const fn of_two_jsonb(name: &'static CStr) -> Self {
        Self::new(name, [pg_sys::JSONBOID; 2])
    }

    /// Of `jsonb` and `text`.
    pub const fn of_jsonb_and_text(name: &'static CStr) -> Self {
        Self::new(name, [pg_sys::JSONBOID, pg_sys::TEXTOID])
    }

    const fn new(name: &'static CStr, arguments: [pg_sys::Oid; 2]) -> Self {
        Self {
            name,
            arguments,
            known: Known::new(),
        }
    }

    /// Nothing if the extension is not (wholly) in this database.
    pub fn get(&self) -> Option<FunctionId> {
        self.known.get(|| {
            let schema = extension::schema_oid()?;
            // SAFETY: copies so many OIDs into the current memory context.
            let arguments = unsafe {
                pg_sys::buildoidvector(self.arguments.as_ptr(), self.arguments.len() as c_int)
            };
            let function = cached_oid(
                SysCacheIdentifier::PROCNAMEARGSNSP,
                pg_sys::Anum_pg_proc_oid,
                [
                    name_datum(self.name),
                    pg_sys::Datum::from(arguments),
                    schema.into(),
                    NONE,
                ],
            )?;
            Some(FunctionId::of(function))
        })
    }
}

/// The functions behind some operators `type OP type` of the extension.
pub struct OperatorFunctions<const N: usize> {
    type_name: &'static CStr,
    operators: [&'static CStr; N],
    known: Known<[FunctionId; N]>,
}

impl<const N: usize> OperatorFunctions<N> {
    /// Nothing is looked up yet.
    pub const fn new(type_name: &'static CStr, operators: [&'static CStr; N]) -> Self {
        Self {
            type_name,
            operators,
            known: Known::new(),
        }
    }

    /// One function for each operator, or nothing if the extension is not (wholly) in this database.
    pub fn get(&self) -> Option<[FunctionId; N]> {
        self.known.get(|| self.look_up())
    }

    fn look_up(&self) -> Option<[FunctionId; N]> {
        // SAFETY: planning runs inside a transaction.
        let schema = unsafe { compat::extension_schema(extension::oid()?) };
        let element = cached_oid(
            SysCacheIdentifier::TYPENAMENSP,
            pg_sys::Anum_pg_type_oid,
            [name_datum(self.type_name), schema.into(), NONE, NONE],
        )?;
        let mut functions = [FunctionId(0); N];
        for (function, name) in functions.iter_mut().zip(self.operators) {
            let operator = cached_oid(
                SysCacheIdentifier::OPERNAMENSP,
                pg_sys::Anum_pg_operator_oid,
                [
                    name_datum(name),
                    element.into(),
                    element.into(),
                    schema.into(),
                ],
            )?;
            // SAFETY: a catalog lookup by value inside a transaction (planning needs one).
            *function = FunctionId::of(unsafe { pg_sys::get_opcode(operator) });
        }
        Some(functions)
    }
}

const NONE: pg_sys::Datum = pg_sys::Datum::null();

fn name_datum(name: &'static CStr) -> pg_sys::Datum {
    pg_sys::Datum::from(name.as_ptr())
}

fn cached_oid(
    cache: SysCacheIdentifier::Type,
    oid_column: u32,
    keys: [pg_sys::Datum; 4],
) -> Option<pg_sys::Oid> {
    let [first, second, third, fourth] = keys;
    // SAFETY: the keys are of the cache's key types (names as C strings, OIDs by value), which the callers above see
    // to; the cache copies nothing out but the OID.
    let oid = unsafe {
        pg_sys::GetSysCacheOid(
            cache as c_int,
            oid_column as pg_sys::AttrNumber,
            first,
            second,
            third,
            fourth,
        )
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// CREATE EXTENSION and DROP EXTENSION add and remove operators, so changes of `pg_operator` are all that matters.
fn listen() {
    if !LISTENING.replace(true) {
        // SAFETY: the callback is a function of this library, which is never unloaded; once per backend.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                SysCacheIdentifier::OPEROID as c_int,
                Some(operators_changed),
                NONE,
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn operators_changed(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    GENERATION.set(GENERATION.get() + 1);
}
