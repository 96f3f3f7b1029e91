#!/usr/bin/env bash
# Prints what is in an image as a CycloneDX 1.6 JSON (a software bill of materials): the crates that are linked into the executable, by
# cargo's own resolution; what is in C within them; the shared libraries with the packages that they are of; and every file with its hash.
# hack/image.sh writes it beside the archive. The same image gives the same bytes.
#
#   hack/sbom.sh ROOTFS ARCHIVE EPOCH
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rootfs=$1 archive=$2 epoch=$3 package=managed-hsm-operator

sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# Names, versions and licences have no letter that JSON would escape.
component() { # type, name, version, purl, licence, SHA-256, further fields
  local licence=$5
  printf '{"type":"%s","name":"%s"' "$1" "$2"
  [ -z "$3" ] || printf ',"version":"%s"' "$3"
  [ -z "$4" ] || printf ',"bom-ref":"%s","purl":"%s"' "$4" "$4"
  [ -z "$licence" ] || printf ',"licenses":[{"expression":"%s"}]' "$licence"
  [ -z "$6" ] || printf ',"hashes":[{"alg":"SHA-256","content":"%s"}]' "$6"
  printf '%s}\n' "${7:-}"
}

# Those of normal dependencies, as they are built: no tests', no build scripts', no macros' own; each with its checksum.
crates() {
  local all name version licence checksum
  all=$(cargo tree --locked --package "$package" --edges normal,no-proc-macro --prefix none --format '{p}|{l}' |
    sed -E 's/ \(\*\)$//; s/^([^ ]+) v([^ |]+)[^|]*\|/\1|\2|/; s| */ *| OR |g' | sort -u |
    awk -F '"' 'FNR == NR { if ($1 == "name = ") name = $2; else if ($1 == "version = ") version = $2; else if ($1 == "checksum = ") sums[name, version] = $2; next }
      { print $0 "|" sums[$1, $2] }' Cargo.lock FS='|' -)
  while IFS='|' read -r name version licence checksum; do
    if [ "$name" = "$package" ]; then
      component application "$name" "$version" "pkg:cargo/$name@$version" "$licence" ''
    else
      component library "$name" "$version" "pkg:cargo/$name@$version" "$licence" "$checksum"
    fi
  done <<<"$all"
}

# No crate, and in the executable all the same.
within_crates() {
  local header version
  version=$(awk -F '"' '$0 == "name = \"libsqlite3-sys\"" { getline; print $2; exit }' Cargo.lock)
  header=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -path "*/libsqlite3-sys-$version/sqlite3/sqlite3.h" -print -quit)
  version=$(awk -F '"' '$1 ~ /^#define SQLITE_VERSION +$/ { print $2; exit }' "$header")
  [ -n "$version" ] || { echo "the version of SQLite is not in $header" >&2; return 1; }
  component library sqlite "$version" "pkg:generic/sqlite@$version" blessing '' ",\"cpe\":\"cpe:2.3:a:sqlite:sqlite:$version:*:*:*:*:*:*:*\""
  version=$(rustc --version | cut -d ' ' -f 2)
  component library rust-std "$version" "pkg:generic/rust-std@$version" 'MIT OR Apache-2.0' ''
}

# The distribution's package that a library is of: `name version architecture`. None: it is shown as a file alone.
package_of() { # path
  local path name
  command -v dpkg-query >/dev/null || return 0
  for path in "$1" "/usr$1" "${1#/usr}"; do
    name=$(dpkg-query --search "$path" 2>/dev/null | head -n 1 | cut -d : -f 1) || true
    [ -z "$name" ] || { dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' "$name" | head -n 1; return; }
  done
}

packages() {
  local distribution library name version architecture
  # shellcheck source=/dev/null
  distribution=$(. /etc/os-release 2>/dev/null; echo "${ID:-linux} ${VERSION_ID:-}")
  while read -r library; do package_of "/$library"; done < <(files | grep '\.so') | sort -u |
    while read -r name version architecture; do
      component library "$name" "$version" "pkg:deb/${distribution% *}/$name@$(sed 's/+/%2B/g; s/:/%3A/g' <<<"$version")?arch=$architecture&distro=${distribution/ /-}" '' ''
    done
}

files() { (cd "$rootfs" && find . -type f | sed 's|^\./||' | sort); }

each_file() {
  local file
  while read -r file; do component file "/$file" '' '' '' "$(sum "$rootfs/$file")"; done < <(files)
}

version=$(awk -F '"' '$1 == "version = " { print $2; exit }' Cargo.toml)
all=$(
  crates
  within_crates
  packages
  each_file
)
printf '{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"timestamp":"%s","component":%s},"components":[\n%s\n]}\n' \
  "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
  "$(component container "$package" "$version" '' Apache-2.0 "$(sum "$archive")")" \
  "$(sed '$!s/$/,/' <<<"$all")"
