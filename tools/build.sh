#!/usr/bin/env bash
# Builds one tool (helm) from the Go module of its own in the folder of that name, once, into a cache folder keyed by
# its go.mod and go.sum, and prints where the executable is. Warm, it only prints.
set -euo pipefail
[ $# = 1 ] || { echo "usage: tools/build.sh NAME, a folder beside this script" >&2; exit 2; }
name=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$name
[ -f "$here/go.mod" ] || { echo "tools/$name is no tool of ours: it has no go.mod" >&2; exit 2; }
cache=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
key=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
out=$cache/tool-$name-$key
mkdir -p "$out"
touch "$out/.used" # hack/env.sh removes what nobody used for long
exec 9>"$out/.lock"
flock 9
if ! [ -x "$out/$name" ]; then
  began=$SECONDS
  package=$(awk '$1 == "tool" { print $2; exit }' "$here/go.mod")
  echo "building $name (usually 3 minutes on two cores, once) ..." >&2
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 10 go build -trimpath -ldflags "-s -w" -o "$out/$name.new" "$package")
  mv "$out/$name.new" "$out/$name"
  echo "built $name in $((SECONDS - began)) s" >&2
fi
echo "$out/$name"
