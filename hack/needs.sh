# shellcheck shell=bash
# Sourced by hack/env.sh: looks for all that a build and the tests need of the machine, and says what is missing, all at once, with
# the command that installs it here. Nothing is installed unasked, except in CI as root on Debian. Reads `root`, the project's folder.
# shellcheck disable=SC2154

# The machine by what installs on it: debian, fedora, macos, other.
machine() {
  [ "$(uname -s)" != Darwin ] || { echo macos; return; }
  local ids
  ids=$(os_release ID; os_release ID_LIKE)
  case " $(echo $ids) " in
    *" debian "* | *" ubuntu "*) echo debian ;;
    *" fedora "* | *" rhel "*) echo fedora ;;
    *) echo other ;;
  esac
}

os_release() { sed -n "s/^$1=//p" "${MHSM_OS_RELEASE:-/etc/os-release}" 2>/dev/null | tr -d '"' || true; }

# Whether this release carries Rust's and Go's own installers of other versions: Debian 13, Ubuntu 24.04.
recent() {
  local major
  major=$(os_release VERSION_ID)
  major=${major%%.*}
  case $(os_release ID) in
    debian) [ "${major:-99}" -ge 13 ] ;;
    ubuntu) [ "${major:-0}" -ge 24 ] ;;
    *) true ;;
  esac
}

lacks='' packages='' others=''
lack() { # what; the package of Debian, of Fedora, of Homebrew; or, instead of a package, `! command`
  local package=$2
  case $machine in fedora) package=$3 ;; macos) package=$4 ;; esac
  lacks+="  - $1"$'\n'
  case $package in
    '! '*) others+="  ${package#'! '}"$'\n' ;;
    *) [ "$machine" = other ] && others+="  the package that Debian calls $2"$'\n' || packages+=" $package" ;;
  esac
}

have() { command -v "$1" >/dev/null 2>&1; }

# The embedded soft token is built on them.
have_openssl() {
  # shellcheck disable=SC2046 # flags are words
  printf '#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_NUMBER < 0x30000070L\n#error old\n#endif\n' |
    cc ${CPATH:+-I"$CPATH"} $(pkg-config --cflags openssl 2>/dev/null) -E - >/dev/null 2>&1
}

look_for_openssl() {
  local what='the headers of OpenSSL 3.0.7 or later (the embedded soft token is built on them)'
  local newer='! a newer release of this system, whose OpenSSL is new enough, or the headers of another OpenSSL in CPATH'
  # Without a compiler nobody can tell, and they come in one go.
  if have cc && have_openssl; then
    return
  elif have cc && echo '#include <openssl/opensslv.h>' | cc ${CPATH:+-I"$CPATH"} -E - >/dev/null 2>&1; then
    lack "$what; those that are here are older" "$newer" "$newer" openssl@3
  else
    lack "$what" libssl-dev openssl-devel openssl@3
  fi
}

have_softhsm() {
  local path
  for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so \
    /opt/homebrew/lib/softhsm/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
    [ ! -e "$path" ] || return 0
  done
  return 1
}

# bindgen loads it. Prints its folder.
libclang_folder() {
  local found
  found=$(ls -d /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang.so /usr/lib/*/libclang-[0-9]*.so* /usr/lib64/libclang.so* \
    /Library/Developer/CommandLineTools/usr/lib/libclang.dylib 2>/dev/null | sort -V | tail -n 1 || true)
  [ -z "$found" ] || dirname "$found"
}

# Go 1.21 and later fetch the version that a go.mod names.
have_go() {
  have go || return 1
  local version
  version=$(go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 21 ]
}

look_for_needs() {
  local rustup='! Rust, by the way that https://rustup.rs shows' go='! Go 1.21 or later, from https://go.dev/dl'
  if recent; then rustup=rustup go=golang-go; fi
  have cargo || lack "Rust (no cargo in PATH; rust-toolchain.toml then chooses the version by itself)" "$rustup" rustup rustup
  # Only where something of the control plane is still to be built, by a script that builds it (`needs_go=no`: it does not).
  if [ "${needs_go:-yes}" != no ] && [ -n "$("$root/controlplane/build.sh" missing)" ]; then
    have_go || lack "Go 1.21 or later (it builds the control plane that the tests run on)" "$go" golang go
  fi
  have cc || lack "a C compiler" build-essential gcc '! xcode-select --install'
  have pkg-config || lack "pkg-config (it finds OpenSSL)" pkg-config pkgconf-pkg-config pkgconf
  look_for_openssl
  if [ -z "${LIBCLANG_PATH:-}$(libclang_folder)" ] && ! have_wheel && ! have python3; then
    lack "libclang (or python3 with pip, which fetches it into the cache)" libclang-dev clang-devel llvm
  fi
}

have_wheel() { ls "$MHSM_CACHE"/libclang/clang/native/libclang.* >/dev/null 2>&1; }

# Says what is missing; fails if anything is.
say_what_is_missing() {
  [ -n "$lacks" ] || return 0
  local install
  case $machine in
    debian) install='sudo apt-get install' ;;
    fedora) install='sudo dnf install' ;;
    macos) install='brew install' ;;
  esac
  {
    printf 'Missing on this machine:\n%s' "$lacks"
    echo "Install it, then run the same command again (nothing was changed, and nothing is installed unasked):"
    [ -z "$packages" ] || echo "  $install$packages"
    printf '%s' "$others"
    # Fedora's package is the installer of the installer.
    case $machine$packages in fedora*' rustup'*) echo "  rustup-init -y" ;; esac
  } >&2
  return 1
}

# Where something may be installed unasked: in CI as root, on Debian.
may_install() { [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && have apt-get; }

# What packages bring is installed, and looked for again.
install_in_ci() {
  { [ -n "$packages" ] && may_install; } || return 0
  apt_install "${packages# }" && lacks='' packages='' others='' && look_for_needs
}

apt_install() { # packages
  echo "installing $1 (usually 20 s) ..." >&2
  # shellcheck disable=SC2086 # packages are words
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1; } >"$MHSM_CACHE/apt.log" 2>&1; then
    tail -n 20 "$MHSM_CACHE/apt.log" >&2
    return 1
  fi
}

# The second PKCS#11 module: the backend tests that need it are skipped, and say so, where it is not.
look_for_softhsm() {
  have_softhsm && return
  if may_install; then apt_install softhsm2 && return; fi
  local how='install SoftHSM 2'
  case $machine in
    debian) how='sudo apt-get install softhsm2' ;;
    fedora) how='sudo dnf install softhsm' ;;
    macos) how='brew install softhsm' ;;
  esac
  echo "note: SoftHSM is not installed, so the backend tests that need it are skipped ($how)" >&2
}

# What a node takes beside what is built: hack/node.sh says what is missing.
look_for_node() {
  { have runc && have nft && have ip; } || ! may_install || apt_install "runc nftables iproute2"
}

# Argo CD keeps what it knows in one.
look_for_redis() {
  have redis-server || { may_install && apt_install redis-server; } || echo "note: redis-server is not installed, and Argo CD's stories need it" >&2
}

# Before the first build only: afterwards it is used already.
look_for_room() {
  ls -d "$MHSM_CACHE"/target-* >/dev/null 2>&1 && return
  local free
  free=$(df -Pk "$MHSM_CACHE" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge 10 ] || echo "note: only $free GB are free in $MHSM_CACHE, and a first make test fills about 9 there and in the caches of Go" >&2
}

machine=$(machine)
