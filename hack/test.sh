#!/usr/bin/env bash
# All tests. The control plane is built beside the Rust code, at low priority, where the cache has none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh
began=$SECONDS
say() { printf '[%3d s] %s\n' $((SECONDS - began)) "$*"; }

say "the control plane and Helm: built in the background where they are not yet (usually 9 minutes cold, once)"
{ controlplane/build.sh && tools/build.sh helm; } >"$MHSM_CACHE/controlplane.log" 2>&1 &
plane=$!
trap 'kill $plane 2>/dev/null || true' EXIT

say "the tests: compiling (usually 5 minutes cold, under one warm)"
cargo test --workspace --locked --features faults --no-run --quiet
say "the control plane and Helm: waiting for them"
if ! wait $plane; then
  cat "$MHSM_CACHE/controlplane.log" >&2
  echo "the control plane or Helm could not be built; see above" >&2
  exit 1
fi
trap - EXIT
say "the tests: running (usually 5 minutes)"
cargo test --workspace --locked --features faults --no-fail-fast -- "$@"
say "all passed"
