//! (to be written)

/// Called once when the library is loaded.
pub fn init() {}
