//! Releases that Flux's helm-controller makes: the operator's own chart, and a team's.

use serde_json::json;
use testplane::{eventually, project_dir};

use crate::flux::{self, SYSTEM, release};
use crate::house::{House, PATIENCE};
use crate::team::{BY_ITSELF, thumbprints};

const LOOK: &str = "kubectl -n flux-system get helmreleases";
const DEFINITIONS: &str = "kubectl get crds -o name | grep -c managedhsm.dev";

/// A team's own chart: an HSM and a key, of which Helm makes the key first.
fn team(spec: &str) -> String {
    format!(
        "apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata:
  name: payments
spec:
  retentionDays: 30
{spec}---
apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata:
  name: signing
spec:
  hsm: payments
  keyType: EC
  curve: P-256
{spec}"
    )
}

pub async fn come_and_go() {
    let mut house = House::bare().await;
    flux::start(&house).await;
    flux::start_helm(&house);
    let chart = project_dir().join("charts/managed-hsm-operator");
    house.does(&format!(
        "mkdir charts && cp -R {} charts/",
        chart.display()
    ));
    house.repository.push(
        "Charts",
        &[
            (
                "charts/team/Chart.yaml",
                "apiVersion: v2\nname: team\nversion: 1.0.0\n",
            ),
            ("charts/team/templates/all.yaml", &team("")),
        ],
    );
    // No node is there to run the pod, so nobody waits for it; the operator runs beside.
    let unwaited = json!({"disableWait": true});
    let install = json!({"createNamespace": true, "disableWait": true});
    let values = |days: u32| {
        json!({"install": install, "upgrade": unwaited, "uninstall": unwaited,
            "values": {"purgeHistory": days}})
    };
    let operator = "managed-hsm-operator";
    let path = "./charts/managed-hsm-operator";
    release(&house, operator, operator, path, &values(365)).await;
    house
        .until(
            LOOK,
            "Helm install succeeded for release managed-hsm-operator/managed-hsm-operator.v1",
        )
        .await;
    assert_eq!(house.does(DEFINITIONS), "6\n");
    release(&house, operator, operator, path, &values(300)).await;
    house
        .until(
            LOOK,
            "Helm upgrade succeeded for release managed-hsm-operator/managed-hsm-operator.v2",
        )
        .await;
    house.start_operator().await;

    release(&house, "team", "shop", "./charts/team", &json!({})).await;
    house
        .until(LOOK, "Helm install succeeded for release shop/team.v1")
        .await;
    let before = thumbprints(&house);
    assert_eq!(before.len(), 1);
    house.shows(LOOK);
    house.say("Somebody deletes the team's release, and it is declared anew.");
    house.shows("kubectl -n flux-system delete helmrelease team 2>&1");
    house.shows("kubectl get dmhsm,dhkey");
    release(&house, "team", "shop", "./charts/team", &json!({})).await;
    house
        .until(
            LOOK,
            "failed early due to stalled resources: [HsmKey/shop/signing status: 'Failed']",
        )
        .await;
    house.shows(LOOK);
    house.shows("kubectl -n shop get managedhsms,hsmkeys");
    house.say("With createMode: CreateOrRecover in the chart it comes back.");
    house.repository.push(
        "By itself",
        &[("charts/team/templates/all.yaml", &team(BY_ITSELF))],
    );
    house.does(&format!("kubectl -n {SYSTEM} annotate --overwrite gitrepository tenants reconcile.fluxcd.io/requestedAt=1"));
    eventually("it is back", PATIENCE, async || {
        let said = house.does(LOOK);
        let good = said
            .lines()
            .any(|line| line.starts_with("team") && line.contains("True"));
        good.then_some(()).ok_or(said + &house.plane.logs())
    })
    .await;
    assert_eq!(thumbprints(&house), before);
    house.shows(&format!("{LOOK} team"));
    house.say("Deleted and declared anew once more, it is ready at once.");
    house.does("kubectl -n flux-system delete helmrelease team");
    assert_eq!(
        house.does("kubectl -n shop get managedhsms,hsmkeys -o name"),
        ""
    );
    release(&house, "team", "shop", "./charts/team", &json!({})).await;
    // An install that fails is not tried again.
    let settled =
        "kubectl -n flux-system wait helmrelease/team --for=condition=Released --timeout=120s";
    house.does(settled);
    let said = house.shows(&format!("{LOOK} team"));
    assert!(
        said.contains("Helm install succeeded for release shop/team.v1"),
        "{said}"
    );
    assert_eq!(thumbprints(&house), before);
    house.say("The operator's release goes: definitions, HSMs and keys stay.");
    house.shows(&format!(
        "kubectl -n {SYSTEM} delete helmrelease {operator} 2>&1"
    ));
    house.shows(DEFINITIONS);
    assert_eq!(house.does(DEFINITIONS), "6\n");
    assert_eq!(thumbprints(&house), before);
    house.told("flux-releases");
}
