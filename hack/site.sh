#!/usr/bin/env bash
# Builds the site of docs/ with mdBook into target/site, and looks whether each link in it leads somewhere. mdBook is built once, into the cache.
# A book can lead to nothing outside of its folder, so README and the others become pages of it, and manifests files beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh

version=0.5.4
tool=$MHSM_CACHE/mdbook-$version
if [ ! -x "$tool/bin/mdbook" ]; then
  echo "building mdBook (usually 4 to 8 minutes on two cores, once) ..." >&2
  CARGO_TARGET_DIR=$tool/build nice -n 10 cargo install --quiet --locked mdbook --version "$version" --no-default-features --features search --root "$tool"
  rm -rf "$tool/build"
fi

source=target/site-source pages=target/site-source/docs site=target/site
rm -rf "$source" "$site"
mkdir -p "$source" target
cp -R docs "$pages"
cp README.md "$pages/introduction.md"
cp SECURITY.md CHANGELOG.md "$pages/"
cp charts/managed-hsm-operator/README.md "$pages/chart.md"
cp book.toml "$source/"
mkdir -p "$source/hack"
cp hack/site.css "$source/hack/"

# What pages lead to and is no page: a copy, and of a folder a list.
beside() { # folder
  local file
  mkdir -p "$pages/$1"
  cp -R "$1/." "$pages/$1"
  {
    echo "<!doctype html><meta charset=utf-8><title>$1</title><h1>$1</h1><ul>"
    (cd "$1" && find . -type f | LC_ALL=C sort) | while IFS= read -r file; do echo "<li><a href=\"${file#./}\">${file#./}</a>"; done
    echo "</ul>"
  } >"$pages/$1/index.html"
}
folders="crds deploy/argocd deploy/krew deploy/samples deploy/examples src/softdelete"
for folder in $folders; do beside "$folder"; done
for page in "$pages"/*.md; do
  sed -E \
    -e 's#\]\(docs/#](#g' \
    -e 's#\]\((\.\./)*README\.md#](introduction.md#g' \
    -e 's#\]\((\.\./)*charts/managed-hsm-operator/README\.md#](chart.md#g' \
    -e 's#\]\(\.\./\.\./docs/#](#g' \
    -e "s#\]\(\.\./(${folders// /|})\)#](\1/index.html)#g" \
    -e 's#\]\(\.\./#](#g' \
    "$page" >"$page.new"
  mv "$page.new" "$page"
done
"$tool/bin/mdbook" build "$source" --dest-dir "$PWD/$site"

# Each link of each page: the file is there, and in it what is named after #.
broken=0
for page in "$site"/*.html; do
  case ${page##*/} in print.html | toc.html | 404.html) continue ;; esac
  while IFS= read -r link; do
    file=${link%%#*} anchor=
    case $link in *'#'*) anchor=${link#*#} ;; esac
    if [ -z "$file" ]; then file=${page##*/}; fi
    if [ ! -f "$site/$file" ] || { [ -n "$anchor" ] && ! grep -qF "id=\"$anchor\"" "$site/$file"; }; then
      echo "${page##*/}: $link leads nowhere" >&2
      broken=1
    fi
  done < <(grep -oE '(href|src)="[^"]*"' "$page" | sed -E 's/^[a-z]+="(.*)"$/\1/' | grep -vE '^(https?:|data:|javascript:)|^$' | LC_ALL=C sort -u)
done
[ "$broken" = 0 ] || exit 1
echo "$PWD/$site/index.html"
