//! Casts between Conifer's `vector` and pgvector's, where both are installed.
//!
//! The two types have the same bytes, so the casts need no function. They are made when Conifer is created in a database that
//! has pgvector, and by `conifer_install_pgvector_casts()` where pgvector came later. They belong to neither extension:
//! were they members of Conifer, `DROP EXTENSION vector CASCADE` would take Conifer and its indexes with it. So
//! dropping either extension drops just the casts (it asks for CASCADE), and pg_dump dumps them. Values above pgvector's 16,000
//! dimensions pass, and are for its operators to judge.
#![forbid(unsafe_code)]

use crate::pg::transaction;
use pgrx::spi::{Spi, SpiError, SpiResult};
use pgrx::{extension_sql_file, pg_extern};

extension_sql_file!(
    "../../sql/pgvector_casts.sql",
    name = "pgvector_casts",
    requires = ["vector_type", "casts", conifer_install_pgvector_casts]
);

/// The two types as quoted, qualified names: Conifer's and pgvector's.
const TYPES: &str = "
    SELECT pg_catalog.format('%I.vector', ours.nspname), pg_catalog.format('%I.vector', theirs.nspname)
      FROM pg_catalog.pg_extension AS conifer
      JOIN pg_catalog.pg_namespace AS ours ON ours.oid OPERATOR(pg_catalog.=) conifer.extnamespace,
           pg_catalog.pg_extension AS pgvector
      JOIN pg_catalog.pg_namespace AS theirs ON theirs.oid OPERATOR(pg_catalog.=) pgvector.extnamespace
     WHERE conifer.extname OPERATOR(pg_catalog.=) 'conifer' AND pgvector.extname OPERATOR(pg_catalog.=) 'vector'";

/// Whether a cast exists, and whether the running script of an extension has just taken it as a member.
const CAST: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_depend
                    WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_cast'::pg_catalog.regclass
                      AND objid OPERATOR(pg_catalog.=) pg_cast.oid
                      AND deptype OPERATOR(pg_catalog.=) 'e'::\"char\")
      FROM pg_catalog.pg_cast
     WHERE castsource OPERATOR(pg_catalog.=) $1::pg_catalog.regtype
       AND casttarget OPERATOR(pg_catalog.=) $2::pg_catalog.regtype";

#[pg_extern(volatile, parallel_unsafe)]
fn conifer_install_pgvector_casts() -> SpiResult<bool> {
    transaction::begin_write(c"conifer_install_pgvector_casts()");
    let (Some(ours), Some(theirs)) = some_row(Spi::get_two::<String, String>(TYPES))? else {
        return Ok(false);
    };
    install(&ours, &theirs)?;
    install(&theirs, &ours)?;
    Ok(true)
}

fn install(from: &str, to: &str) -> SpiResult<()> {
    if is_member(from, to)?.is_some() {
        return Ok(());
    }
    Spi::run(&format!(
        "CREATE CAST ({from} AS {to}) WITHOUT FUNCTION AS ASSIGNMENT"
    ))?;
    if is_member(from, to)? == Some(true) {
        Spi::run(&format!(
            "ALTER EXTENSION conifer DROP CAST ({from} AS {to})"
        ))?;
    }
    Ok(())
}

fn is_member(from: &str, to: &str) -> SpiResult<Option<bool>> {
    some_row(Spi::get_one_with_args(CAST, &[from.into(), to.into()]))
}

/// No row is no error but nulls.
fn some_row<T: Default>(row: SpiResult<T>) -> SpiResult<T> {
    match row {
        Err(SpiError::InvalidPosition) => Ok(T::default()),
        row => row,
    }
}
