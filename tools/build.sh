#!/usr/bin/env bash
# Builds what the Go module in the folder of that name says are its tools (helm; node: kubelet and what goes with it; containerd),
# once, into a cache folder, and prints that folder. Warm, it only prints. `source` in it leads to the module that ours requires apart, for
# what else lies there (definitions); of one that names no tool (cert-manager) that is all.
set -euo pipefail
[ $# = 1 ] || { echo "usage: tools/build.sh NAME, a folder beside this script" >&2; exit 2; }
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=$tools/$1
[ -f "$here/go.mod" ] || { echo "tools/$1 is no tool of ours: it has no go.mod" >&2; exit 2; }
# shellcheck source=../hack/built.sh
. "$tools/../hack/built.sh"
place "tool-$1"
lock
while read -r package; do
  name=${package##*/}
  [ "$name" != cmd ] || name=$1
  build "$name" "$package" "1 to 3 minutes" </dev/null
done < <(awk '$1 == "tool" && $2 != "(" { print $2 } $0 == "tool (" { listed = 1; next } $0 == ")" { listed = 0 } listed { print $1 }' "$here/go.mod")
module=$(awk '$1 == "require" && $2 != "(" { print $2; exit }' "$here/go.mod")
if [ -n "$module" ] && [ ! -e "$out/source" ]; then
  (cd "$here" && go mod download "$module" && ln -sfn "$(go list -m -f '{{.Dir}}' "$module")" "$out/source")
fi
echo "$out"
