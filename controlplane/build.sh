#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from their Go modules, once, into
# a cache folder keyed by go.mod and go.sum, and prints that folder. Warm, it only prints.
# KUBEBUILDER_ASSETS may name a folder that holds some of them already: those are used as they are.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
key=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
out=$cache/controlplane-$key
mkdir -p "$out"
touch "$out/.used" # hack/env.sh removes what nobody used for long
exec 9>"$out/.lock"
flock 9
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2 } $1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' "$here/go.mod" | head -n1)
minor=${version#v*.}; minor=${minor%%.*}
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
build() { # name, package, usual seconds on two cores
  local name=$1 package=$2 usual=$3 began=$SECONDS
  [ -x "$out/$name" ] && return 0
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ]; then
    ln -sf "$KUBEBUILDER_ASSETS/$name" "$out/$name"; return 0
  fi
  echo "building $name (usually ${usual} s on two cores, once) ..." >&2
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 10 go build -trimpath -ldflags "-s -w $stamp" -o "$out/$name.new" "$package")
  mv "$out/$name.new" "$out/$name"
  echo "built $name in $((SECONDS - began)) s" >&2
}
build etcd go.etcd.io/etcd/server/v3 30
build kubectl k8s.io/kubernetes/cmd/kubectl 60
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver 180
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager 60
echo "$out"
