#!/usr/bin/env bash
# For .ci/run: of `make e2e-node` and `make e2e-gitops` a story each, where it fits into so many seconds. Where no node can be started, or its
# programs are not built in time, it says so and passes; what was built by then is there the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=$1
# shellcheck source=env.sh
. hack/env.sh

skip() { echo "not run here, make $1 does: $2 ($3)"; }

story() { # make's target, the story, what it takes compiled and run, make's variable of the tools, the tools
  local target=$1 story=$2 usual=$3 variable=$4 tools=$5 tool more
  for tool in $tools; do
    more=$((time - usual - SECONDS))
    if [ $more -le 0 ] || ! timeout $more tools/build.sh "$tool" >/dev/null; then
      skip "$target" "$story" "tools/$tool is not there in time"
      return 0
    fi
  done
  make --no-print-directory "$target" STORY="$story" "$variable=$tools"
}

look_for_node
of_the_node=a_key_and_a_namespace_come_back_as_they_were
if hack/node.sh true; then
  story e2e-node $of_the_node 300 NODE_TOOLS "helm node containerd"
else
  skip e2e-node $of_the_node "see above"
fi
story e2e-gitops flux_gets_back_by_itself_what_was_declared_so 120 GIT_TOOLS "source-controller kustomize-controller"
