#!/usr/bin/env bash
# Removes the cache folder, and says what Go and Cargo keep in theirs, which other projects use too.
set -euo pipefail
cache=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
if [ -d "$cache" ]; then
  echo "removing $cache ($(du -sh "$cache" | cut -f1))"
  rm -rf "$cache"
else
  echo "$cache is not there: nothing to remove"
fi
if command -v go >/dev/null; then
  echo "Go's own caches, shared with other projects, are left: go clean -cache -modcache removes them"
fi
