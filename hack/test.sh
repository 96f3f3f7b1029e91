#!/usr/bin/env bash
# All tests, a few programs of them side by side: most of their time they wait for the control plane.
# The control plane is built beside the Rust code, at low priority, where the cache has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh
began=$SECONDS
say() { printf '[%4d s] %s\n' $((SECONDS - began)) "$*"; }
tests() { cargo test --workspace --locked --features faults "$@"; }

say "the control plane, Helm and what checks manifests: built in the background where they are not yet (usually 15 minutes cold, once)"
build_for_tests >"$MHSM_CACHE/controlplane.log" 2>&1 &
plane=$!
trap 'kill $plane 2>/dev/null || true' EXIT

say "the tests: compiling (usually 7 minutes cold, 2 warm)"
tests --no-run --quiet
say "the control plane, Helm and the others: waiting for them"
if ! wait $plane; then
  cat "$MHSM_CACHE/controlplane.log" >&2
  echo "the control plane, or a tool of the tests, could not be built; see above" >&2
  exit 1
fi
trap - EXIT

# What the tests write is gone in minutes. On Linux it stays in memory where there is room for it, or etcd and the stores wait for the disk half of the time.
in_memory() { # prints a folder that programs can be run from
  local free folder
  free=$({ df -Pk /dev/shm | awk 'NR == 2 { print $4 }'; awk '/MemAvailable/ { print $2 }' /proc/meminfo; } 2>/dev/null | sort -n | head -n 1)
  if [ "${free:-0}" -le 10000000 ]; then return; fi
  folder=$(mktemp -d /dev/shm/mhsm-tests-XXXXXX)
  printf '#!/bin/sh\n' >"$folder/runs" && chmod +x "$folder/runs"
  if "$folder/runs" 2>/dev/null; then echo "$folder"; else rm -rf "$folder"; fi
}
memory=
if [ -z "${TMPDIR:-}" ]; then memory=$(in_memory || true); fi
if [ -n "$memory" ]; then export TMPDIR=$memory; fi

# The longest first, so that none of them runs alone at the end.
longest=(laws sequences_on_the_plane rules_on_the_plane records purges_on_the_plane crashes purge_races namespaces lost_answers admission storm install releases)
programs=("${longest[@]}")
for file in tests/*.rs; do
  name=$(basename "$file" .rs)
  case " ${longest[*]} " in *" $name "*) ;; *) programs+=("$name") ;; esac
done

log=$(mktemp -d)
trap 'rm -rf "$log" ${memory:+"$memory"}' EXIT
one() { # what cargo is to run; its output is shown as a whole when it has ended, or it would be mixed with the others'
  local name=${*: -1} at=$SECONDS verdict=ok
  tests --no-fail-fast "$@" >"$log/$name" 2>&1 || verdict=FAILED
  { printf '\n=== %s: %s, %d s\n' "$name" "$verdict" $((SECONDS - at)); cat "$log/$name"; } >"$log/$name.shown"
  cat "$log/$name.shown"
  [ $verdict = ok ] || echo "$name" >>"$log/failed"
}
SIDE_BY_SIDE=${SIDE_BY_SIDE:-2}
say "the tests: running, $SIDE_BY_SIDE programs at a time (usually 20 minutes)"
for program in --lib "${programs[@]}" --bins --doc; do
  case $program in --*) what=("$program") ;; *) what=(--test "$program") ;; esac
  while [ "$(jobs -rp | wc -l)" -ge "$SIDE_BY_SIDE" ]; do wait -n || true; done
  one "${what[@]}" &
done
wait
if [ -s "$log/failed" ]; then
  say "FAILED: $(sort "$log/failed" | tr '\n' ' ')"
  exit 1
fi
say "all passed"
