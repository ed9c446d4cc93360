//! Which table of kernels this process uses: chosen once, by what the CPU can do.
#![forbid(unsafe_code)]

use super::{Kernels, scalar};
use std::sync::OnceLock;

/// The kernels of this process: the fastest the CPU has.
///
/// The environment variable `CONIFER_SIMD` (`scalar`, `avx2`, `avx512`, `neon`), read at the first call, asks for
/// another; if the CPU lacks it, or there is no such name, the fastest is used. `Kernels::name` tells which it is.
#[must_use]
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(std::env::var("CONIFER_SIMD").ok().as_deref()))
}

pub(crate) fn choose(wanted: Option<&str>) -> &'static Kernels {
    let available = available();
    available
        .iter()
        .find(|table| Some(table.name) == wanted)
        .or(available.first())
        .copied()
        .unwrap_or_else(scalar::table)
}

/// All tables this CPU can run, the fastest first.
pub(super) fn available() -> Vec<&'static Kernels> {
    [simd(), vec![scalar::table()]].concat()
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<&'static Kernels> {
    [super::x86_64::avx512(), super::x86_64::avx2()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(target_arch = "aarch64")]
fn simd() -> Vec<&'static Kernels> {
    super::aarch64::neon().into_iter().collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn simd() -> Vec<&'static Kernels> {
    Vec::new()
}
