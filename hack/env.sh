# shellcheck shell=bash
# Sourced by the Makefile's targets and by .ci/run: looks for what a build needs (hack/needs.sh) and chooses the
# folders. Sets MHSM_CACHE, CARGO_TARGET_DIR, LIBCLANG_PATH, BINDGEN_EXTRA_CLANG_ARGS. Nothing outside the cache folder
# is changed, except in CI as root, where missing Debian packages are installed. Works with macOS' bash 3.2.

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$hack")
export MHSM_CACHE=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
mkdir -p "$MHSM_CACHE"

# shellcheck source=needs.sh
. "$hack/needs.sh"
look_for_needs
install_in_ci || exit 1
say_what_is_missing || exit 1
look_for_softhsm
look_for_room

# libclang: bindgen loads it. The one that is set or installed is taken, else the wheel that carries it (for each platform its own).
if [ -z "${LIBCLANG_PATH:-}" ]; then
  LIBCLANG_PATH=$(libclang_folder)
  if [ -z "$LIBCLANG_PATH" ]; then
    if ! have_wheel; then
      echo "fetching libclang into the cache (25 MB, usually 10 s, once) ..." >&2
      python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$MHSM_CACHE/libclang" libclang==18.1.1 >&2 || {
        lack "libclang, and pip could not fetch it" libclang-dev clang-devel llvm
        say_what_is_missing || exit 1
      }
    fi
    LIBCLANG_PATH=$MHSM_CACHE/libclang/clang/native
  fi
  export LIBCLANG_PATH
  # A libclang without clang's own headers (stddef.h), such as the wheel's, reads the C compiler's.
  if [ "$machine" = macos ]; then
    export BINDGEN_EXTRA_CLANG_ARGS=${BINDGEN_EXTRA_CLANG_ARGS:--isysroot $(xcrun --show-sdk-path) -I$(cc -print-resource-dir)/include}
  elif ! ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h >/dev/null 2>&1; then
    export BINDGEN_EXTRA_CLANG_ARGS=${BINDGEN_EXTRA_CLANG_ARGS:--I$(cc -print-file-name=include)}
  fi
fi

# One target folder for each set of dependencies, shared by all work trees; the caller's own choice wins.
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
  deps=$(cat "$root/Cargo.lock" "$root/rust-toolchain.toml" | sha256 | cut -c1-16)
  export CARGO_TARGET_DIR=$MHSM_CACHE/target-$deps
  mkdir -p "$CARGO_TARGET_DIR"
  touch "$CARGO_TARGET_DIR/.used"
  # What is our own in there knows the folder of the clone that built it: another clone builds that anew, not the dependencies.
  if [ "$(cat "$CARGO_TARGET_DIR/.clone" 2>/dev/null)" != "$root" ]; then
    rm -rf "$CARGO_TARGET_DIR"/debug/.fingerprint/{managed-hsm-operator,testplane}-*
    printf '%s' "$root" >"$CARGO_TARGET_DIR/.clone"
  fi
fi

# What the tests run on and run, once it is built; both say on stderr what they are at.
build_for_tests() {
  local tool
  "$root/controlplane/build.sh" >/dev/null || return 1
  for tool in helm helm3 helm-unittest kubeconform kubectl-validate promtool cert-manager; do "$root/tools/build.sh" "$tool" >/dev/null || return 1; done
}

# Of each kind the three that were used last are kept; others go once nobody used them for a day.
tidy_cache() { # prefix
  local old
  for old in $(ls -td "$MHSM_CACHE/$1"-[0-9a-f]*/.used 2>/dev/null | tail -n +4); do
    [ -n "$(find "$old" -mmin +1440 2>/dev/null)" ] && rm -rf "$(dirname "$old")"
  done
  return 0
}
tidy_cache target
tidy_cache controlplane
for tool in "$root"/tools/*/go.mod; do
  tool=${tool%/go.mod}
  tidy_cache "tool-${tool##*/}"
done

# Settings of the caller that would make a test depend on this machine, or reach a cluster by accident.
if [ "${CLUSTER:-}" != current ]; then unset KUBECONFIG; fi
unset RUSTFLAGS RUST_LOG
for setting in $(compgen -e MHSM_); do [ "$setting" = MHSM_CACHE ] || unset "$setting"; done
# Where nobody reads what a test says, none is skipped.
if [ "${CI:-}" = true ]; then export MHSM_REQUIRE_SOFTHSM=1; fi
