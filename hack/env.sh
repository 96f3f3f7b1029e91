# shellcheck shell=bash
# Sourced by the Makefile's targets and by .ci/run: finds what a build needs, says in one sentence what is
# missing, and chooses the folders. Sets MHSM_CACHE, CARGO_TARGET_DIR, LIBCLANG_PATH, BINDGEN_EXTRA_CLANG_ARGS.
# Nothing outside the cache folder is changed, except in CI as root, where missing Debian packages are installed.

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$hack")
export MHSM_CACHE=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
mkdir -p "$MHSM_CACHE"

missing() { # what is missing; how to get it
  printf '%s\n  %s\n' "$1" "$2" >&2
  exit 1
}

may_install() { [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

debian() { # packages
  echo "installing $* (usually 20 s) ..." >&2
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >"$MHSM_CACHE/apt.log" 2>&1; then
    tail -n 20 "$MHSM_CACHE/apt.log" >&2
    return 1
  fi
}

# Rust and Go: installed by the person; rust-toolchain.toml and go.mod choose the versions.
command -v cargo >/dev/null || missing "Rust is missing (cargo is not in PATH)." "install rustup; rust-toolchain.toml then chooses the version by itself"
[ "${needs_go:-yes}" = no ] || command -v go >/dev/null || missing "Go is missing (it builds the control plane that the tests run on)." "install Go 1.26 or later; on Debian 13 or later: sudo apt-get install golang-go"
command -v cc >/dev/null || missing "A C compiler is missing." "sudo apt-get install build-essential"

# OpenSSL's headers: the embedded soft token is built on them.
have_openssl() { printf '#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error old\n#endif\n' | cc ${CPATH:+-I"$CPATH"} -E - >/dev/null 2>&1; }
if ! have_openssl; then
  if may_install; then debian libssl-dev pkg-config || exit 1; fi
  have_openssl || missing "The headers of OpenSSL 3 are missing." "sudo apt-get install libssl-dev pkg-config"
fi
command -v pkg-config >/dev/null || {
  if may_install; then debian pkg-config || exit 1; fi
  command -v pkg-config >/dev/null || missing "pkg-config is missing (it finds OpenSSL)." "sudo apt-get install pkg-config"
}

# SoftHSM: the second PKCS#11 module that backend tests run on.
have_softhsm() { ls /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so >/dev/null 2>&1; }
if ! have_softhsm && may_install; then debian softhsm2 || true; fi
have_softhsm || echo "note: SoftHSM is not installed, so the backend tests that need it will say so (sudo apt-get install softhsm2)" >&2

# libclang: bindgen loads it. The one that is set or installed is taken, else the wheel that carries it.
if [ -z "${LIBCLANG_PATH:-}" ]; then
  installed=$(ls -d /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang.so /usr/lib/*/libclang-[0-9]*.so* /usr/lib64/libclang.so* 2>/dev/null | sort -V | tail -n 1 || true)
  wheel=$MHSM_CACHE/libclang/clang/native
  if [ -n "$installed" ]; then
    LIBCLANG_PATH=$(dirname "$installed")
  else
    if ! [ -e "$wheel/libclang.so" ]; then
      command -v python3 >/dev/null || missing "libclang is missing, and so is python3, which could fetch it." "sudo apt-get install libclang-dev"
      echo "fetching libclang into the cache (usually 10 s, once) ..." >&2
      python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$MHSM_CACHE/libclang" libclang==18.1.1 >&2 ||
        missing "libclang is missing and pip could not fetch it." "sudo apt-get install libclang-dev"
    fi
    LIBCLANG_PATH=$wheel
  fi
  export LIBCLANG_PATH
  # A libclang without clang's own headers (stddef.h), such as the wheel's, reads the C compiler's.
  if ! ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h >/dev/null 2>&1; then
    export BINDGEN_EXTRA_CLANG_ARGS=${BINDGEN_EXTRA_CLANG_ARGS:--I$(cc -print-file-name=include)}
  fi
fi

# One target folder for each set of dependencies, shared by all work trees; the caller's own choice wins.
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
  deps=$(cat "$root/Cargo.lock" "$root/rust-toolchain.toml" | sha256sum | cut -c1-16)
  export CARGO_TARGET_DIR=$MHSM_CACHE/target-$deps
  mkdir -p "$CARGO_TARGET_DIR"
  touch "$CARGO_TARGET_DIR/.used"
  # What is our own in there knows the folder of the clone that built it: another clone builds that anew, not the dependencies.
  if [ "$(cat "$CARGO_TARGET_DIR/.clone" 2>/dev/null)" != "$root" ]; then
    rm -rf "$CARGO_TARGET_DIR"/debug/.fingerprint/{managed-hsm-operator,testplane}-*
    printf '%s' "$root" >"$CARGO_TARGET_DIR/.clone"
  fi
fi

# Of each kind the three that were used last are kept; others go once nobody used them for a day.
tidy_cache() { # prefix
  local old
  for old in $(ls -td "$MHSM_CACHE/$1"-*/.used 2>/dev/null | tail -n +4); do
    [ -n "$(find "$old" -mmin +1440 2>/dev/null)" ] && rm -rf "$(dirname "$old")"
  done
  return 0
}
tidy_cache target
tidy_cache controlplane
tidy_cache tool

# Settings of the caller that would make a test depend on this machine, or reach a cluster by accident.
if [ "${CLUSTER:-}" != current ]; then unset KUBECONFIG; fi
unset RUSTFLAGS RUST_LOG
for name in $(compgen -e MHSM_); do [ "$name" = MHSM_CACHE ] || unset "$name"; done
# Where nobody reads what a test says, none is skipped.
if [ "${CI:-}" = true ]; then export MHSM_REQUIRE_SOFTHSM=1; fi
