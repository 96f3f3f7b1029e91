#!/usr/bin/env bash
# Makes the operator's image as an OCI archive, without a daemon and without a registry: the executable, exactly the shared
# libraries that it is linked to, and an account to run as. The same sources and toolchain give the same bytes, in any folder.
#
#   hack/image.sh [--executable FILE] [--out FILE] [--name NAME:TAG]      the archive (target/image.tar), and beside it what is in it
#                                                                         (image.cdx.json, CycloneDX); without --executable a release is built
#   hack/image.sh [--executable FILE] --rootfs FOLDER                     only what is in it, for the Dockerfile
#
# The archive is an OCI layout that also says what `docker load` reads: podman load, docker load, ctr images import, skopeo.
# Times are those of the last commit, or SOURCE_DATE_EPOCH.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD program=managed-hsm-operator user=65532
version=$(awk -F '"' '$1 == "version = " { print $2; exit }' Cargo.toml)

executable='' out='' rootfs='' name=''
while [ $# -gt 0 ]; do
  case $1 in
    --executable) executable=$2 program=$(basename "$2") ;;
    --out) out=$2 ;;
    --rootfs) rootfs=$2 ;;
    --name) name=$2 ;;
    *) echo "what is $1? usage: hack/image.sh [--executable FILE] [--out FILE] [--name NAME:TAG] [--rootfs FOLDER]" >&2; exit 2 ;;
  esac
  shift 2
done
name=${name:-$program:$version}

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || true)}
[ -n "$epoch" ] || { echo "there is no commit to take the time from; set SOURCE_DATE_EPOCH to seconds since 1970" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Paths that the compiler would write into the executable get names that are the same everywhere.
release() {
  # shellcheck source=env.sh
  needs_go=no . hack/env.sh
  local sysroot
  sysroot=$(rustc --print sysroot)
  local flags=(
    "--remap-path-prefix=$root=/src" "--remap-path-prefix=$CARGO_TARGET_DIR=/target"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" "--remap-path-prefix=$sysroot=/rust"
  )
  local prefixes="-ffile-prefix-map=$CARGO_TARGET_DIR=/target -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}") CFLAGS=$prefixes SOURCE_DATE_EPOCH=$epoch \
    cargo build --release --locked --bin "$program" >&2
  executable=$CARGO_TARGET_DIR/release/$program
}

# The executable, its loader and libraries where it looks for them, the account, and a folder for its store.
fill() { # folder
  local into=$1 library
  mkdir -p "$into"/{etc,tmp,usr/bin,var/lib/$program}
  install -m 755 "$executable" "$into/usr/bin/$program"
  while read -r library; do
    install -D -m 755 "$library" "$into$library"
  done < <(ldd "$executable" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | sort -u)
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n' $user $user >"$into/etc/passwd"
  printf 'root:x:0:\nnonroot:x:%d:\n' $user >"$into/etc/group"
  install -D -m 644 LICENSE "$into/usr/share/doc/$program/LICENSE"
  chmod 755 "$into" "$into"/{etc,usr,usr/bin,var,var/lib,var/lib/$program}
  chmod 1777 "$into/tmp"
  find "$into" -type d ! -name tmp -exec chmod 755 {} +
  chmod 644 "$into"/etc/{passwd,group}
}

packed() { # folder, tar file: the same bytes for the same content
  local entries
  mapfile -t entries < <(ls -A "$1")
  tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -C "$1" -cf "$2" "${entries[@]}"
}

blob() { # file -> its digest; the file is moved among the blobs
  local digest
  digest=$(sha256sum "$1" | cut -d ' ' -f 1)
  mv "$1" "$work/layout/blobs/sha256/$digest"
  printf '%s' "$digest"
}

described() { # media type, digest
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$1" "$2" "$(stat -c %s "$work/layout/blobs/sha256/$2")"
}

archive() {
  local created architecture layer config manifest whole
  created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
  case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
  mkdir -p "$work/layout/blobs/sha256"
  packed "$work/rootfs" "$work/layer.tar"
  layer=$(blob "$work/layer.tar")
  printf '{"created":"%s","architecture":"%s","os":"linux","config":{"User":"%d:%d","Env":["PATH=/usr/bin"],"Entrypoint":["%s"],"Cmd":["run"],"WorkingDir":"/","ExposedPorts":{"8080/tcp":{}},"Labels":{"org.opencontainers.image.title":"%s","org.opencontainers.image.version":"%s","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"hack/image.sh"}]}' \
    "$created" "$architecture" $user $user "/usr/bin/$program" "$program" "$version" "$layer" "$created" >"$work/config.json"
  config=$(blob "$work/config.json")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
    "$(described application/vnd.oci.image.config.v1+json "$config")" \
    "$(described application/vnd.oci.image.layer.v1.tar "$layer")" >"$work/manifest.json"
  manifest=$(blob "$work/manifest.json")
  # As a kubelet asks for it: containerd takes a name for what it is.
  case $name in */*) whole=$name ;; *) whole=docker.io/library/$name ;; esac
  printf '{"imageLayoutVersion":"1.0.0"}' >"$work/layout/oci-layout"
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' \
    "$(described application/vnd.oci.image.manifest.v1+json "$manifest" |
      sed "s|}\$|,\"annotations\":{\"org.opencontainers.image.ref.name\":\"${name##*:}\",\"io.containerd.image.name\":\"$whole\"}}|")" >"$work/layout/index.json"
  printf '[{"Config":"blobs/sha256/%s","RepoTags":["%s"],"Layers":["blobs/sha256/%s"]}]' "$config" "$name" "$layer" >"$work/layout/manifest.json"
  find "$work/layout" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
  mkdir -p "$(dirname "$out")"
  packed "$work/layout" "$out.new"
  mv "$out.new" "$out"
}

[ -n "$executable" ] || release
if [ -n "$rootfs" ]; then
  fill "$rootfs"
  exit
fi
out=${out:-target/image.tar}
rm -f "${out%.tar}.cdx.json" # of another image
fill "$work/rootfs"
archive
hack/sbom.sh "$work/rootfs" "$out" "$epoch" >"${out%.tar}.cdx.json.new"
mv "${out%.tar}.cdx.json.new" "${out%.tar}.cdx.json"
megabytes=$(($(stat -c %s "$out") / 100000))
echo "$out: $name, $((megabytes / 10)).$((megabytes % 10)) MB, sha256 $(sha256sum "$out" | cut -d ' ' -f 1); what is in it: ${out%.tar}.cdx.json"
