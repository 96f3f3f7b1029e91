# shellcheck shell=bash
# Sourced by controlplane/build.sh and tools/build.sh: programs built once from a Go module into a cache folder keyed by what makes them.
# shellcheck disable=SC2154 # `here` is the caller's: the module's folder

cache=${MHSM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/managed-hsm-operator}
hash() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16; }

# Sets `key`, and `out`, the folder of that name and key. (A module may have some Go of its own; a folder with a go.mod is another module.)
place() { # the folder's name
  local others=() other
  for other in "$here"/*/go.mod; do [ ! -f "$other" ] || others+=(-path "${other%/go.mod}" -prune -o); done
  key=$(find "$here" ${others[@]+"${others[@]}"} \( -name '*.go' -o -name go.mod -o -name go.sum \) -print | LC_ALL=C sort | while IFS= read -r file; do cat "$file"; done | hash)
  out=$cache/$1-$key
}

# One builds at a time. Where there is no flock (macOS) a folder is the lock; one whose owner is gone holds nobody up.
lock() {
  mkdir -p "$out"
  touch "$out/.used" # hack/env.sh removes what nobody used for long
  if command -v flock >/dev/null; then
    exec 9>"$out/.lock"
    flock 9
    return
  fi
  until mkdir "$out/.building" 2>/dev/null; do
    owner=$(cat "$out/.building/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then rm -rf "$out/.building"; fi
    sleep 1
  done
  echo $$ >"$out/.building/pid"
  trap 'rm -rf "$out/.building"' EXIT
}

# The version of another module that this one requires, if it does.
required() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2 } $1 == "require" && $2 == module { print $3 }' "$here/go.mod" | head -n1; }
kubernetes() { required k8s.io/kubernetes; }

build() { # name, package, usual time on two cores
  local name=$1 package=$2 usual=$3 began=$SECONDS version flags="-s -w" minor package_of_helm
  [ -x "$out/$name" ] && return 0
  version=$(kubernetes)
  if [ -n "$version" ]; then
    minor=${version#v*.} minor=${minor%%.*}
    flags+=" -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
  fi
  # Where Helm 3 asks no server, it takes its version to be that of the client in it.
  if [ -n "$(required helm.sh/helm/v3)" ]; then
    version=$(required k8s.io/client-go) minor=${version#v*.} minor=${minor%%.*}
    for package_of_helm in chartutil lint/rules; do
      flags+=" -X helm.sh/helm/v3/pkg/$package_of_helm.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package_of_helm.k8sVersionMinor=$minor"
    done
  fi
  echo "building $name (usually $usual on two cores, once) ..." >&2
  # The tags leave out what no test needs: snapshotters of containerd with headers of their own, Prometheus' ways to find what it reads.
  (cd "$here" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 10 go build -trimpath -tags "no_btrfs no_devmapper no_zfs remove_all_sd" -ldflags "$flags" -o "$out/$name.new" "$package")
  mv "$out/$name.new" "$out/$name"
  echo "built $name in $((SECONDS - began)) s" >&2
}
