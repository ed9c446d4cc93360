//! All `conifer.*` settings.
#![forbid(unsafe_code)]

/// Registers the settings.
pub fn init() {}
