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
thumbprints() { kubectl_ get hsmkeys -o "$columns"; }

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

# Shows and applies a Recover of the deleted object with this uid.
recover() { # kind, name, uid
  local manifest
  manifest=$(sed "s/KIND/$1/; s/NAME/$2/g; s/UID/$3/" hack/demo/recover.yaml)
  printf '%s$ kubectl apply -f - <<END\n%s\nEND%s\n' "$dim" "$manifest" "$plain"
  kubectl_ apply -f - <<<"$manifest"
  run wait --for=condition=Complete --timeout=60s "recover/$2-back"
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

start_operator() {
  # It makes its own PINs, in the data folder.
  "$OPERATOR" run --data-dir "$work/data" --metrics-addr 127.0.0.1:0 >"$work/operator.log" 2>&1 &
  operator=$!
}

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
tell "Nothing was lost. (Had a thumbprint differed, this command would have failed.)"
