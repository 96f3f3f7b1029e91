#!/usr/bin/env bash
# Builds the image twice, each time from nothing and in another folder, and compares the bytes (about 20 minutes on two cores).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in one another-longer-one; do
  git clone --quiet --no-hardlinks . "$work/$folder"
  CARGO_TARGET_DIR=$work/$folder/target "$work/$folder/hack/image.sh" --out "$work/$folder.tar"
done
cmp "$work/one.tar" "$work/another-longer-one.tar"
echo "the image of $(git rev-parse --short HEAD) is the same, byte for byte"
