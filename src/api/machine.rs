//! What Conifer found of the machine it runs on.
#![forbid(unsafe_code)]

use crate::kernel::kernels;
use pgrx::pg_extern;

/// Which instruction set computes distances here. Not immutable: the next server may have another CPU.
#[pg_extern(stable, parallel_safe)]
fn conifer_simd() -> &'static str {
    kernels().name
}
