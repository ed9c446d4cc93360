#!/usr/bin/env bash
# What crates Conifer is made of, by deny.toml: licences and origins, and with a network also advisories.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deny_wanted=0.20.2

need_deny() {
  PATH=$target/tools/bin:$PATH
  [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $deny_wanted" ] || return 0
  step "install cargo-deny $deny_wanted (some minutes, once)" \
    env CARGO_TARGET_DIR="$target/tools/build" cargo install cargo-deny --version "$deny_wanted" --locked --root "$target/tools"
  rm -rf "$target/tools/build"
}

cd "$repo"
need_rust
need_deny
step "licences, bans, sources" cargo deny --locked --offline check licenses bans sources
timed "advisories" cargo deny --locked fetch db
if [ "$status" = 0 ]; then
  step "advisories" cargo deny --locked check advisories
else
  say "no advisories looked up: RustSec's database is not to be had from here"
fi
