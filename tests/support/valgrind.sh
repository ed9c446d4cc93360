#!/usr/bin/env bash
# The SQL regression suite on a server under valgrind: reads and writes outside of what is allocated, with Conifer in their stack, are errors.
#
# PostgreSQL hands out parts of larger blocks, of which valgrind sees the block alone unless the server was built with USE_VALGRIND: what is seen then is
# what goes beyond malloc's blocks, Rust's own included. Uninitialised values are not looked at: vectors are compared and hashed by instructions that
# valgrind takes for uses of padding. The machine's widest kernels are left out, for valgrind knows no AVX-512. The
# build is a release, as users have it: one with assertions takes several times as long.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

have valgrind || install_packages valgrind

# FILES="setup vector_type" runs some files only, in that order.
names() {
  local name
  if [ -n "${FILES:-}" ]; then
    echo "$FILES"
    return
  fi
  echo setup
  for name in "$repo"/tests/pg_regress/sql/*.sql; do
    name=$(basename "$name" .sql)
    [ "$name" = setup ] || echo "$name"
  done
}

# Runs the files one after the other; what they print is compared by `make test`, here only the server counts. What valgrind wrote is kept if that is amiss.
regress_under_valgrind() {
  local name dir server_program
  dir=$(mktemp -d /tmp/conifer-valgrind.XXXXXX)
  mkdir "$dir/logs"
  server_program=$dir/postgres
  {
    echo '#!/bin/sh'
    echo "CONIFER_SIMD=avx2 exec valgrind --trace-children=yes --leak-check=no --undef-value-errors=no --error-limit=no --num-callers=40 \\"
    echo "  --log-file=$dir/logs/%p '$server_bin/postgres' \"\$@\""
  } >"$server_program"
  chmod 755 "$dir" "$server_program"
  chmod 777 "$dir/logs"
  # No compiler at run time: it takes most of the time, and its loading is not ours.
  start_server "-c autovacuum=off -c max_parallel_workers=2 -c jit=off"
  for name in $(names); do
    say "$name"
    "$server_bin/psql" -q -f "$repo/tests/pg_regress/sql/$name.sql" >/dev/null 2>&1 || die "$name ended the server or psql"
    "$server_bin/psql" -Atqc 'SELECT 1' >/dev/null || die "the server is gone after $name"
  done
  as_server "$server_bin/pg_ctl" stop -w -t 300 -s -m fast -D "$server_dir/data"
  report "$dir/logs"
  rm -rf "$dir"
}

# Blocks of errors that name Conifer's library or its functions.
report() {
  local found
  found=$(awk -v RS='==[0-9]+== \n' '/Invalid (read|write|free)|overlap|Mismatched/ && /conifer(\.so|::)/' "$1"/* || true)
  say "$(cat "$1"/* | grep -cE 'Invalid (read|write|free)|Mismatched' || true) errors in all, in $(find "$1" -type f | wc -l) processes"
  [ -z "$found" ] || {
    printf '%s\n' "$found" | head -200
    return 1
  }
}

need_tools
chosen=$(choose_pg_config)
copy=$(private_copy "$chosen")
use_postgres "$copy"
step "install Conifer ($pg, release)" cargo pgrx install --release --pg-config "$server_config"
step "SQL regression under valgrind" regress_under_valgrind
