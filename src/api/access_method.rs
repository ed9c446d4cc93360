//! The handler of `CREATE ACCESS METHOD conifer`, and the operator classes.
#![forbid(unsafe_code)]

use crate::am::Conifer;
use crate::pg::index_am;
use pgrx::{Internal, extension_sql_file, pg_extern};

extension_sql_file!(
    "../../sql/access_method.sql",
    name = "access_method",
    requires = ["operators", conifer_handler]
);

#[pg_extern(sql = "
CREATE FUNCTION conifer_handler(internal) RETURNS index_am_handler
    LANGUAGE c AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
")]
fn conifer_handler() -> Internal {
    // The declared argument marks it as no function for users; PostgreSQL calls handlers without one.
    index_am::routine::<Conifer>()
}
