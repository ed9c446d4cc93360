#!/usr/bin/env bash
# `make clean`: remove what the other commands built, private copies of PostgreSQL included.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

rm -rf "$(copies_dir)" "$target" "$repo/tests/pg_regress/results"
rm -f "$repo"/tests/pg_regress/regression.*
