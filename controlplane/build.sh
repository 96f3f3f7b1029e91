#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from their Go modules, once, into
# a cache folder keyed by go.mod and go.sum, and prints that folder. Warm, it only prints.
#
# KUBEBUILDER_ASSETS may name a folder that holds some of them already (what setup-envtest fetches: etcd, kube-apiserver,
# kubectl). Those of a version that will do are used, and only the others are built: the controller manager always is.
#
#   controlplane/build.sh missing    names what would have to be built, and builds nothing
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
hash() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16; }
key=$(cat "$here/go.mod" "$here/go.sum" | hash)
out=$cache/controlplane-$key
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2 } $1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' "$here/go.mod" | head -n1)
minor=${version#v*.}; minor=${minor%%.*}
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
only_ask=${1:-}

# name, package, usual seconds on two cores
parts="etcd go.etcd.io/etcd/server/v3 30
kubectl k8s.io/kubernetes/cmd/kubectl 60
kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver 240
kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager 70"

# Whether the assets have it in a version that goes with the rest. The controller manager built here must not be newer than the API server.
assets_have() { # name
  local program=${KUBEBUILDER_ASSETS:-}/$1 is least most
  [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$program" ] || return 1
  case $1 in
    etcd) is=$("$program" --version 2>/dev/null | sed -n 's/^etcd Version: 3\.\([0-9]*\).*/\1/p') least=5 most=6 ;;
    kubectl) is=$("$program" version --client 2>/dev/null | sed -n 's/^Client Version: v1\.\([0-9]*\).*/\1/p') least=$((minor - 1)) most=$((minor + 1)) ;;
    kube-apiserver) is=$("$program" --version 2>/dev/null | sed -n 's/^Kubernetes v1\.\([0-9]*\).*/\1/p') least=$minor most=$((minor + 1)) ;;
    *) is=$("$program" --version 2>/dev/null | sed -n 's/^Kubernetes v1\.\([0-9]*\).*/\1/p') least=$((minor - 1)) most=$minor ;;
  esac
  [ "${is:-0}" -ge "$least" ] && [ "${is:-0}" -le "$most" ] && return 0
  [ -n "$only_ask" ] || echo "note: $1 in KUBEBUILDER_ASSETS has the minor version ${is:-that it does not tell}, and $least to $most will do: the one built here is used" >&2
  return 1
}

if [ "$only_ask" = missing ]; then
  while read -r name _; do
    [ -x "$out/$name" ] || assets_have "$name" || echo "$name"
  done <<<"$parts"
  exit 0
fi

mkdir -p "$out"
touch "$out/.used" # hack/env.sh removes what nobody used for long
# One at a time. Where there is no flock (macOS) a folder is the lock; one whose owner is gone holds nobody up.
if command -v flock >/dev/null; then
  exec 9>"$out/.lock"
  flock 9
else
  until mkdir "$out/.building" 2>/dev/null; do
    owner=$(cat "$out/.building/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then rm -rf "$out/.building"; fi
    sleep 1
  done
  echo $$ >"$out/.building/pid"
  trap 'rm -rf "$out/.building"' EXIT
fi

build() { # name, package, usual seconds on two cores
  local name=$1 package=$2 usual=$3 began=$SECONDS
  [ -x "$out/$name" ] && return 0
  echo "building $name (usually $usual s on two cores, once) ..." >&2
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 10 go build -trimpath -ldflags "-s -w $stamp" -o "$out/$name.new" "$package")
  mv "$out/$name.new" "$out/$name"
  echo "built $name in $((SECONDS - began)) s" >&2
}

# With assets a folder of links to both, so that they never get among what was built.
shown=$out
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  shown=$cache/controlplane-assets-$(printf '%s' "$key$KUBEBUILDER_ASSETS" | hash)
  mkdir -p "$shown"
  touch "$shown/.used"
fi
while read -r name package usual; do
  from=$out
  if assets_have "$name"; then from=$KUBEBUILDER_ASSETS; else build "$name" "$package" "$usual" </dev/null; fi
  [ "$shown" = "$out" ] || ln -sf "$from/$name" "$shown/$name"
done <<<"$parts"
echo "$shown"
