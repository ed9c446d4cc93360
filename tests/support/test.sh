#!/usr/bin/env bash
# `make test`: every suite, on each PostgreSQL of VERSIONS; ends with the sum of what passed and failed.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

logs=$target/test-logs
summary=$logs/summary
passed=0 failed=0 skipped=0
newer_bin= # programs of a newer PostgreSQL with Conifer in it, once there are some: pg_upgrade goes there

# Reads a runner's own closing lines: cargo's, pg_regress's of 15 and of 16 on, pytest's. Prints passed, failed, skipped.
count() {
  awk '
    function number(text, word) { return match(text, "[0-9]+ " word) ? substr(text, RSTART) + 0 : 0 }
    /^test result: / { p += number($0, "passed"); f += number($0, "failed"); s += number($0, "ignored") }
    /^(=+ )?([0-9]+ [a-z]+, )*[0-9]+ (passed|failed|skipped|errors?)[, ].*in [0-9.]+s/ {
      p += number($0, "passed"); f += number($0, "failed") + number($0, "error"); s += number($0, "skipped") }
    /^(ok [0-9]+ |(test )?[^ ]+ +\.\.\. ok +[0-9]+ ms)/ { p++ }
    /^(not ok [0-9]+ |(test )?[^ ]+ +\.\.\. FAILED +[0-9]+ ms)/ { f++ }
    END { print p + 0, f + 0, s + 0 }' "$1"
}

# Runs one suite to its end, whatever it finds, and adds its counts.
suite() {
  local name=$1 log p f s
  shift
  log=$logs/$(tr -c 'a-z0-9\n' - <<<"$name").log
  timed "$name" logged "$log" "$@"
  read -r p f s < <(count "$log")
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  if [ "$status" = 0 ] && [ $((p + f)) = 0 ]; then f=1; fi # a suite that ran nothing has not passed
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%6d passed %4d failed %4d skipped   %s\n' "$p" "$f" "$s" "$name" >>"$summary"
}

logged() {
  local log=$1
  shift
  "$@" 2>&1 | tee "$log"
}

pgrx_tests() {
  local options=() data
  data=$(mktemp -d /tmp/conifer.XXXXXX)
  # shellcheck disable=SC2064 # the directory's name now, not later
  trap "rm -rf '$data'" EXIT
  if is_root; then
    chown "$(server_user)" "$data"
    options+=(--runas "$(server_user)")
  fi
  cargo pgrx test "$pg" --pgdata "$data" "${options[@]}"
}

# What `cargo pgrx regress` does, which cannot start its server as root: setup.sql first, then every file by name.
regress() {
  local dir=$repo/tests/pg_regress launcher name names=()
  [ ! -f "$dir/sql/setup.sql" ] || names+=(setup)
  for name in "$dir"/sql/*.sql; do
    name=$(basename "$name" .sql)
    [ "$name" = setup ] || names+=("$name")
  done
  start_server "-c client_min_messages=warning"
  "$server_bin/createdb" conifer_regress
  launcher=$logs/psql_terse.sh
  # shellcheck disable=SC2016 # the script's own arguments
  printf '#!/bin/sh\nexec "$@" -v VERBOSITY=terse\n' >"$launcher"
  chmod +x "$launcher"
  cd "$dir"
  "$("$server_config" --pkglibdir)/pgxs/src/test/regress/pg_regress" --host "$PGHOST" --user postgres --bindir "$server_bin" \
    --use-existing --dbname conifer_regress --inputdir "$dir" --outputdir "$dir" --launcher "$launcher" "${names[@]}" || {
    cat "$dir/regression.diffs"
    return 1
  }
}

isolation_tester() {
  echo "$("$server_config" --pkglibdir)/pgxs/src/test/isolation/pg_isolation_regress"
}

# Sessions whose steps are interleaved as tests/isolation/specs says, on a server of their own.
isolation() {
  local dir=$repo/tests/isolation name names=()
  for name in "$dir"/specs/*.spec; do names+=("$(basename "$name" .spec)"); done
  start_server "-c max_prepared_transactions=4"
  "$server_bin/createdb" conifer_isolation
  "$server_bin/psql" -qd conifer_isolation -c "CREATE EXTENSION conifer"
  cd "$dir"
  "$(isolation_tester)" --host "$PGHOST" --user postgres --bindir "$server_bin" --use-existing --dbname conifer_isolation \
    --inputdir "$dir" --outputdir "$dir" "${names[@]}" || {
    cat "$dir/regression.diffs"
    return 1
  }
}

# The Python tests of one folder, on a server of their own.
pytests() {
  local folder=$1 python
  python=$(venv)/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check -r "$repo/tests/client/requirements.txt" -r "$repo/$folder/requirements.txt"
  start_server ""
  "$server_bin/createdb" conifer_client
  cd "$repo"
  PATH=$server_bin:$PATH PYTHONDONTWRITEBYTECODE=1 CONIFER_TEST_DSN="host=$PGHOST user=postgres dbname=conifer_client" \
    CONIFER_TEST_BIN=$server_bin CONIFER_TEST_BIN_NEWER=$newer_bin "$python" -m pytest -p no:cacheprovider -q -rs "$folder"
}

# All suites that need a server, on one PostgreSQL.
test_version() {
  local major=$1 chosen
  chosen=$(choose_pg_config_of "$major")
  if [ -z "$chosen" ]; then
    say "PostgreSQL $major is neither here nor to be had: its suites are skipped (apt-get install postgresql-$major postgresql-server-dev-$major)"
    printf '   not run: no PostgreSQL %s here\n' "$major" >>"$summary"
    return
  fi
  say "using $("$chosen" --version) of $chosen"
  copy=$(private_copy "$chosen")
  use_postgres "$copy"
  suite "cargo pgrx test $pg" pgrx_tests
  # the suites below use what a user would install, without the tests' own functions
  step "install Conifer ($pg)" cargo pgrx install --pg-config "$server_config"
  suite "SQL regression $pg" regress
  if [ -x "$(isolation_tester)" ]; then
    suite "isolation $pg" isolation
  else
    printf '   not run: this PostgreSQL %s has no isolation tester\n' "$major" >>"$summary"
  fi
  suite "client tests $pg" pytests tests/client
  suite "bench tests $pg" pytests tests/bench
  suite "torture tests $pg" pytests tests/torture
  newer_bin=${newer_bin:-$server_bin}
}

# The newest and the oldest, and the one that was named.
versions() {
  local named
  named=$(pg_major "${PG_CONFIG:-pg_config}")
  case ${PG_CONFIG:+$named} in
    16 | 17) echo "${VERSIONS:-18 $named 15}" ;;
    *) echo "${VERSIONS:-18 15}" ;;
  esac
}

need_tools
rm -rf "$logs" && mkdir -p "$logs"
suite "algorithm half" env CARGO_TARGET_DIR="$target/pg18" cargo test --no-default-features
for version in $(versions); do
  test_version "$version"
done

printf '\n'
cat "$summary"
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
