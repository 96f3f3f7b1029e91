# shellcheck shell=bash
# shellcheck disable=SC2154 # `work` is the caller's
# Sourced by the story and the playground: the operator in the cluster that KUBECONFIG names, its files in the folder $work.

# What an installation has but for the pod: the operator runs here, as its account, with the account's rights.
account=managed-hsm-operator
install() {
  local file
  for file in namespace access policies; do
    command kubectl apply --server-side -f "deploy/base/$file.yaml" >/dev/null
  done
  command kubectl config view --raw --minify --flatten >"$work/kubeconfig"
  KUBECONFIG=$work/kubeconfig command kubectl config set-credentials "$account" >/dev/null \
    --token="$(command kubectl create token "$account" --namespace "$account")"
  KUBECONFIG=$work/kubeconfig command kubectl config set-context --current --user="$account" >/dev/null
}

# It makes its own PINs, in the data folder.
start_operator() { # more flags
  [ -z "${operator:-}" ] || { kill "$operator"; wait "$operator" || true; }
  KUBECONFIG=$work/kubeconfig "$OPERATOR" run --namespace "$account" --data-dir "$work/data" --metrics-addr 127.0.0.1:0 "$@" >>"$work/operator.log" 2>&1 &
  operator=$!
}
