# shellcheck shell=bash
# What every script here shares: places, messages, timed steps, installing packages. Sourced, never run.

# A caller's PostgreSQL and make variables must not reach our servers and builds; and with RUST_BACKTRACE set a
# panic's message would carry a backtrace.
unset PGDATA PGDATABASE PGHOST PGHOSTADDR PGOPTIONS PGPASSWORD PGPORT PGSERVICE PGUSER PG_VERSION
unset RUST_BACKTRACE MAKEFLAGS MAKELEVEL MFLAGS
umask 022

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(mkdir -p "${CARGO_TARGET_DIR:-$repo/target}" && cd "${CARGO_TARGET_DIR:-$repo/target}" && pwd)
rust_wanted=1.95
pgrx_wanted=0.18.1

die() {
  printf 'conifer: %s\n' "$*" >&2
  exit 1
}

say() {
  printf -- '-- %s\n' "$*"
}

# One line every half minute, so that a long silence is seen to be work.
tick() {
  local name=$1 began=$SECONDS
  while sleep 30 >/dev/null 2>&1; do
    printf '   … %s: %d s\n' "$name" $((SECONDS - began))
  done
}

# Runs a command in a subshell under a heading; `status` tells how it ended.
timed() {
  local name=$1 began=$SECONDS ticker ending="done"
  shift
  printf '\n== %s\n' "$name"
  tick "$name" &
  ticker=$!
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  kill "$ticker" 2>/dev/null
  wait "$ticker" 2>/dev/null || true
  [ "$status" = 0 ] || ending=FAILED
  printf '== %s: %s, %d s\n' "$name" "$ending" $((SECONDS - began))
}

# A step that everything after it needs.
step() {
  timed "$@"
  [ "$status" = 0 ] || exit "$status"
}

have() {
  command -v "$1" >/dev/null 2>&1
}

is_root() {
  [ "$(id -u)" = 0 ]
}

# Whether system packages can be installed without a question being asked.
can_install() {
  have apt-get && { is_root || { have sudo && sudo -n true 2>/dev/null; }; }
}

as_root() {
  if is_root; then "$@"; else sudo -n "$@"; fi
}

# Installs Debian packages, or ends with the one line that tells the user to.
install_packages() {
  can_install || die "missing packages, install them first: sudo apt-get install -y $*"
  say "installing $*"
  {
    as_root apt-get update -qq &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >"$target/apt.log" 2>&1 </dev/null || die "apt-get could not install $* (see $target/apt.log)"
}

# libclang and its own headers, which bindgen reads PostgreSQL's headers with.
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || return 1
  compgen -G '/usr/lib/llvm*/lib/clang/*/include/stddef.h' >/dev/null ||
    compgen -G '/usr/lib/clang/*/include/stddef.h' >/dev/null
}

have_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null
}

# Compilers, libclang and Python.
need_system_packages() {
  local wanted=()
  { have cc && have make; } || wanted+=(build-essential)
  have_libclang || wanted+=(clang libclang-dev)
  have pkg-config || wanted+=(pkg-config)
  have_venv || wanted+=(python3 python3-venv)
  # as root, `cargo pgrx test` changes to the server's account through sudo
  if is_root && ! have sudo; then wanted+=(sudo); fi
  [ ${#wanted[@]} = 0 ] || install_packages "${wanted[@]}"
}

# A recent cargo, which no Debian release has: told, not installed.
need_rust() {
  local version
  have cargo || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
  { have cargo && have rustc; } || die "cargo not found: install Rust $rust_wanted or newer with rustup (https://rustup.rs)"
  version=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$rust_wanted" "$version" | sort -V | head -n1)" = "$rust_wanted" ] ||
    die "rustc $version is too old: install Rust $rust_wanted or newer (rustup update stable)"
}

# The pinned cargo-pgrx: the user's own if it is that version, else a private one.
need_cargo_pgrx() {
  PATH=$target/tools/bin:$PATH
  [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $pgrx_wanted" ] || return 0
  step "install cargo-pgrx $pgrx_wanted (some minutes, once)" \
    env CARGO_TARGET_DIR="$target/tools/build" cargo install cargo-pgrx --version "$pgrx_wanted" --locked --root "$target/tools"
  rm -rf "$target/tools/build"
}

# Everything a build needs.
need_tools() {
  cd "$repo"
  need_system_packages
  need_rust
  need_cargo_pgrx
}
