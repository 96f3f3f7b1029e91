//! What turns on and never off, what is fixed, what is told; and that an operator with nothing to do does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use managed_hsm_operator::backend::HsmBackend as _;
use managed_hsm_operator::plan::encoding;
use managed_hsm_operator::softdelete::{Reason, Refusal};

use crate::operator::condition;
use crate::scene::{EC, HSM, HSM_PROXY, KEY, KEY_PROXY, RECOVER, Scene, manifest, origin, uid};

/// Whether the record of that HSM says protected, read at the source.
fn recorded(scene: &Scene, hsm: &DynamicObject) -> bool {
    let id = hsm.data["status"]["hsmId"].as_str().expect("an id");
    let stored = scene.backend.read(id).expect("the ledger");
    encoding::decode(&stored[0].bytes)
        .expect("a record")
        .purge_protection
}

#[tokio::test(flavor = "multi_thread")]
async fn sd13_protection_is_shown_once_the_record_has_it_and_never_turned_off_again() {
    let scene = Scene::with_hsm("switch", "{}").await;
    let hsm = scene.ready(HSM, "safe").await;
    assert!(!recorded(&scene, &hsm));
    scene
        .apply(&manifest("ManagedHsm", "safe", "{purgeProtection: true}"))
        .await;
    let shown = scene
        .seen(HSM, "safe", "protected", |found| {
            found.data["status"]["recoveryLevel"] == "Recoverable"
        })
        .await;
    assert!(
        recorded(&scene, &shown),
        "the record has it before the status"
    );

    // No admission policy is on this plane: the controller goes by the record.
    scene
        .apply(&manifest("ManagedHsm", "safe", "{purgeProtection: false}"))
        .await;
    let sentence = scene
        .stalled(HSM, "safe", "PurgeProtectionIrreversible")
        .await;
    assert_eq!(sentence, Refusal::PurgeProtectionIrreversible.to_string());
    let standing = scene.get(HSM, "safe").await.expect("it stands");
    assert!(recorded(&scene, &standing));
    assert_eq!(standing.data["status"]["recoveryLevel"], "Recoverable");
    scene
        .apply(&manifest("ManagedHsm", "safe", "{purgeProtection: true}"))
        .await;
    scene.ready(HSM, "safe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd12_soft_delete_is_never_turned_off_again() {
    let scene = Scene::with_hsm("softoff", "{}").await;
    scene
        .apply(&manifest("ManagedHsm", "safe", "{softDelete: false}"))
        .await;
    let sentence = scene.stalled(HSM, "safe", "SoftDeleteIrreversible").await;
    assert_eq!(sentence, Refusal::SoftDeleteIrreversible.to_string());
    // Deleted in that state it is kept, as the record says.
    let proxy = scene.deleted(HSM, "safe").await;
    assert_eq!(proxy.data["spec"]["retentionDays"], 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd08_a_changed_fixed_field_stands_and_goes_on_when_it_is_put_back() {
    let scene = Scene::with_key("fixed").await;
    let before = scene.ready(KEY, "signing").await;
    let patch = |change: &'static str| {
        let scene = &scene;
        async move {
            let args = ["patch", "hsmkey", "signing", "--type=merge", "-p", change];
            scene.kubectl(&args, "").await.ok();
        }
    };
    patch(r#"{"spec":{"curve":"P-384"}}"#).await;
    let sentence = scene.stalled(KEY, "signing", "FieldImmutable").await;
    assert!(
        sentence.contains("P-256") && sentence.contains("P-384"),
        "{sentence}"
    );
    assert_eq!(scene.signs(&before), Ok(()), "it works on meanwhile");
    patch(r#"{"spec":{"curve":"P-256"}}"#).await;
    let after = scene.ready(KEY, "signing").await;
    assert_eq!(
        after.data["status"]["versions"],
        before.data["status"]["versions"]
    );
    patch(r#"{"spec":{"retentionDays":30}}"#).await;
    let sentence = scene.stalled(KEY, "signing", "RetentionImmutable").await;
    let refusal = Refusal::RetentionImmutable {
        fixed: 90,
        wanted: 30,
    };
    assert_eq!(sentence, refusal.to_string());
    patch(r#"{"spec":{"retentionDays":null}}"#).await;
    scene.ready(KEY, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd08_an_hsm_that_is_told_to_move_to_another_backend_stays_in_its_own_and_says_so() {
    let scene = Scene::with_key("moves").await;
    let before = scene.ready(HSM, "safe").await;
    // Another one that is configured, and one that is not.
    for other in ["lost", "nowhere"] {
        let spec = format!("{{backend: {other}}}");
        scene.apply(&manifest("ManagedHsm", "safe", &spec)).await;
        let refusal = Refusal::FieldImmutable {
            field: "spec.backend".into(),
            fixed: "default".into(),
            wanted: other.into(),
        };
        let sentence = refusal.to_string();
        scene
            .seen(HSM, "safe", "told so", |found| {
                condition(found, "Stalled").is_some_and(|(_, _, told)| told == sentence)
            })
            .await;
        let key = scene.ready(KEY, "signing").await;
        assert_eq!(scene.signs(&key), Ok(()), "it works on meanwhile");
    }

    // Deleted in that state it is kept where it is, and one that asks for it from elsewhere does not get it.
    let proxy = scene.deleted(HSM, "safe").await;
    assert_eq!(proxy.data["spec"]["backend"], "default");
    scene
        .apply(&manifest("ManagedHsm", "safe", "{backend: lost}"))
        .await;
    scene
        .ask_back("elsewhere", "ManagedHsm", "safe", &origin(&proxy))
        .await;
    let failed = scene
        .until(RECOVER, "elsewhere", "Failed", "True", "SnapshotDisagrees")
        .await;
    let (_, _, sentence) = condition(&failed, "Failed").expect("told");
    assert!(
        sentence.contains("has spec.backend default") && sentence.contains("has lost"),
        "{sentence}"
    );
    let patch = r#"{"spec":{"backend":"default"}}"#;
    let args = ["patch", "managedhsm", "safe", "--type=merge", "-p", patch];
    scene.kubectl(&args, "").await.ok();
    let back = scene.recovered(HSM, "safe", &origin(&proxy)).await;
    assert_eq!(back.data["status"]["hsmId"], before.data["status"]["hsmId"]);
    let key = scene.ready(KEY, "signing").await;
    assert_eq!(scene.signs(&key), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_every_sentence_in_a_condition_has_a_code_of_the_list_and_a_way_out() {
    let scene = Scene::with_key("words").await;
    scene.deleted(KEY, "signing").await;
    let first = manifest(
        "HsmKey",
        "longer",
        "{hsm: safe, keyType: EC, curve: P-256, retentionDays: 90}",
    );
    let all = manifest("HsmKey", "signing", EC)
        + &manifest(
            "HsmKey",
            "lonely",
            "{hsm: nowhere, keyType: EC, curve: P-256}",
        )
        + &manifest(
            "HsmKey",
            "taken",
            "{hsm: safe, keyName: longer, keyType: EC, curve: P-256}",
        )
        + &manifest(
            "Recover",
            "wrong",
            "{kind: HsmKey, name: longer, uid: nobody}",
        );
    scene.apply(&first).await;
    scene.ready(KEY, "longer").await;
    scene.apply(&all).await;
    let mut codes = Vec::new();
    for (of, name) in [
        (KEY, "signing"),
        (KEY, "lonely"),
        (KEY, "taken"),
        (RECOVER, "wrong"),
    ] {
        let found = scene.until(of, name, "Ready", "False", "").await;
        let (_, code, sentence) = condition(&found, "Ready").expect("told");
        assert!(
            Reason::ALL.iter().any(|reason| reason.as_str() == code),
            "{code}"
        );
        let (cause, way_out) = sentence.split_once("; ").expect("a way out");
        assert!(!cause.is_empty() && way_out.ends_with('.'), "{sentence}");
        codes.push(code);
    }
    assert_eq!(
        codes,
        [
            "ObjectIsDeletedButRecoverable",
            "HsmNotFound",
            "NameTaken",
            "NothingToRecover"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd35_each_step_that_a_person_would_ask_about_is_an_event() {
    let scene = Scene::with_key("events").await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;
    scene.apply(&manifest("HsmKey", "signing", EC)).await;
    let standing = scene
        .stalled_key("signing", "ObjectIsDeletedButRecoverable")
        .await;
    scene
        .kubectl(&["delete", "hsmkey", "signing"], "")
        .await
        .ok();
    let back = scene.recovered(KEY, "signing", &origin(&proxy)).await;
    for (of, reason) in [
        (uid(&key), "Created"),
        (uid(&key), "SoftDeleted"),
        (uid(&key), "Sealed"),
        (uid(&proxy), "Recovering"),
        (uid(&standing), "ObjectIsDeletedButRecoverable"),
        (uid(&back), "Recovered"),
    ] {
        testplane::eventually(reason, Duration::from_secs(20), async || {
            let told = scene.events(&of).await;
            match told
                .iter()
                .any(|event| event.starts_with(&format!("{reason}: ")))
            {
                true => Ok(()),
                false => Err(format!("{told:?}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_kubectl_tell_the_story() {
    let scene = Scene::with_key("columns").await;
    let row = async |arguments: &[&str]| {
        let printed = scene.kubectl(arguments, "").await.ok();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        printed.lines().map(words).collect::<Vec<_>>()
    };
    scene
        .seen(HSM, "safe", "counts its key", |found| {
            found.data["status"]["keys"] == 1
        })
        .await;
    let live = row(&["get", "mhsm"]).await;
    assert_eq!(
        live[0],
        [
            "NAME",
            "READY",
            "REASON",
            "RETENTION",
            "PROTECTED",
            "KEYS",
            "AGE"
        ]
    );
    assert_eq!(live[1][..6], ["safe", "True", "Ready", "90", "false", "1"]);
    let keys = row(&["get", "hkey", "-o", "wide"]).await;
    assert_eq!(keys[1][..4], ["signing", "True", "Ready", "safe"]);
    let key = scene.ready(KEY, "signing").await;
    let thumbprint = key.data["status"]["versions"][0]["thumbprint"].as_str();
    assert!(
        keys[1].iter().any(|word| Some(word.as_str()) == thumbprint),
        "{keys:?}"
    );

    let proxy = scene.deleted(KEY, "signing").await;
    let name = proxy.metadata.name.as_deref().expect("a name");
    let deleted = row(&["get", "dhkey", name, "-o", "wide"]).await;
    let text = |path: &str| proxy.data.pointer(path).and_then(|found| found.as_str());
    for word in [
        name,
        "safe",
        text("/status/purgeTime").expect("a date"),
        "Recoverable+Purgeable",
        &origin(&proxy),
    ] {
        assert!(
            deleted[1].iter().any(|printed| printed == word),
            "{word} in {deleted:?}"
        );
    }
    let all = scene.kubectl(&["get", "hsm", "-A"], "").await.ok();
    assert!(
        all.contains("managedhsm.managedhsm.dev/safe") && all.contains(name),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_operator_writes_nothing() {
    let scene = Scene::with_key("idle").await;
    let all = manifest(
        "HsmKey",
        "lonely",
        "{hsm: nowhere, keyType: EC, curve: P-256}",
    ) + &manifest("HsmKey", "second", EC)
        + &manifest("HsmKey", "third", EC);
    scene.apply(&all).await;
    scene.ready(KEY, "second").await;
    scene.ready(KEY, "third").await;
    scene.deleted(KEY, "second").await;
    scene.apply(&manifest("HsmKey", "second", EC)).await;
    scene
        .stalled(KEY, "second", "ObjectIsDeletedButRecoverable")
        .await;
    scene
        .until(KEY, "lonely", "Ready", "False", "HsmNotFound")
        .await;
    scene
        .seen(HSM, "safe", "counts", |found| {
            found.data["status"]["deletedKeys"] == 1
        })
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = versions(&scene).await;
    assert!(before.len() >= 6, "{before:?}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(versions(&scene).await, before);
}

/// The resourceVersion of everything in this test's namespace, and of its proxies.
async fn versions(scene: &Scene) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for of in [HSM, KEY, HSM_PROXY, KEY_PROXY, RECOVER] {
        let found = scene.api(of).list(&ListParams::default()).await;
        for found in found.expect("a list") {
            let name = found.metadata.name.unwrap_or_default();
            let ours = found.metadata.namespace.as_ref() == Some(&scene.ns)
                || name.starts_with(&format!("{}.", scene.ns));
            if ours {
                let kind = of.resource().kind;
                all.insert(
                    format!("{kind} {name}"),
                    found.metadata.resource_version.unwrap_or_default(),
                );
            }
        }
    }
    let events = scene
        .kubectl(&["get", "events", "-o", "name"], "")
        .await
        .ok();
    all.insert("Events".into(), events.lines().count().to_string());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn sd13_an_hsms_protection_covers_the_keys_that_were_deleted_before_it() {
    let scene = Scene::with_key("covers").await;
    let proxy = scene.deleted(KEY, "signing").await;
    assert_eq!(proxy.data["status"]["purgeProtection"], false);
    scene
        .apply(&manifest("ManagedHsm", "safe", "{purgeProtection: true}"))
        .await;
    let covered = scene
        .seen(KEY_PROXY, "signing", "protected", |found| {
            found.data["status"]["purgeProtection"] == true
        })
        .await;
    assert_eq!(covered.data["status"]["recoveryLevel"], "Recoverable");
    assert_eq!(
        covered.data["spec"], proxy.data["spec"],
        "facts at deletion stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sd11_the_purge_date_of_a_deleted_hsms_key_is_the_hsms() {
    let scene = Scene::with_hsm("fate", "{retentionDays: 30}").await;
    let spec = "{hsm: safe, keyType: EC, curve: P-256, retentionDays: 7}";
    scene.apply(&manifest("HsmKey", "signing", spec)).await;
    scene.ready(KEY, "signing").await;
    let key = scene.deleted(KEY, "signing").await;
    assert_eq!(
        key.data["status"]["purgeTime"],
        key.data["spec"]["scheduledPurgeTime"]
    );
    let hsm = scene.deleted(HSM, "safe").await;
    scene
        .seen(KEY_PROXY, "signing", "with its HSM", |found| {
            found.data["status"]["purgeTime"] == hsm.data["status"]["purgeTime"]
        })
        .await;
    scene.recovered(HSM, "safe", &origin(&hsm)).await;
    scene
        .seen(KEY_PROXY, "signing", "its own date again", |found| {
            found.data["status"]["purgeTime"] == key.data["spec"]["scheduledPurgeTime"]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd35_when_the_namespace_goes_the_events_are_on_the_proxy() {
    let scene = Scene::with_key("lastword").await;
    let whole = ["delete", "namespace", &scene.ns, "--timeout=60s"];
    scene.plane.kubectl(&whole, "").await.ok();
    let proxy = scene.retained(HSM_PROXY, "safe").await;
    testplane::eventually("the Event", Duration::from_secs(20), async || {
        let told = scene.events(&uid(&proxy)).await;
        match told.iter().any(|event| event.starts_with("Sealed: ")) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
}
