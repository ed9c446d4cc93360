//! The SQL files that make the catalog and describe the functions.
#![forbid(unsafe_code)]

use pgrx::extension_sql_file;

extension_sql_file!("../../sql/catalog.sql", name = "catalog");
