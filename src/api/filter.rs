//! Functions that take a filter: does metadata pass it, which records do, how many, with which values.
#![forbid(unsafe_code)]

use super::argument::required;
use crate::error::Error;
use crate::filter::Filter;
use crate::namespace::search;
use crate::pg::call_site::CallSite;
use crate::pg::json::JsonbArg;
use crate::pg::report::OrReport;
use pgrx::pg_extern;

/// Does the metadata pass the filter? NULL is the metadata of a record without any.
#[pg_extern(immutable, parallel_safe)]
fn pc_matches(
    metadata: Option<JsonbArg<'_>>,
    filter: Option<JsonbArg<'_>>,
    mut call_site: CallSite<'_>,
) -> bool {
    let mut matches = || -> Result<bool, Error> {
        let filter = required(filter, "filter")?.payload();
        call_site.with(filter, Filter::parse, |filter| {
            search::matches(filter, metadata.map(JsonbArg::payload))
        })?
    };
    matches().or_report()
}
