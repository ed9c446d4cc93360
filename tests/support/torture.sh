#!/usr/bin/env bash
# `make torture`: every torture test at full length, on each PostgreSQL of VERSIONS; ends with a report of what was found.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

results=$target/torture
failed=()
newer_bin= # as in test.sh

# One part, whatever it finds.
part() {
  timed "$@"
  [ "$status" = 0 ] || failed+=("$1")
}

logged() {
  local log=$1
  shift
  "$@" 2>&1 | tee "$log"
}

# Torture tests on what is installed: pytest's arguments.
torture_tests() {
  local python
  python=$(venv)/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check -r "$repo/tests/client/requirements.txt"
  cd "$repo"
  PYTHONDONTWRITEBYTECODE=1 CONIFER_TEST_BIN=$server_bin CONIFER_TEST_BIN_NEWER=$newer_bin TORTURE_FULL=1 TORTURE_RESULTS=$results/$pg \
    "$python" -m pytest -p no:cacheprovider -q -rs "$@"
}

torture_version() {
  local chosen
  chosen=$(choose_pg_config_of "$1")
  [ -n "$chosen" ] || { say "no PostgreSQL $1 here" && return; }
  use_postgres "$(private_copy "$chosen")"
  mkdir -p "$results/$pg"
  step "install Conifer ($pg, release)" cargo pgrx install --release --pg-config "$server_config"
  part "torture tests $pg" torture_tests tests/torture
  # Stop points are in debug builds alone.
  step "install Conifer ($pg, debug)" cargo pgrx install --pg-config "$server_config"
  part "stop points $pg" torture_tests tests/torture -k stop_point
  newer_bin=${newer_bin:-$server_bin}
}

need_tools
rm -rf "$results" && mkdir -p "$results"
for version in ${VERSIONS:-18 15}; do
  torture_version "$version"
done
for script in fuzz miri valgrind deny; do
  part "$script" logged "$results/$script.log" "$repo/tests/support/$script.sh"
done
"$(venv)/bin/python" "$repo/tests/torture/report.py" "$results" "${failed[@]}" | tee "$results/report.md"
[ ${#failed[@]} = 0 ]
