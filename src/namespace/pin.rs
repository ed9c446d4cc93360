//! The namespace that a session is pinned to, by the setting `conifer.namespace`: the functions then know no other.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::guc;
use crate::record::rules;

/// Its canonical name; None if the session is not pinned.
pub fn pinned() -> Result<Option<String>, Error> {
    match guc::namespace() {
        Some(name) if !name.is_empty() => Ok(Some(rules::canonical_namespace(&name)?.into_owned())),
        _ => Ok(None),
    }
}

/// Refuses every namespace (canonical name) but the pinned one, whether it is there or not.
pub fn check(namespace: &str) -> Result<(), Error> {
    match pinned()? {
        Some(pinned) if pinned != namespace => Err(Error::Pinned { namespace: pinned }),
        _ => Ok(()),
    }
}

/// Refuses what is about all namespaces of an index.
pub fn check_unpinned() -> Result<(), Error> {
    match pinned()? {
        Some(namespace) => Err(Error::Pinned { namespace }),
        None => Ok(()),
    }
}
