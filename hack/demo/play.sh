#!/usr/bin/env bash
# A shell with a cluster to play in: the operator at work, kubectl and kubectl hsm in the PATH, a namespace that is the context's. All of it goes with the shell.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d "${TMPDIR:-/tmp}/mhsm-play-XXXXXX")

finish() {
  local code=$?
  [ -z "${operator:-}" ] || { kill "$operator" 2>/dev/null; wait "$operator" 2>/dev/null; } || true
  rm -rf "$work"
  exit $code
}
trap finish EXIT

# shellcheck source=operator.sh
. hack/demo/operator.sh

install
start_operator
kubectl apply --server-side -f deploy/base/roles.yaml >/dev/null
kubectl create namespace demo >/dev/null
kubectl config set-context --current --namespace=demo >/dev/null
# A definition that was just applied is found a moment later.
for _ in {1..60}; do ! kubectl get hsm >/dev/null 2>&1 || break; sleep 0.5; done
mkdir "$work/bin"
ln -s "$OPERATOR" "$(dirname "$OPERATOR")/kubectl-hsm" "$work/bin/"
ln -s kubectl-hsm "$work/bin/kubectl_complete-hsm"
export PATH=$work/bin:$PATH
unset MHSM_CACHE # the build's, and no variable of the operator's

cat <<END
You are the administrator of a cluster of your own, in the namespace demo. Try:

  kubectl apply -f hack/demo/payments.yaml     an HSM and two keys
  kubectl get hsm
  kubectl delete hsmkey invoice-signing
  kubectl hsm list-deleted
  kubectl hsm recover invoice-signing

docs/use.md goes on from there. The operator's log: $work/operator.log
"exit" ends all of it, and nothing is kept.
END
"${SHELL:-bash}" || true
