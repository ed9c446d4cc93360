#!/usr/bin/env bash
# The algorithm half under Miri, which sees every access outside of what is allocated, every wrong alignment and every use of what is not initialised.
#
# All `unsafe` of that half is in kernel/: its scalar twin is run, and once more with AVX2, of which Miri knows the instructions. Of the rest those modules
# are run that read bytes by hand and end in minutes there. What is looped over is less under Miri (`cfg!(miri)`), and proptest takes two cases.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$repo"
need_rust
cargo +nightly miri --version >/dev/null 2>&1 || {
  say "not run: no Miri here (rustup toolchain install nightly --component miri,rust-src)"
  exit 0
}
export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2

# Tests whose names have one of these in them; the first word is the folder it builds in, the second are the flags of the compiler.
miri() {
  local folder=$1 flags=$2
  shift 2
  CARGO_TARGET_DIR=$target/$folder RUSTFLAGS=$flags cargo +nightly miri test --no-default-features --lib -- --test-threads=1 "$@"
}

step "Miri: kernels, scalar" miri miri "" kernel::
step "Miri: kernels, AVX2" miri miri-avx2 "-Ctarget-feature=+avx2,+fma" kernel::
# Twenty thousand numbers of JSON take it more than twenty minutes.
step "Miri: bytes and text" miri miri "" layout:: record:: vector:: metric:: random:: error:: --skip the_limit_of_dimensions
