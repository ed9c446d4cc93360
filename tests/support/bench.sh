#!/usr/bin/env bash
# `make bench`: build and install Conifer into a private copy of PostgreSQL, start a server with both extensions, and measure
# Conifer beside pgvector. DATA, METRIC, ROWS, DIMENSION, CUT, QUICK, ROUNDS, WORKLOADS, ALONE, OUT, PUBLISH and SERVER_SETTINGS are
# the Makefile's variables.
set -euo pipefail
# shellcheck source=tests/support/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/support/postgres.sh
. "$repo/tests/support/postgres.sh"

# The PostgreSQL named, else the embedded one: it carries the pgvector that is compared with.
bench_pg_config() {
  if [ -n "${PG_CONFIG:-}" ]; then choose_pg_config; else embedded_pg_config; fi
}

# The least of a share of the machine's memory and so many MB.
memory_share() {
  local divisor=$1 most=$2
  awk -v divisor="$divisor" -v most="$most" '/^MemTotal/ { mb = int($2 / 1024 / divisor); print (mb < most ? mb : most) "MB" }' /proc/meminfo
}

# The report prints all of these. fsync is off, so that what is compared is the work of the two extensions and not the
# disk's; WAL bytes tell what a disk would have to take. No checkpoint and no autovacuum falls into a measurement, but where
# a workload turns them on. Many locks, because a partition for each tenant needs them. Random pages cost little more than
# others, because all data are in memory: with PostgreSQL's default the planner would leave pgvector's index too early.
server_settings() {
  local shared_buffers maintenance settings
  shared_buffers=$(memory_share 4 4096) maintenance=$(memory_share 8 2048)
  settings="-c shared_buffers=$shared_buffers -c maintenance_work_mem=$maintenance -c wal_level=replica -c max_wal_size=8GB"
  settings+=" -c checkpoint_timeout=1d -c jit=off -c max_parallel_workers_per_gather=0"
  settings+=" -c max_locks_per_transaction=1024 -c random_page_cost=1.1"
  # a parallel build keeps its graph in shared memory
  [ "$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1)" -gt 4096 ] 2>/dev/null ||
    settings+=" -c dynamic_shared_memory_type=mmap"
  echo "$settings ${SERVER_SETTINGS:-}"
}

# What the report names as the command that repeats the run; where things lie on this machine is nobody's business.
command_line() {
  local words="make bench" name
  [ -z "${DATA:-}" ] || words+=" DATA=…/${DATA##*/}"
  for name in METRIC ROWS DIMENSION CUT QUICK ROUNDS WORKLOADS ALONE SERVER_SETTINGS; do
    [ -z "${!name:-}" ] || words+=" $name='${!name}'"
  done
  echo "$words"
}

options() {
  local data=${DATA:-}
  if [ -z "$data" ] && [ -d "$repo/../shared/data/debian-minilm384" ]; then data=$repo/../shared/data/debian-minilm384; fi
  [ -z "$data" ] || printf '%s\n' --data "$data"
  [ -z "${QUICK:-}" ] || echo --quick
  [ -z "${ROUNDS:-}" ] || printf '%s\n' --rounds "$ROUNDS"
  [ -z "${WORKLOADS:-}" ] || printf '%s\n' --workloads "$WORKLOADS"
  [ -z "${ALONE:-}" ] || echo --alone
  [ -z "${ROWS:-}" ] || printf '%s\n' --rows "$ROWS"
  [ -z "${METRIC:-}" ] || printf '%s\n' --metric "$METRIC"
  [ -z "${DIMENSION:-}" ] || printf '%s\n' --dimension "$DIMENSION"
  [ -z "${CUT:-}" ] || printf '%s\n' --columns "$CUT"
}

need_tools
command=$(command_line)
chosen=$(bench_pg_config)
[ -f "$("$chosen" --sharedir)/extension/vector.control" ] ||
  die "$chosen has no pgvector to compare with (Debian: apt-get install postgresql-$(pg_major "$chosen")-pgvector); leave PG_CONFIG out to use one that has"
say "using $("$chosen" --version) of $chosen"
copy=$(private_copy "$chosen")
use_postgres "$copy"
step "build and install Conifer, release ($pg; some minutes the first time)" \
  cargo pgrx install --release --pg-config "$server_config"
python=$(venv)/bin/python
"$python" -m pip install --quiet --disable-pip-version-check -r "$repo/tests/bench/requirements.txt"
start_server "$(server_settings)"
# not on the command line, which would win over the workload that switches it on
"$server_bin/psql" -Xqc "ALTER SYSTEM SET autovacuum = off" -c "SELECT pg_reload_conf()" >"$target/bench-setup.log"
mapfile -t options < <(options)
out=${OUT:-$target/bench}
export PYTHONPATH=$repo/tests/bench PYTHONDONTWRITEBYTECODE=1
"$python" -m conifer_bench --dsn "host=$PGHOST user=postgres dbname=postgres" --out "$out" --cache "$target/bench/cache" \
  --command "$command" "${options[@]}"
[ -z "${PUBLISH:-}" ] || "$python" -m conifer_bench.publish "$out/raw.json"
