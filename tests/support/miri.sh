#!/usr/bin/env bash
# The algorithm half under Miri, which sees every access outside of what is allocated, every wrong alignment and every use of what is not initialised.
#
# All `unsafe` of that half is in kernel/: its scalar twin is run, and with AVX2 what of x86_64.rs Miri knows the instructions of. Of the rest those tests are
# run that end in some seconds there; tests whose loops are long take fewer rounds under Miri (`cfg!(miri)`).
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

miri() {
  cargo +nightly miri test --no-default-features --lib -- "$@"
}

step "kernels, scalar" env CARGO_TARGET_DIR="$target/miri" "${BASH:-bash}" -c "$(declare -f miri); miri kernel::"
