//! How what was deleted comes back under Argo CD: in Git, by itself, and in a namespace that was made anew.

use std::time::Instant;

use serde_json::json;
use testplane::eventually;

use crate::argo_stories::{REVERT, TIDY_UP, at_work};
use crate::argocd::{self, SENTENCE, application, green, looks, of_resource, until};
use crate::house::{House, PATIENCE, took};
use crate::team::{BY_ITSELF, TEAM, begins, command, thumbprints};

const RECOVER: &str =
    "kubectl hsm recover payments -n shop --with-keys --dry-run=client -o yaml 2>/dev/null";
/// Before everything that has no wave.
const FIRST: &str =
    r#"sed 's/^metadata:/&\n  annotations: {argocd.argoproj.io\/sync-wave: "-1"}/'"#;

pub async fn in_git() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    let mistake = Instant::now();
    house.does(TIDY_UP);
    green(&house, TEAM).await;
    house.does(REVERT);
    until(&house, TEAM, ["OutOfSync", "Healthy", "Failed"]).await;
    house.shows(&format!("{RECOVER} |\n  {FIRST} >payments/recover.yaml"));
    house.shows("cat payments/recover.yaml");
    house.shows("git add -A && git commit -q -m 'Recover' && git push -q");
    let app = green(&house, TEAM).await;
    took(
        "from the mistake to the recovered key, with every step in between",
        mistake,
    );
    assert!(
        app["status"]["operationState"]["retryCount"].is_null(),
        "{app}"
    );
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-recover");

    // The Recover may go from Git again, or stay.
    house.does("git rm -q payments/recover.yaml && git commit -q -m 'It is back' && git push -q");
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house), before);
    still_argo_s(&mut house).await;
    house.told("argo-fields");
}

/// What came back belongs to Argo CD as it did: drift is put right, and Git takes fields away.
async fn still_argo_s(house: &mut House) {
    let tags = "kubectl -n shop get hsmkey signing -o 'jsonpath={.spec.tags}{\"\\n\"}'";
    house.shows("kubectl -n shop patch hsmkey signing --type merge -p '{\"spec\":{\"tags\":{\"owner\":\"mallory\"}}}'");
    house.until(tags, "payments").await;
    green(house, TEAM).await;
    house.shows(tags);
    house.say("What leaves Git leaves the object.");
    house.shows("sed -i '/labels:/d' payments/hsm.yaml && sed -i '/tags:/d' payments/key.yaml");
    house.shows("git commit -q -a -m 'Without a label, without tags' && git push -q");
    green(house, TEAM).await;
    assert_eq!(house.shows(tags), "\n");
    let label =
        "kubectl -n shop get managedhsm payments -o 'jsonpath={.metadata.labels.tier}{\"\\n\"}'";
    assert_eq!(house.shows(label), "\n");
}

/// The same where the API server keeps account of the fields, and not an annotation.
pub async fn in_git_server_side() {
    let more = json!({"syncOptions": ["ServerSideApply=true"]});
    let mut house = at_work(House::new().await, "", &more).await;
    let before = thumbprints(&house);
    house.does(TIDY_UP);
    green(&house, TEAM).await;
    house.does(&format!(
        "{RECOVER} | {FIRST} >recover.yaml; {REVERT}; mv recover.yaml payments/; git add -A; git commit -q -m 'Recover'; git push -q"
    ));
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house), before);
    still_argo_s(&mut house).await;
}

/// The next wave waits for it.
pub async fn wrong_uid() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.does(TIDY_UP);
    green(&house, TEAM).await;
    house.does(&format!("{RECOVER} | {FIRST} >recover.yaml; {REVERT}"));
    let wrong = "sed -E 's/uid: [0-9a-f]{8}/uid: 00000000/' recover.yaml >payments/recover.yaml";
    house.shows(wrong);
    house.does("git add -A payments && git commit -q -m 'Recover' && git push -q");
    until(&house, TEAM, ["OutOfSync", "Degraded", "Failed"]).await;
    looks(&mut house);
    let said = house.shows(&of_resource("Recover"));
    assert!(
        said.contains("There is no deleted ManagedHsm payments"),
        "{said}"
    );
    let hsm = house.does(&of_resource("ManagedHsm"));
    assert_eq!(hsm, "\n", "the next wave was applied");
    house.say("What it says is fixed:");
    house.shows("cp recover.yaml payments/ && git commit -q -a -m 'The right uid' && git push -q");
    until(&house, TEAM, ["OutOfSync", "Degraded", "Failed"]).await;
    let said = house.shows(&of_resource("Recover"));
    assert!(said.contains("denied request"), "{said}");
    house.say("The right one needs a name of its own.");
    house.shows(
        "sed 's/name: payments-.*/name: payments-again/' recover.yaml >payments/recover.yaml",
    );
    house.shows("git commit -q -a -m 'Another Recover' && git push -q");
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-wrong-uid");
}

/// An HSM counts its keys a moment later.
pub async fn counted(house: &House) {
    let keys = "kubectl -n shop get managedhsm payments -o jsonpath={.status.keys}";
    house.until(keys, "1").await;
}

pub async fn by_itself() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    let mistake = Instant::now();
    house.shows("kubectl -n shop delete managedhsm payments 2>/dev/null");
    house
        .until("kubectl -n shop get managedhsm payments", "True")
        .await;
    took("from the delete by hand to the recovered HSM", mistake);
    green(&house, TEAM).await;
    took("from the delete by hand to a green Application", mistake);
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    counted(&house).await;
    house.shows("kubectl -n shop get hsm");
    house.say("Pruned, and put back:");
    house.shows(TIDY_UP);
    green(&house, TEAM).await;
    let deleted = house.does("kubectl get dmhsm,dhkey -o name");
    assert_eq!(deleted.lines().count(), 2, "{deleted}");
    house.shows(REVERT);
    green(&house, TEAM).await;
    assert_eq!(thumbprints(&house), before);
    counted(&house).await;
    house.shows("kubectl -n shop get hsm");
    house.told("argo-by-itself");
}

/// As `argocd app get` has it.
const WHY: &str = "kubectl -n shop get managedhsm payments -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}'";

/// Waits until the HSM stands in a namespace that was made anew, and follows its sentence.
pub async fn accepted(house: &mut House) {
    house.until(WHY, "acceptNamespaceUid").await;
    until(house, TEAM, ["Synced", "Degraded", "Succeeded"]).await;
    looks(house);
    let said = house.shows(WHY);
    house.shows(command(&said));
    green(house, TEAM).await;
}

pub async fn namespace() {
    let mut house = House::new().await;
    argocd::start(&mut house).await;
    begins(&house, BY_ITSELF);
    house.does(
        "git rm -q payments/namespace.yaml && git commit -q -m 'Argo makes it' && git push -q",
    );
    // Argo's own pauses, 5 s and more: until then the namespace is gone.
    let more = json!({"syncOptions": ["CreateNamespace=true"], "retry": {"limit": 5}});
    application(&house, TEAM, &more).await;
    green(&house, TEAM).await;
    let before = thumbprints(&house);
    let mistake = Instant::now();
    house.shows("kubectl delete namespace shop --timeout=60s 2>/dev/null");
    house.say("Argo CD makes the namespace anew. Keys don't pass to whoever takes a free name:");
    accepted(&mut house).await;
    took("from the deleted namespace to the recovered key", mistake);
    assert_eq!(thumbprints(&house), before);
    looks(&mut house);
    house.told("argo-namespace");
}

/// Where the namespace is a manifest of the Application itself, self-heal may ask only for what was missing while the namespace still went.
pub async fn namespace_in_git() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    house.does("kubectl delete namespace shop --timeout=60s 2>/dev/null");
    let phase = "kubectl -n argocd get application payments -o jsonpath={.status.operationState.phase},{.status.health.status}";
    eventually("it is given up, or stands", PATIENCE, async || {
        let now = house.does(phase);
        match now.as_str() {
            "Failed,Missing" | "Succeeded,Degraded" => Ok(()),
            _ => Err(now),
        }
    })
    .await;
    let given_up = house.does(phase).starts_with("Failed");
    println!("given up: {given_up}: {}", house.does(SENTENCE));
    if given_up {
        house.does("argocd app sync payments >/dev/null");
    }
    accepted(&mut house).await;
    assert_eq!(thumbprints(&house), before);
}
