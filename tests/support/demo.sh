#!/usr/bin/env bash
# `make demo`: build and install Conifer into a private copy of PostgreSQL, and play a tenant's life on a throw-away server.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

play() {
  start_server ""
  "$server_bin/psql" --no-psqlrc --quiet --echo-queries --pset pager=off --set ON_ERROR_STOP=1 -f "$repo/tests/demo/tenant_life.sql"
}

need_tools
chosen=$(choose_pg_config)
say "using $("$chosen" --version) of $chosen"
copy=$(private_copy "$chosen")
use_postgres "$copy"
step "build and install Conifer, release ($pg; some minutes the first time)" \
  cargo pgrx install --release --pg-config "$server_config"
step "a tenant's life" play
