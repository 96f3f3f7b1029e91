#!/usr/bin/env bash
# Runs a command as root within namespaces of its own, made so that a whole node can work there: kubelet, containerd, kube-proxy, pods
# (tests/support/src/node.rs starts them). The machine keeps its mounts, routes, sysctls and firewall: outside there is one more cgroup for
# each controller and one more folder in TMPDIR, both gone in the end, and what the command leaves running ends with it.
#
#   hack/node.sh COMMAND...      ends with 69, after a sentence that says why, where it cannot be
#
# Within, NODE_ADDRESS is the address that the node may have.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

cannot() { echo "no node can be started here: $1" >&2; exit 69; }

look_for_what_it_takes() {
  [ "$(uname -s)" = Linux ] || cannot "it takes Linux"
  [ "$(id -u)" = 0 ] || cannot "it takes root, which makes the namespaces"
  local program
  for program in unshare:util-linux setpriv:util-linux ip:iproute2 nft:nftables runc:runc; do
    command -v "${program%:*}" >/dev/null || cannot "${program%:*} is not installed (Debian's package is ${program#*:})"
  done
  [ -n "$(controllers)" ] || cannot "this machine has cgroup v2 alone, and only cgroup v1 was tried"
}

# The hierarchies of cgroup v1: `cpu`, `name=systemd`, and the folder of this process in it.
controllers() { awk -F: '$2 != "" { print $2, $3 == "/" ? "" : $3 }' /proc/self/cgroup; }

outside() { # command
  look_for_what_it_takes
  local folder=${TMPDIR:-/tmp} left
  for left in "$folder"/mhsm-node-*; do
    # Of one that was killed outright.
    [ ! -d "$left" ] || kill -0 "${left##*-}" 2>/dev/null || remove "$left"
  done
  work=$folder/mhsm-node-$$ child=''
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  mkdir "$work"
  mapfile -t groups < <(controllers | sed "s|^\(name=\)\?\([^ ]*\) \(.*\)|/sys/fs/cgroup/\2\3/$(basename "$work")|")
  local group file
  for group in "${groups[@]}"; do
    mkdir "$group"
    # A new one has none, and then takes nobody.
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$group/$file" ] || cat "$(dirname "$group")/$file" >"$group/$file"
    done
  done
  (
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
    exec setpriv --pdeathsig KILL unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --mount-proc \
      "$BASH" "${BASH_SOURCE[0]}" --within "$work" "$@"
  ) &
  child=$!
  wait $child
}

clean_up() {
  [ -z "$child" ] || { kill -9 "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; }
  remove "$work"
}

remove() { # folder, with the cgroups of its name
  local name groups
  name=$(basename "$1")
  # What was killed is in there for a moment more.
  for _ in $(seq 50); do
    groups=$(find /sys/fs/cgroup -depth -type d -path "*/$name*")
    [ -n "$groups" ] || break
    xargs rmdir <<<"$groups" 2>/dev/null || sleep 0.1
  done
  rm -rf "$1"
}

mounts() { # folder
  local work=$1 folder hierarchy
  mount --make-rshared /
  mount -t sysfs sysfs /sys
  mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
  while read -r hierarchy _; do
    folder=/sys/fs/cgroup/${hierarchy#name=}
    mkdir "$folder"
    case $hierarchy in name=*) hierarchy=none,$hierarchy ;; esac
    mount -t cgroup -o "$hierarchy" cgroup "$folder"
  done < <(controllers)
  for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
  # No name is ever resolved, so that a pull that nobody meant fails at once.
  folder=$(readlink -m /etc/resolv.conf)
  [ -e "$folder" ] || install -D -m 644 /dev/null "$folder"
  echo 'nameserver 127.0.0.1' >"$work/resolv.conf"
  mount --bind "$work/resolv.conf" "$folder"
}

# The whole machine has one of each of these: kubelet finds what it wants there, and nobody writes.
sysctls() { # folder
  local work=$1 folder setting
  echo node >/proc/sys/kernel/hostname
  for folder in kernel vm; do
    mount --bind /proc/sys/$folder /proc/sys/$folder
    mount -o remount,bind,ro /proc/sys/$folder
  done
  for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    echo "${setting#*=}" >"$work/$(basename "${setting%=*}")"
    mount --bind "$work/$(basename "${setting%=*}")" "/proc/sys/${setting%=*}"
  done
}

# An interface that leads nowhere, with the node's address, since loopback's will not do.
network() {
  ip link set lo up
  ip link add node0 type veth peer name node1
  ip address add "$NODE_ADDRESS/24" dev node0
  ip link set node0 up
  ip link set node1 up
  ip route add default dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

# As process 1, which every process falls to: it buries them, and when it ends the kernel ends them all.
within() { # folder, command
  export NODE_ADDRESS=10.90.0.1 TMPDIR=$1
  mounts "$1"
  sysctls "$1"
  network
  shift
  "$@" &
  wait $!
}

if [ "${1:-}" = --within ]; then
  shift
  within "$@"
else
  outside "$@"
fi
