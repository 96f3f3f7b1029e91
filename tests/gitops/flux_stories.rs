//! What becomes of HSMs under Flux: the recipes of `docs/gitops.md`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::flux::{self, kustomization, reconciled};
use crate::house::{House, took};
use crate::team::{self, BY_ITSELF, TEAM, begins, command, thumbprints, uid};

/// Where the team looks, and what it sees there.
const LOOK: &str = "kubectl -n flux-system get kustomizations";

#[track_caller]
fn applied(ready: &Value) {
    assert_eq!(ready["status"], "True", "{ready}");
}

/// The next sync, and if it finds a key that says what was a moment ago, the one after.
async fn settles(house: &House) {
    reconciled(house, TEAM).await;
    let head = house.repository.head();
    house
        .until(LOOK, &format!("True    Applied revision: main@sha1:{head}"))
        .await;
}

#[track_caller]
fn refused(ready: &Value, words: &str) -> String {
    assert_eq!(ready["status"], "False", "{ready}");
    let message = ready["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(words), "{message}");
    message
}

/// With its HSM and key ready.
async fn at_work(house: House, spec: &str, more: &Value) -> House {
    flux::start(&house).await;
    begins(&house, spec);
    kustomization(&house, TEAM, more).await;
    applied(&reconciled(&house, TEAM).await);
    assert_eq!(thumbprints(&house).len(), 1);
    house
}

pub async fn ready() {
    let mut house = House::without_operator().await;
    flux::start(&house).await;
    begins(&house, "");
    kustomization(&house, TEAM, &json!({})).await;
    refused(&reconciled(&house, TEAM).await, "timeout waiting for: [");
    let waits = house.does(LOOK);
    for what in ["HsmKey/shop/signing", "ManagedHsm/shop/payments"] {
        assert!(
            waits.contains(&format!("{what} status: 'InProgress'")),
            "{waits}"
        );
    }
    house.shows("kubectl -n shop get hsm");
    house.say("The operator starts.");
    house.start_operator().await;
    house.until(LOOK, "True").await;
    assert_eq!(thumbprints(&house).len(), 1);
    house.shows(LOOK);
    house.told("flux-ready");
}

pub async fn pruned() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    let began = Instant::now();
    house.shows("git rm -q payments/hsm.yaml payments/key.yaml && git commit -q -m 'Tidy up' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    house.say("Flux prunes: both are soft-deleted.");
    house.shows("kubectl get dmhsm,dhkey");
    house.say("Somebody sees it, and takes the commit back.");
    house.shows("git revert --no-edit HEAD >/dev/null && git push -q");
    refused(
        &reconciled(&house, TEAM).await,
        "This name is reserved for Deleted",
    );
    house.shows(LOOK);
    house.told("flux-prune");

    house.say("A Recover beside the HSM in the same Kustomization never gets that far: one refusal blocks all of it.");
    house.shows("kubectl hsm recover payments -n shop --with-keys --dry-run=client -o yaml >payments/recover.yaml");
    house.shows("git add -A && git commit -q -m 'Recover' && git push -q");
    refused(
        &reconciled(&house, TEAM).await,
        "This name is reserved for Deleted",
    );
    assert_eq!(
        house.does("kubectl get recovers -A"),
        "No resources found\n"
    );
    house.say("So it gets a folder of its own, with a Kustomization that the team's depends on.");
    house.shows("mkdir recoveries && git mv payments/recover.yaml recoveries/ && git commit -q -m 'Recover first' && git push -q");
    house.shows("cat recoveries/recover.yaml");
    kustomization(&house, "recoveries", &json!({})).await;
    kustomization(
        &house,
        TEAM,
        &json!({"dependsOn": [{"name": "recoveries"}]}),
    )
    .await;
    applied(&reconciled(&house, "recoveries").await);
    applied(&reconciled(&house, TEAM).await);
    took(
        "from the mistake to the recovered key, with every step in between",
        began,
    );
    assert_eq!(thumbprints(&house), before);
    house.shows(LOOK);
    house.shows("kubectl -n shop get hsm");
    house.told("flux-recover");

    // The Recover may go from Git again, or stay.
    house.does("git rm -q recoveries/recover.yaml && git commit -q -m 'It is back' && git push -q && mkdir -p recoveries");
    house.repository.push(
        "Nothing",
        &[("recoveries/kustomization.yaml", "resources: []\n")],
    );
    applied(&reconciled(&house, "recoveries").await);
    assert_eq!(thumbprints(&house), before);
    still_flux_s(&mut house).await;
}

/// What came back belongs to Flux as it did: drift is put right, and Git takes fields away.
async fn still_flux_s(house: &mut House) {
    let tags = "kubectl -n shop get hsmkey signing -o 'jsonpath={.spec.tags}{\"\\n\"}'";
    house.shows("kubectl -n shop patch hsmkey signing --type merge -p '{\"spec\":{\"tags\":{\"owner\":\"mallory\"}}}'");
    house.say("The next sync.");
    applied(&reconciled(house, TEAM).await);
    assert_eq!(house.shows(tags), "{\"owner\":\"payments\"}\n");
    house.say("What leaves Git leaves the object.");
    house.shows("sed -i '/labels:/d' payments/hsm.yaml && sed -i '/tags:/d' payments/key.yaml");
    house.shows("git commit -q -a -m 'Without a label, without tags' && git push -q");
    applied(&reconciled(house, TEAM).await);
    assert_eq!(house.shows(tags), "\n");
    let label =
        "kubectl -n shop get managedhsm payments -o 'jsonpath={.metadata.labels.tier}{\"\\n\"}'";
    assert_eq!(house.shows(label), "\n");
    house.told("flux-fields");
}

pub async fn without_webhook() {
    let mut house = at_work(House::without_webhook().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.does("git rm -q payments/hsm.yaml payments/key.yaml && git commit -q -m 'Tidy up' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    house.does("git revert --no-edit HEAD >/dev/null && git push -q");
    refused(&reconciled(&house, TEAM).await, "status: 'Failed'");
    house.shows(LOOK);
    house.shows("kubectl -n shop get hsm");
    house.shows("kubectl hsm recover payments -n shop --with-keys --dry-run=client -o yaml >payments/recover.yaml");
    house.shows("git add -A && git commit -q -m 'Recover' && git push -q");
    settles(&house).await;
    assert_eq!(thumbprints(&house), before);
    house.shows(LOOK);
    house.told("flux-without-webhook");
}

pub async fn by_itself() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    let began = Instant::now();
    house.shows("kubectl -n shop delete managedhsm payments 2>/dev/null");
    house.shows("kubectl get dmhsm");
    house.say("The next sync.");
    applied(&reconciled(&house, TEAM).await);
    took("from the delete by hand to the recovered key", began);
    assert_eq!(thumbprints(&house), before);
    house.shows(LOOK);
    house.shows("kubectl -n shop get hsm");
    house.say("Pruned, and put back:");
    house.shows("git rm -q payments/hsm.yaml payments/key.yaml && git commit -q -m 'Tidy up' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    let deleted = house.does("kubectl get dmhsm,dhkey -o name");
    assert_eq!(deleted.lines().count(), 2, "{deleted}");
    house.shows("git revert --no-edit HEAD >/dev/null && git push -q");
    applied(&reconciled(&house, TEAM).await);
    assert_eq!(thumbprints(&house), before);
    house.shows("kubectl -n shop get hsm");
    house.told("flux-by-itself");
}

pub async fn namespace() {
    let mut house = at_work(House::new().await, BY_ITSELF, &json!({})).await;
    let before = thumbprints(&house);
    let began = Instant::now();
    house.shows("kubectl delete namespace shop --timeout=60s 2>/dev/null");
    refused(&reconciled(&house, TEAM).await, "status: 'Failed'");
    house.say("Flux makes the namespace anew. Keys don't pass to whoever takes a free name:");
    house.shows(LOOK);
    let why = "kubectl -n shop get managedhsm payments -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}'";
    house.until(why, "acceptNamespaceUid").await;
    let said = house.shows(why);
    house.shows(command(&said));
    settles(&house).await;
    took("from the deleted namespace to the recovered key", began);
    assert_eq!(thumbprints(&house), before);
    house.shows(LOOK);
    house.shows("kubectl -n shop get hsm");
    house.told("flux-namespace");
}

pub async fn forced() {
    let more = json!({"force": true});
    let mut house = at_work(House::new().await, BY_ITSELF, &more).await;
    let (before, hsm) = (thumbprints(&house), uid(&house, "managedhsm payments"));
    house.shows("sed -i 's/retentionDays: 30/retentionDays: 60/' payments/hsm.yaml && git commit -q -a -m 'Longer' && git push -q");
    refused(&reconciled(&house, TEAM).await, "(Forbidden)");
    house.shows(LOOK);
    assert_eq!(uid(&house, "managedhsm payments"), hsm);
    assert_eq!(thumbprints(&house), before);
    house.say("What no HSM may ever be is refused as invalid, and that Flux takes for a reason to delete.");
    house.shows("sed -i 's/retentionDays: 60/retentionDays: 5/' payments/hsm.yaml && git commit -q -a -m 'Shorter' && git push -q");
    refused(&reconciled(&house, TEAM).await, "(Invalid)");
    house.shows(LOOK);
    house.shows("kubectl get dmhsm");
    house.say("Put right:");
    house.shows("sed -i 's/retentionDays: 5/retentionDays: 30/' payments/hsm.yaml && git commit -q -a -m 'As it was' && git push -q");
    settles(&house).await;
    assert_eq!(thumbprints(&house), before);
    house.shows("kubectl -n shop get hsm");
    house.told("flux-force");
}

pub async fn kept() {
    let mut house = at_work(House::new().await, "", &json!({})).await;
    let before = thumbprints(&house);
    house.say("An annotation, in Git, on what Flux must never prune:");
    house.shows("sed -i 's/^  labels:/  annotations: {kustomize.toolkit.fluxcd.io\\/prune: disabled}\\n  labels:/' payments/hsm.yaml && git commit -q -a -m 'Never prune' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    house.shows("git rm -q payments/hsm.yaml && git commit -q -m 'Tidy up' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    assert_eq!(thumbprints(&house), before);
    house.shows("kubectl -n shop get hsm");
    house.told("flux-prune-disabled");

    house.does("git revert --no-edit HEAD >/dev/null && git push -q");
    house.say("Or an account that may do all but delete:");
    house.shows("kubectl create clusterrole payments --verb=get,list,watch,create,update,patch --resource=managedhsms.managedhsm.dev,hsmkeys.managedhsm.dev,namespaces");
    house.shows("kubectl -n flux-system create serviceaccount payments");
    house.shows("kubectl create clusterrolebinding payments --clusterrole=payments --serviceaccount=flux-system:payments");
    kustomization(&house, TEAM, &json!({"serviceAccountName": "payments"})).await;
    applied(&reconciled(&house, TEAM).await);
    house.shows("git rm -q payments/key.yaml && git commit -q -m 'Tidy up' && git push -q");
    refused(&reconciled(&house, TEAM).await, "cannot delete resource");
    house.shows(LOOK);
    assert_eq!(thumbprints(&house), before);
    house.told("flux-account");
}

/// Of one commit with ten changes: what becomes of each.
pub async fn one_of_ten() {
    let house = at_work(House::new().await, "", &json!({})).await;
    let name = |number: usize| format!("hsm-{number}");
    let path = |number: usize| format!("payments/hsm-{number}.yaml");
    let push = |house: &House, message: &str, texts: &[(usize, String)]| {
        let files: Vec<_> = texts
            .iter()
            .map(|(number, text)| (path(*number), text))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        house.repository.push(message, &files);
    };
    let protected = "  purgeProtection: true\n";
    let spec = |number: usize| if number == 1 { protected } else { "" };
    let all: Vec<_> = (0..10)
        .map(|it| (it, team::hsm(&name(it), "gold", spec(it))))
        .collect();
    push(&house, "Ten", &all);
    applied(&reconciled(&house, TEAM).await);
    house.does("git rm -q payments/hsm-2.yaml && git commit -q -m 'Nine' && git push -q");
    applied(&reconciled(&house, TEAM).await);
    let good: Vec<_> = (3..10)
        .map(|it| (it, team::hsm(&name(it), "silver", "")))
        .collect();
    let silver = |house: &House| {
        house
            .does("kubectl -n shop get managedhsms -l tier=silver -o name")
            .lines()
            .count()
    };
    let mut rows = String::from(
        "| in a commit of ten changes | of the other changes | what stands | what the Kustomization says |\n|---|---|---|---|\n",
    );
    for (what, number, text, words) in [
        (
            "a fixed field: `retentionDays` 30 to 60",
            0,
            team::hsm("hsm-0", "gold", "").replace("30", "60"),
            "(Forbidden)",
        ),
        (
            "a switch: `purgeProtection` taken back",
            1,
            team::hsm("hsm-1", "gold", "  purgeProtection: false\n"),
            "(Forbidden)",
        ),
        (
            "a reserved name",
            2,
            team::hsm("hsm-2", "gold", ""),
            "This name is reserved",
        ),
        (
            "out of range: `retentionDays: 5`",
            0,
            team::hsm("hsm-0", "gold", "").replace("30", "5"),
            "(Invalid)",
        ),
    ] {
        let mut change = good.clone();
        change.push((number, text));
        push(&house, what, &change);
        let said = refused(&reconciled(&house, TEAM).await, words);
        let sentence = said.trim().trim_end_matches("...").replace('|', "\\|");
        let others = silver(&house);
        let stands = match house.runs(&format!(
            "kubectl -n shop get managedhsm {} -o name",
            name(number)
        )) {
            Ok(_) => "the HSM as it was, ready",
            Err(_) => "nothing: it stays soft-deleted",
        };
        rows += &format!("| {what} | {others} of 7 applied | {stands} | {sentence} |\n");
        house.does("git revert --no-edit HEAD >/dev/null && git push -q");
        applied(&reconciled(&house, TEAM).await);
    }
    assert_eq!(silver(&house), 0);
    house.told_as("flux-bad", &rows);
}
