//! Conifer: Pinecone-style vector indexes with one namespace per tenant, inside PostgreSQL.
//!
//! Wiring only. `README.md` beside this file tells the layers and walks through an upsert and a query.
//! Without a `pgNN` feature only the algorithm half is built: it needs no server and no PostgreSQL headers.

pub mod error;
pub mod filter;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod index;
pub mod kernel;
pub mod kmeans;
pub mod layout;
pub mod metric;
pub mod quantizer;
pub mod random;
pub mod record;
pub mod stop_point;
pub mod vector;

#[cfg(feature = "postgres")]
mod am;
#[cfg(feature = "postgres")]
mod api;
#[cfg(feature = "postgres")]
mod guc;
#[cfg(feature = "postgres")]
mod namespace;
#[cfg(feature = "postgres")]
mod pg;
#[cfg(feature = "postgres")]
mod scan;
#[cfg(feature = "postgres")]
mod storage;

#[cfg(feature = "postgres")]
pgrx::pg_module_magic!();

/// Runs once per backend when the library is loaded.
#[cfg(feature = "postgres")]
#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    guc::init();
    scan::init();
    namespace::init();
}

/// What `cargo pgrx test` asks of the crate under test.
#[cfg(all(test, feature = "pg_test"))]
pub mod pg_test {
    /// Runs once before the first test.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
