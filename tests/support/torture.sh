#!/usr/bin/env bash
# `make torture`: every torture test at full length, on each PostgreSQL of VERSIONS, then SCRIPTS; ends with a report of what was found.
# JOBS tests run beside each other, but for those that are of times; TESTS chooses some as pytest's -k does; OUT is where the report goes.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

results=${OUT:-$target/torture}
jobs=${JOBS:-0} # 0: one test after another
scripts=${SCRIPTS-fuzz miri valgrind deny}
timed_tests=ends_when_told # how long something takes is asked of a machine that does nothing else
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

# Torture tests on what is installed: which of them as pytest's -k says it, and more of pytest's arguments.
torture_tests() {
  local chosen="($1)${TESTS:+ and ($TESTS)}" python ending=0
  shift
  python=$(venv)/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check -r "$repo/tests/client/requirements.txt" -r "$repo/tests/torture/requirements.txt"
  cd "$repo"
  PYTHONDONTWRITEBYTECODE=1 CONIFER_TEST_BIN=$server_bin CONIFER_TEST_BIN_NEWER=$newer_bin TORTURE_FULL=1 TORTURE_RESULTS=$results/$pg \
    "$python" -m pytest -p no:cacheprovider -v -rs -k "$chosen" "$@" tests/torture || ending=$?
  # Of the tests that TESTS chooses some kinds may have none.
  [ "$ending" != 5 ] || [ -z "${TESTS:-}" ] || ending=0
  return "$ending"
}

torture_version() {
  local chosen
  chosen=$(choose_pg_config_of "$1")
  [ -n "$chosen" ] || { say "no PostgreSQL $1 here" && return; }
  use_postgres "$(private_copy "$chosen")"
  mkdir -p "$results/$pg"
  step "install Conifer ($pg, release)" cargo pgrx install --release --pg-config "$server_config"
  part "timed torture tests $pg" torture_tests "$timed_tests"
  part "torture tests $pg" torture_tests "not $timed_tests" --dist worksteal -n "$jobs"
  # Stop points are in debug builds alone.
  step "install Conifer ($pg, debug)" cargo pgrx install --pg-config "$server_config"
  part "stop points $pg" torture_tests stop_point
  newer_bin=${newer_bin:-$server_bin}
}

need_tools
mkdir -p "$results"
# Of the run before, and no more: OUT may be a folder with things of the user's.
rm -rf "$results"/pg{15..18} "$results"/{fuzz,miri,valgrind,deny}.log "$results/report.md"
for version in ${VERSIONS:-18 15}; do
  torture_version "$version"
done
for script in $scripts; do
  part "$script" logged "$results/$script.log" "$repo/tests/support/$script.sh"
done
"$(venv)/bin/python" "$repo/tests/torture/report.py" "$results" "${failed[@]}" | tee "$results/report.md"
[ ${#failed[@]} = 0 ]
