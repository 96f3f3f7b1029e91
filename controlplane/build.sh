#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from their Go modules, once, into
# a cache folder keyed by go.mod and go.sum, and prints that folder. Warm, it only prints.
#
# KUBEBUILDER_ASSETS may name a folder that holds some of them already (what setup-envtest fetches: etcd, kube-apiserver,
# kubectl). Those of a version that will do are used, and only the others are built: the controller manager always is.
#
# KUBERNETES may be a minor version that has a folder of its own here, such as 1.33 (`make test-kubernetes`): then that one is built.
#
#   controlplane/build.sh missing    names what would have to be built, and builds nothing
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../hack/built.sh
. "$here/../hack/built.sh"
if [ -n "${KUBERNETES:-}" ] && [[ $(kubernetes) != v$KUBERNETES.* ]]; then
  known=$(cd "$here" && printf '%s ' [0-9]*)
  [ -f "$here/$KUBERNETES/go.mod" ] || { echo "there is no control plane of Kubernetes $KUBERNETES here: it is $(kubernetes), or one of: $known" >&2; exit 2; }
  here=$here/$KUBERNETES
fi
place controlplane
version=$(kubernetes)
minor=${version#v*.}; minor=${minor%%.*}
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

lock

# With assets a folder of links to both, so that they never get among what was built.
shown=$out
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  shown=$cache/controlplane-assets-$(printf '%s' "$key$KUBEBUILDER_ASSETS" | hash)
  mkdir -p "$shown"
  touch "$shown/.used"
fi
while read -r name package usual; do
  from=$out
  if assets_have "$name"; then from=$KUBEBUILDER_ASSETS; else build "$name" "$package" "$usual s" </dev/null; fi
  [ "$shown" = "$out" ] || ln -sf "$from/$name" "$shown/$name"
done <<<"$parts"
echo "$shown"
