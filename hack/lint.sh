#!/usr/bin/env bash
# Formatting, lints, and (where cargo-deny is installed) licences and advisories.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh
cargo fmt --all --check
# What is released, then everything: most tests need the feature.
cargo clippy --workspace --locked --quiet -- -D warnings
cargo clippy --workspace --all-targets --locked --quiet --features faults -- -D warnings
if command -v cargo-deny >/dev/null; then
  cargo deny --log-level error check bans licenses sources
else
  echo "note: cargo-deny is not installed, so deny.toml (licences, sources) was not checked: cargo install cargo-deny"
fi
if command -v shellcheck >/dev/null; then
  shellcheck -x -P SCRIPTDIR -S warning hack/*.sh hack/demo/*.sh controlplane/build.sh tools/build.sh .ci/run
fi
echo "lint: clean"
