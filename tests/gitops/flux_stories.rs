//! What becomes of HSMs under Flux.

use serde_json::json;

use crate::flux::{self, SYSTEM, kustomization, reconciled};
use crate::house::House;

const HSM: &str = "apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata:
  name: payments
  namespace: shop
  labels: {team: payments}
spec:
  retentionDays: 30
";
const KEY: &str = "apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata:
  name: signing
  namespace: shop
spec:
  hsm: payments
  keyType: EC
  curve: P-256
  tags: {cost-centre: '4711'}
";
const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: shop
";

/// Where the team looks, and what it sees there.
const LOOK: &str = "kubectl -n flux-system get kustomizations";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_and_put_back_says_how_it_comes_back() {
    let mut house = House::new().await;
    flux::start(&house).await;
    house.repository.push(
        "Payments",
        &[
            ("payments/namespace.yaml", NAMESPACE),
            ("payments/hsm.yaml", HSM),
            ("payments/key.yaml", KEY),
        ],
    );
    kustomization(&house, "payments", &json!({})).await;
    let ready = reconciled(&house, "payments").await;
    assert_eq!(ready["status"], "True", "{ready}");
    house.shows(LOOK);
    house.does("git rm -q payments/hsm.yaml payments/key.yaml && git commit -q -m 'Tidy up' && git push -q");
    let ready = reconciled(&house, "payments").await;
    assert_eq!(ready["status"], "True", "{ready}");
    house.shows("kubectl get hsm");
    house.does("git revert --no-edit HEAD >/dev/null && git push -q");
    let ready = reconciled(&house, "payments").await;
    println!("{ready}");
    house.shows(LOOK);
    house.shows(&format!("kubectl -n {SYSTEM} get events"));
    house.told("flux-prune");
}
