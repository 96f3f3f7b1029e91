//! What Argo CD deletes and does not: pruning that is forbidden or asks, an Application that goes with all that it made, and sync options that
//! replace.

use serde_json::{Value, json};

use crate::argo_back::{accepted, counted};
use crate::argo_stories::{REVERT, TIDY_UP, at_work};
use crate::argocd::{
    SENTENCE, SYSTEM, application, green, looks, of_resource, refresh, seen, until,
};
use crate::house::House;
use crate::team::{BY_ITSELF, TEAM, thumbprints, uid};

/// Writes Argo's option on the HSM and its key, in Git.
fn option(value: &str) -> String {
    format!(
        "sed -i 's/^metadata:/&\\n  annotations: {{argocd.argoproj.io\\/sync-options: \"{value}\"}}/' payments/hsm.yaml payments/key.yaml && git commit -q -a -m 'Options' && git push -q"
    )
}

const DELETED: &str = "kubectl get dmhsm,dhkey -o name";

pub async fn kept() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.shows(&option("Prune=false"));
    green(&house, TEAM).await;
    house.shows(TIDY_UP);
    until(&house, TEAM, ["OutOfSync", "Healthy", "Succeeded"]).await;
    looks(&mut house);
    assert_eq!(thumbprints(&house), before);
    house.told("argo-prune-false");
}

pub async fn confirmed() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    house.shows(&option("Prune=confirm,Delete=confirm"));
    green(&house, TEAM).await;
    house.shows(TIDY_UP);
    until(&house, TEAM, ["OutOfSync", "Healthy", "Running"]).await;
    house.until(SENTENCE, "confirmation").await;
    looks(&mut house);
    house.shows(SENTENCE);
    for _ in 0..5 {
        refresh(&house, TEAM).await;
    }
    assert_eq!(thumbprints(&house), before);
    house.say("A mistake: taken back, and what waits is ended.");
    house.shows(REVERT);
    until(&house, TEAM, ["Synced", "Healthy", "Running"]).await;
    house.shows("argocd app terminate-op payments");
    until(&house, TEAM, ["Synced", "Healthy", "Failed"]).await;
    assert_eq!(thumbprints(&house), before);
    house.say("Or meant:");
    house.shows(TIDY_UP);
    until(&house, TEAM, ["OutOfSync", "Healthy", "Running"]).await;
    house.shows("argocd app confirm-deletion payments");
    green(&house, TEAM).await;
    assert_eq!(house.does(DELETED).lines().count(), 2);
    house.shows("kubectl get dmhsm,dhkey");
    house.told("argo-confirm");
}

/// Argo CD takes it for a mistake.
async fn empty_folder(house: &House) {
    let before = thumbprints(house);
    house.does("git rm -rq payments && git commit -q -m 'All of it' && git push -q");
    let look =
        format!("kubectl -n {SYSTEM} get application {TEAM} -o jsonpath={{.status.conditions}}");
    refresh(house, TEAM).await;
    house.until(&look, "app path does not exist").await;
    for _ in 0..5 {
        refresh(house, TEAM).await;
    }
    assert_eq!(thumbprints(house), before);
    house.does(REVERT);
    green(house, TEAM).await;
}

pub async fn cascade() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    empty_folder(&house).await;
    house.say("An Application with Argo's finalizer takes all that it made with it:");
    house.shows("kubectl -n argocd patch application payments --type merge -p '{\"metadata\":{\"finalizers\":[\"resources-finalizer.argocd.argoproj.io\"]}}' 2>/dev/null");
    house.shows("kubectl -n argocd delete application payments --timeout=120s 2>/dev/null");
    assert_eq!(house.does(DELETED).lines().count(), 2);
    house.shows("kubectl get dmhsm,dhkey");
    house.say("The same Application, made again:");
    application(&house, TEAM, &json!({})).await;
    house.say("The namespace was one of them:");
    accepted(&mut house).await;
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-cascade");
}

/// What its annotations say that proxies must not have.
fn proxies_are_nobody_s(house: &House) {
    let all = house.does("kubectl get dmhsm,dhkey -o json");
    let all: Value = serde_json::from_str(&all).expect("JSON");
    for proxy in all["items"].as_array().expect("a list") {
        let metadata = &proxy["metadata"];
        assert!(
            metadata["annotations"].is_null() && metadata["labels"].is_null(),
            "{metadata}"
        );
    }
}

pub async fn replaced() {
    let more = json!({"syncOptions": ["Replace=true"]});
    let mut house = at_work(House::new().await, BY_ITSELF, &more).await;
    let (before, hsm) = (thumbprints(&house), uid(&house, "managedhsm payments"));
    house.shows("sed -i 's/tier: gold/tier: silver/' payments/hsm.yaml && git commit -q -a -m 'Silver' && git push -q");
    until(&house, TEAM, ["OutOfSync", "Healthy", "Failed"]).await;
    looks(&mut house);
    let said = house.shows(&of_resource("ManagedHsm"));
    assert!(said.contains("metadata.finalizers"), "{said}");
    assert_eq!(uid(&house, "managedhsm payments"), hsm);
    assert_eq!(thumbprints(&house), before);
    house.told("argo-replace");
}

pub async fn forced() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let (before, hsm) = (thumbprints(&house), uid(&house, "managedhsm payments"));
    house.shows(&option("Force=true,Replace=true"));
    green(&house, TEAM).await;
    assert_ne!(
        uid(&house, "managedhsm payments"),
        hsm,
        "nothing was deleted"
    );
    proxies_are_nobody_s(&house);
    assert_eq!(thumbprints(&house), before);
    house.shows("kubectl -n argocd get applications");
    counted(&house).await;
    house.shows("kubectl -n shop get hsm");
    house.told("argo-force");
}

/// By default what was deleted by force is not made anew, and not lost.
pub async fn forced_and_refused() {
    let house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.does(&option("Force=true,Replace=true"));
    until(&house, TEAM, ["OutOfSync", "Healthy", "Failed"]).await;
    let said = house.does(&of_resource("ManagedHsm"));
    assert!(said.contains("This name is reserved"), "{said}");
    assert_eq!(house.does(DELETED).lines().count(), 2);
    house.does("kubectl hsm recover payments -n shop --with-keys");
    assert_eq!(thumbprints(&house), before);
}

/// Argo CD finds what is its own by a label, where it is told so; what was deleted carries none.
pub async fn by_label() {
    let mut house = House::new().await;
    crate::argocd::start(&mut house).await;
    house.does(&format!("kubectl -n {SYSTEM} patch configmap argocd-cm --type merge -p '{{\"data\":{{\"application.resourceTrackingMethod\":\"label\"}}}}'"));
    crate::team::begins(&house, "");
    application(&house, TEAM, &json!({})).await;
    green(&house, TEAM).await;
    let label =
        house.does("kubectl -n shop get managedhsm payments -o jsonpath={.metadata.labels}");
    assert!(label.contains("app.kubernetes.io/instance"), "{label}");
    house.does(TIDY_UP);
    green(&house, TEAM).await;
    for _ in 0..5 {
        refresh(&house, TEAM).await;
    }
    assert_eq!(house.does(DELETED).lines().count(), 2);
    proxies_are_nobody_s(&house);
    let resources = seen(&house, TEAM)["status"]["resources"].to_string();
    assert!(!resources.contains("Deleted"), "{resources}");
}
