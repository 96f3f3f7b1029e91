#!/usr/bin/env bash
# Writes the demo's output into the README anew, as it really came out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
story=$(mktemp "${TMPDIR:-/tmp}/mhsm-story-XXXXXX")
trap 'rm -f "$story"' EXIT
hack/demo.sh | tee "$story"
awk -v story="$story" '
  /<!-- demo: end -->/ { skip = 0 }
  !skip { print }
  /<!-- demo: begin -->/ {
    skip = 1
    print "```console"
    # From the first chapter on: what was built before it says nothing.
    while ((getline line < story) > 0) if (told || line ~ /^An HSM is a manifest/) { told = 1; sub(/ +$/, "", line); print line }
    print "```"
  }
' README.md >"$story.md"
mv "$story.md" README.md
