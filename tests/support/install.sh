#!/usr/bin/env bash
# `make install PG_CONFIG=…`: build Conifer for release and install it into an existing PostgreSQL.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

chosen=${PG_CONFIG:-$(command -v pg_config)} || die "say which PostgreSQL: make install PG_CONFIG=/path/to/pg_config"
PG_CONFIG=$chosen
chosen=$(choose_pg_config)
need_tools
use_postgres "$chosen"
options=()
if ! [ -w "$("$chosen" --pkglibdir)" ] || ! [ -w "$("$chosen" --sharedir)/extension" ]; then
  have sudo || die "$("$chosen" --pkglibdir) is not writable: run make install as its owner"
  options+=(--sudo)
fi
step "build and install Conifer, release ($pg; some minutes the first time)" \
  cargo pgrx install --release --pg-config "$chosen" "${options[@]}"
cat <<END

Conifer is installed in $("$chosen" --version). Nothing needs preloading or a restart. Next, as a superuser in psql:

  CREATE EXTENSION conifer;
  SELECT pc_create_index('products', 384);

README.md goes on from there.
END
