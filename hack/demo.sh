#!/usr/bin/env bash
# The demo: builds what it needs, starts a throw-away control plane and the operator, and tells the story in
# hack/demo/story.sh with the real kubectl. CLUSTER=current tells it in the cluster of your KUBECONFIG instead;
# the argument `play` opens a shell in that control plane in place of the story (hack/demo/play.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=env.sh
. hack/env.sh

echo "Building the operator, and a control plane to run it in, where they are not built yet (usually 12 minutes on two cores the first time, seconds after)."
# Both say on stderr what they are at.
controlplane/build.sh >/dev/null &
plane=$!
trap 'kill $plane 2>/dev/null || true' EXIT
cargo build --locked --bin managed-hsm-operator --bin kubectl-hsm --example plane
wait $plane || { echo "the control plane could not be built; see above" >&2; exit 1; }
trap - EXIT
export OPERATOR=$CARGO_TARGET_DIR/debug/managed-hsm-operator

if [ "${CLUSTER:-}" != current ]; then
  echo "Starting etcd, kube-apiserver and kube-controller-manager on loopback (usually 6 seconds)."
  exec "$CARGO_TARGET_DIR/debug/examples/plane" run -- "hack/demo/${1:-story}.sh"
fi

[ -n "${KUBECONFIG:-}" ] || { echo "CLUSTER=current needs KUBECONFIG to be set, so that no cluster is changed by accident." >&2; exit 1; }
# Two operators with two stores would each take the other's material for lost.
if kubectl get crd managedhsms.managedhsm.dev >/dev/null 2>&1; then
  echo "This cluster has our CRDs already: the demo does not mix with an operator that may be at work there." >&2
  exit 1
fi
kubectl apply --server-side -f crds/
kubectl wait --for=condition=Established --timeout=60s -f crds/
code=0
hack/demo/story.sh || code=$?
kubectl delete namespace demo --ignore-not-found --wait=false
# While the policies stand, nobody deletes the definitions or the operator's namespace by accident.
kubectl delete -f deploy/base/policies.yaml
sleep 3 # the API server enforces a change a moment later
kubectl delete -f deploy/base/access.yaml -f deploy/base/namespace.yaml --wait=false
echo "The demo's CRDs are still there; with them away every trace is gone: kubectl delete -f crds/"
exit $code
