#!/usr/bin/env bash
# For .ci/run: what of `make e2e-node` fits into so many seconds, which is its first story. Where no node can be started, or its programs are
# not built in time, it says so and passes; what was built by then is there the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
left=$1 story=a_key_and_a_namespace_come_back_as_they_were
skip() { echo "not run here, make e2e-node does: $story ($1)"; exit 0; }
# What the story itself takes, compiled and run.
usual=300
[ "$left" -gt "$usual" ] || skip "there is no time left"
# shellcheck source=env.sh
. hack/env.sh
look_for_node
hack/node.sh true || skip "see above"
began=$SECONDS
needs="helm node containerd"
for tools in $needs; do
  more=$((left - usual - SECONDS + began))
  { [ $more -gt 0 ] && timeout $more tools/build.sh $tools >/dev/null; } || skip "tools/$tools is not built in time"
done
make --no-print-directory e2e-node STORY=$story NODE_TOOLS="$needs"
