#!/usr/bin/env bash
# Builds the image twice, each time from nothing and in another folder, and compares the bytes (about 20 minutes on two cores).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
commit=$(git rev-parse HEAD)
for folder in one another-longer-one; do
  git clone --quiet --no-hardlinks . "$work/$folder"
  git -C "$work/$folder" checkout --quiet "$commit"
  CARGO_TARGET_DIR=$work/$folder/target "$work/$folder/hack/image.sh" --out "$work/$folder.tar"
done
cmp "$work/one.tar" "$work/another-longer-one.tar"
cmp "$work/one.cdx.json" "$work/another-longer-one.cdx.json"
tar -xOf "$work/one.tar" manifest.json | grep -q '"managed-hsm-operator:' || { echo "the image is not called managed-hsm-operator" >&2; exit 1; }
echo "the image of ${commit:0:10} is the same, byte for byte, and so is the list of what is in it"
