#!/usr/bin/env bash
# Fuzzes every target of tests/fuzz for SECONDS_EACH seconds (300 unless told otherwise), or those named, with AddressSanitizer; then damages
# PAGES pages (1,000,000) of indexes in memory. The targets are left out, and said to be, where cargo-fuzz or a nightly toolchain is missing:
#     cargo install cargo-fuzz --version 0.13.1 --locked && rustup toolchain install nightly
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${SECONDS_EACH:-300}
found=$target/fuzz # what the fuzzer learns and finds is not for the repository

# One target: from its corpus on, new inputs into a folder of their own.
fuzz() {
  local name=$1
  mkdir -p "$found/corpus/$name" "$found/artifacts/$name"
  CARGO_TARGET_DIR=$found/build cargo +nightly fuzz run --fuzz-dir "$repo/tests/fuzz" "$name" "$found/corpus/$name" "$repo/tests/fuzz/corpus/$name" -- \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -artifact_prefix="$found/artifacts/$name/"
}

need_rust
cd "$repo"
broken=()
if cargo +nightly fuzz --version >/dev/null 2>&1; then
  for path in tests/fuzz/fuzz_targets/${1:-*}.rs; do
    name=$(basename "$path" .rs)
    timed "fuzz $name for $seconds s" fuzz "$name"
    [ "$status" = 0 ] || broken+=("$name")
  done
else
  say "cargo-fuzz or the nightly toolchain is missing: the fuzz targets are not run"
fi
timed "damaged pages" env TORTURE_PAGES="${PAGES:-1000000}" CARGO_TARGET_DIR="$target/pg18" \
  cargo test --profile torture --no-default-features --lib damaged_pages -- --nocapture
[ "$status" = 0 ] || broken+=("damaged pages")
[ ${#broken[@]} = 0 ] || die "failed: ${broken[*]}"
