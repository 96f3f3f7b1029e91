#!/usr/bin/env bash
# Writes crds/ anew from the types; the test that compares them is what writes them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh
UPDATE_CRDS=1 cargo test --quiet --locked --test api_crds the_committed_definitions_are_those_of_the_types >/dev/null
git --no-pager diff --stat -- crds 2>/dev/null || true
echo "crds/ is what the types say"
