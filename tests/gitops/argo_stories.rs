//! What becomes of HSMs under Argo CD: when it is green, and what it says of a name that is reserved.

use serde_json::{Value, json};

use crate::argocd::{
    self, SENTENCE, application, at_a_glance, green, looks, of_resource, refresh, seen, until,
};
use crate::house::House;
use crate::team::{TEAM, begins, command, thumbprints};

/// With its HSM and key ready.
pub async fn at_work(mut house: House, spec: &str, more: &Value) -> House {
    argocd::start(&mut house).await;
    begins(&house, spec);
    application(&house, TEAM, more).await;
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house).len(), 1);
    house
}

/// The folder keeps its namespace: Argo CD takes one that is empty for a mistake.
pub const TIDY_UP: &str =
    "git rm -q payments/hsm.yaml payments/key.yaml && git commit -q -m 'Tidy up' && git push -q";
pub const REVERT: &str = "git revert --no-edit HEAD >/dev/null && git push -q";

pub async fn ready() {
    let mut house = House::without_operator().await;
    argocd::start_without_health(&mut house).await;
    begins(&house, "");
    application(&house, TEAM, &json!({})).await;
    house.say("Without the scripts and without an operator:");
    green(&house, TEAM).await;
    looks(&mut house);
    house.say("With them (kubectl apply --server-side -f deploy/argocd/argocd-cm.yaml):");
    argocd::with_health(&house);
    until(&house, TEAM, ["Synced", "Progressing", "Succeeded"]).await;
    looks(&mut house);
    for _ in 0..5 {
        refresh(&house, TEAM).await;
        assert_eq!(at_a_glance(&seen(&house, TEAM))[1], "Progressing");
    }
    house.say("The operator starts.");
    house.start_operator().await;
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house).len(), 1);
    looks(&mut house);
    house.told("argo-ready");
}

/// What tells one sync from the next.
fn began(app: &Value) -> &Value {
    &app["status"]["operationState"]["startedAt"]
}

pub async fn refused() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.shows(TIDY_UP);
    green(&house, TEAM).await;
    house.say("Argo CD prunes: both are soft-deleted. Somebody takes the commit back.");
    house.shows("kubectl get dmhsm,dhkey");
    house.shows(REVERT);
    let app = until(&house, TEAM, ["OutOfSync", "Healthy", "Failed"]).await;
    looks(&mut house);
    let said = house.does(SENTENCE);
    assert!(said.contains("(retried 5 times)"), "{said}");
    let said = ["ManagedHsm", "HsmKey"].map(|kind| house.shows(&of_resource(kind)));
    house.told("argo-refused");

    // It does not loop.
    for _ in 0..5 {
        refresh(&house, TEAM).await;
    }
    let later = seen(&house, TEAM);
    assert_eq!(began(&later), began(&app));
    assert_eq!(later["status"]["operationState"]["retryCount"], 5);
    assert_eq!(later["status"]["conditions"][0]["type"], "SyncError");
    let events = house.does("kubectl -n argocd get events");
    assert!(events.contains("This name is reserved"), "{events}");

    house.say("The Recovers that the sentence names, one for each, given by hand:");
    for sentence in &said {
        house.shows(command(sentence));
    }
    let app = until(&house, TEAM, ["Synced", "Healthy", "Failed"]).await;
    assert!(app["status"]["conditions"].is_null(), "{app}");
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-by-hand");
}

pub async fn stands() {
    let mut house = at_work(House::without_webhook().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.does(TIDY_UP);
    green(&house, TEAM).await;
    house.does(REVERT);
    let app = until(&house, TEAM, ["Synced", "Degraded", "Succeeded"]).await;
    looks(&mut house);
    house.shows("kubectl -n shop get managedhsms,hsmkeys");
    let health = house.does("argocd app get payments -o json");
    assert!(
        health.contains(r#""message": "This name is reserved"#),
        "{health}"
    );
    for _ in 0..5 {
        refresh(&house, TEAM).await;
    }
    assert_eq!(began(&seen(&house, TEAM)), began(&app));
    house.shows("kubectl hsm recover payments -n shop --with-keys 2>/dev/null");
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-without-webhook");
}
