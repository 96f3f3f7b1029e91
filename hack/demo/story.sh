#!/usr/bin/env bash
# The story itself, for whatever cluster KUBECONFIG names. Ends with an error unless the recovered key is the
# deleted one. OPERATOR names the operator's executable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/mhsm-demo-XXXXXX")
bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[36m' plain=$'\e[0m'; fi

tell() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

kubectl_() { command kubectl --namespace demo "$@"; }

# Shows a kubectl command as one would type it, then what it prints.
run() {
  local word line='kubectl'
  for word in "$@"; do
    case $word in *'{'* | *' '*) line+=" '$word'" ;; *) line+=" $word" ;; esac
  done
  printf '%s$ %s%s\n' "$dim" "$line" "$plain"
  kubectl_ "$@"
}

columns='custom-columns=KEY:.metadata.name,THUMBPRINT:.status.versions[0].thumbprint'
thumbprints() { kubectl_ get hsmkeys -o "$columns" | tr -s ' '; }

# Fails unless the keys have the thumbprints that they had in the beginning.
same_keys() {
  run get hsmkeys -o "$columns"
  local now
  now=$(thumbprints)
  if [ "$now" != "$before" ]; then
    printf 'NOT the same keys. They were:\n%s\n' "$before" >&2
    exit 1
  fi
}

# Shows and applies a manifest made from a template.
ask() { # template, then KIND NAME UID USER as they are to be, then more lines of the spec
  local manifest line
  manifest=$(cat "hack/demo/$1")
  manifest=${manifest//KIND/$2}
  manifest=${manifest//NAME/$3}
  manifest=${manifest//UID/$4}
  manifest=${manifest//USER/$5}
  for line in "${@:6}"; do manifest+=$'\n  '$line; done
  printf '%s$ kubectl apply -f - <<END\n%s\nEND%s\n' "$dim" "$manifest" "$plain"
  kubectl_ apply -f - <<<"$manifest"
}

# Recovers the deleted object with this uid.
recover() { # kind, name, uid, more lines of the spec
  ask recover.yaml "$1" "$2" "$3" '' "${@:4}"
  run wait --for=condition=Complete --timeout=60s "recover/$2-back"
}

# Asks for the purge of the deleted object with this uid, and waits for that end.
purge() { # kind, name, uid, condition
  ask purge.yaml "$1" "$2" "$3" "$(kubectl_ auth whoami -o jsonpath='{.status.userInfo.username}')"
  run wait "--for=condition=$4" --timeout=60s "purge/$2"
}

finish() {
  local code=$?
  [ -z "${operator:-}" ] || { kill "$operator" 2>/dev/null; wait "$operator" 2>/dev/null; } || true
  if [ $code != 0 ]; then
    printf '\nThe story broke off. What stands in the cluster, and what the operator said last:\n' >&2
    kubectl_ get hsm -o wide >&2 || true
    tail -n 30 "$work/operator.log" >&2 || true
  fi
  rm -rf "$work"
  exit $code
}
trap finish EXIT

# shellcheck source=operator.sh
. hack/demo/operator.sh

install
start_operator
command kubectl create namespace demo >/dev/null
sleep 1
kill -0 "$operator" 2>/dev/null || { echo "the operator ended as soon as it was started" >&2; exit 1; }

tell "An HSM is a manifest, and so is each key in it. The operator makes both."
run apply -f hack/demo/payments.yaml
run wait --for=condition=Ready --timeout=60s -f hack/demo/payments.yaml
run get hsm

tell "The thumbprints of the public keys will tell us whether we get the same keys back."
run get hsmkeys -o "$columns"
before=$(thumbprints)
case $before in *"<none>"*) echo "a key is ready and shows no thumbprint" >&2; exit 1 ;; esac

tell "Somebody deletes a key. The resource is gone at once, and its material refuses every use."
run delete hsmkey invoice-signing --timeout=60s

tell "But it is not destroyed: a stored record of it stands until the day of its purge."
run get deletedhsmkeys
uid=$(kubectl_ get deletedhsmkey demo.invoice-signing -o jsonpath='{.spec.origin.uid}')

tell "Its name is reserved for it. A new key of that name gets no material, and says why and what to do."
run apply -f hack/demo/payments.yaml
run wait --for='jsonpath={.status.conditions[?(@.type=="Ready")].reason}=ObjectIsDeletedButRecoverable' --timeout=60s hsmkey/invoice-signing
run get hsmkey invoice-signing -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}{"\n"}'

tell "A Recover names the deleted key by its uid, so that it can mean no other."
recover HsmKey invoice-signing "$uid"
run wait --for=condition=Ready --timeout=60s hsmkey/invoice-signing

tell "It is back, and it is the very same key."
same_keys

tell "Now the whole HSM goes, by mistake. Its keys share its fate."
run delete managedhsm payments --timeout=60s
run wait --for=condition=Ready=False --timeout=60s hsmkey --all
run get hsm

tell "Recovering it brings back everything that was live in it."
uid=$(kubectl_ get deletedmanagedhsm demo.payments -o jsonpath='{.spec.origin.uid}')
recover ManagedHsm payments "$uid"
run wait --for=condition=Ready --timeout=60s -f hack/demo/payments.yaml

tell "The same keys once more."
same_keys

tell "What nobody may destroy early is protected: not even a privileged user purges it before its time."
run apply -f hack/demo/protected.yaml
run wait --for=condition=Ready --timeout=60s hsmkey/root-ca
before=$(thumbprints | grep -v archive-wrapping)
run delete hsmkey root-ca --timeout=60s
uid=$(kubectl_ get deletedhsmkey demo.root-ca -o jsonpath='{.spec.origin.uid}')
purge DeletedHsmKey root-ca "$uid" Failed
run get purge root-ca -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}{"\n"}'

tell "What is not protected can be purged on request. That is final, and it leaves a receipt."
run delete hsmkey archive-wrapping --timeout=60s
uid=$(kubectl_ get deletedhsmkey demo.archive-wrapping -o jsonpath='{.spec.origin.uid}')
purge DeletedHsmKey archive-wrapping "$uid" Complete
run get purge archive-wrapping -o 'jsonpath={.status.destroyed}{"\n"}'

tell "Now the whole namespace goes, with all that is in it. It is not held up, and nothing is lost."
run delete namespace demo --timeout=120s
run get deletedmanagedhsms,deletedhsmkeys

tell "It is made anew. Keys don't pass to whoever takes a free name: the Recover must accept the new namespace by its uid."
run create namespace demo
uid=$(kubectl_ get deletedmanagedhsm demo.payments -o jsonpath='{.spec.origin.uid}')
namespace=$(kubectl_ get namespace demo -o jsonpath='{.metadata.uid}')
recover ManagedHsm payments "$uid" "includeKeys: All" "acceptNamespaceUid: $namespace"

tell "The HSM, and with it every key that the namespace lost."
run get hsm
same_keys

tell "When the retention is over the operator purges by itself, a day after it said so. For this a day is a second now."
start_operator --day-length 1s
run apply -f hack/demo/scratch.yaml
run wait --for=condition=Ready --timeout=60s managedhsm/scratch
run delete managedhsm scratch --timeout=60s
run wait --for=condition=PurgeAnnounced --timeout=60s deletedmanagedhsm/demo.scratch
run get deletedmanagedhsm demo.scratch
run wait --for=delete --timeout=60s deletedmanagedhsm/demo.scratch
run get purges

tell "Nothing was lost that was not meant to be. (Had a thumbprint differed, this command would have failed.)"
