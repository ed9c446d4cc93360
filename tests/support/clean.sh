#!/usr/bin/env bash
# `make clean`: remove what the other commands built, private copies of PostgreSQL included, and nothing else that may lie
# in a shared CARGO_TARGET_DIR.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

rm -rf "$(copies_dir)" "$target"/{bench,pg15,pg16,pg17,pg18,test-logs,tools,venv} "$repo/target" "$repo/tests/pg_regress/results"
rm -f "$repo"/tests/pg_regress/regression.*
