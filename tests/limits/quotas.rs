//! Who may use a backend and how much of it: who may not stands, says so, and goes on by itself; who has material is never asked.

use std::sync::Arc;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{Assurance, HsmBackend, Mark, TokenRef};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::quota::Quota;
use managed_hsm_operator::softdelete::{Kind, Refusal};
use testplane::{Options, Plane, borrow, eventually};

use crate::operator::{Build, Operator, condition, get, gone, until};

const HSM: Watched = Watched::Object(Kind::Hsm);
const KEY: Watched = Watched::Object(Kind::Key);

fn hsm(ns: &str, name: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: {name}, namespace: {ns}}}, spec: {{}}}}\n"
    )
}

fn key(ns: &str, name: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: {name}, namespace: {ns}}}, spec: {{hsm: safe, keyType: EC, curve: P-256}}}}\n"
    )
}

async fn apply(plane: &Plane, manifests: &str) {
    plane.kubectl(&["apply", "-f", "-"], manifests).await.ok();
}

async fn delete(plane: &Plane, ns: &str, kind: &str, name: &str) {
    let args = ["delete", kind, name, "-n", ns, "--timeout=60s"];
    plane.kubectl(&args, "").await.ok();
}

async fn purge(plane: &Plane, proxy: &str) {
    let watched = Watched::Proxy(Kind::Key);
    let found = get(plane, watched, None, proxy).await.expect("its proxy");
    let uid = found.data["spec"]["origin"]["uid"].as_str().expect("a uid");
    let purge = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: Purge, metadata: {{name: {proxy}}}, spec: {{kind: DeletedHsmKey, name: {proxy}, uid: {uid}, requestedBy: admin}}}}\n"
    );
    apply(plane, &purge).await;
    gone(plane, watched, None, proxy).await;
}

async fn ready(plane: &Plane, of: Watched, ns: &str, name: &str) {
    // What stands is looked at every half minute.
    eventually(
        &format!("{name} is ready"),
        std::time::Duration::from_secs(90),
        async || {
            let found = get(plane, of, Some(ns), name).await;
            match found.as_ref().and_then(|it| condition(it, "Ready")) {
                Some((is, _, _)) if is == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await;
}

async fn stands(plane: &Plane, of: Watched, ns: &str, name: &str, reason: &str) -> String {
    let found = until(plane, of, Some(ns), name, "Stalled", "True", reason).await;
    assert_eq!(
        found.data.pointer("/status/hsmId"),
        None,
        "it has no material"
    );
    condition(&found, "Ready").expect("told").2
}

async fn start(plane: &Plane, backend: &MemoryBackend, quota: Quota) -> Operator {
    let mut build = Build::new(plane, backend.clone()).await;
    build.quotas.insert("default".into(), quota);
    build.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_a_namespace_that_may_not_use_a_backend_is_told_and_goes_on_once_it_may() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let quota = |needed: &'static str| Quota {
        allows: Arc::new(move |_, labels| labels.get("hsm").is_some_and(|it| it == needed)),
        max_hsms_per_namespace: None,
        max_keys_per_hsm: None,
    };
    let operator = start(&plane, &backend, quota("allowed")).await;
    let ns = plane.namespace("closed").await;
    apply(&plane, &(hsm(&ns, "safe") + &key(&ns, "signing"))).await;
    let sentence = stands(&plane, HSM, &ns, "safe", "BackendNotAllowed").await;
    let refusal = Refusal::BackendNotAllowed {
        backend: "default".into(),
        namespace: ns.clone(),
    };
    assert_eq!(sentence, refusal.to_string());
    assert_eq!(backend.inspect(), vec![]);

    let label = ["label", "namespace", &ns, "hsm=allowed"];
    plane.kubectl(&label, "").await.ok();
    ready(&plane, HSM, &ns, "safe").await;
    ready(&plane, KEY, &ns, "signing").await;

    // Who has material is never asked again: it stays ready, can be deleted, and comes back.
    operator.crash().await;
    let _strict = start(&plane, &backend, quota("nobody")).await;
    apply(&plane, &key(&ns, "second")).await;
    stands(&plane, KEY, &ns, "second", "BackendNotAllowed").await;
    let made = get(&plane, KEY, Some(&ns), "signing").await.expect("there");
    assert_eq!(condition(&made, "Ready").expect("told").0, "True");
    let uid = made.metadata.uid.expect("a uid");
    delete(&plane, &ns, "hsmkey", "signing").await;
    let recover = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: back, namespace: {ns}}}, spec: {{kind: HsmKey, name: signing, uid: {uid}}}}}\n"
    );
    apply(&plane, &recover).await;
    let recover = Watched::Recover;
    until(&plane, recover, Some(&ns), "back", "Complete", "True", "").await;
    ready(&plane, KEY, &ns, "signing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd34_one_more_than_the_limits_stands_until_a_deleted_one_is_purged() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let quota = Quota {
        allows: Arc::new(|_, _| true),
        max_hsms_per_namespace: Some(1),
        max_keys_per_hsm: Some(2),
    };
    let _operator = start(&plane, &backend, quota).await;
    let (ns, other) = (plane.namespace("one").await, plane.namespace("two").await);
    apply(&plane, &(hsm(&ns, "safe") + &hsm(&other, "safe"))).await;
    ready(&plane, HSM, &ns, "safe").await;
    ready(&plane, HSM, &other, "safe").await;
    apply(&plane, &hsm(&ns, "second")).await;
    let sentence = stands(&plane, HSM, &ns, "second", "BackendFull").await;
    assert!(
        sentence.contains("1 HSMs of one namespace at most"),
        "{sentence}"
    );

    // All at once: as many as there is room for, and no more.
    let names = ["a", "b", "c", "d"];
    let all: String = names.iter().map(|name| key(&ns, name)).collect();
    apply(&plane, &all).await;
    let mut made = Vec::new();
    for name in names {
        let decided = eventually("it is made or stands", crate::operator::SOON, async || {
            let found = get(&plane, KEY, Some(&ns), name).await.expect("there");
            match condition(&found, "Ready") {
                Some((is, _, _)) if is == "True" => Ok(true),
                Some((_, reason, _)) if reason == "BackendFull" => Ok(false),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        made.extend(decided.then_some(name));
    }
    assert_eq!(made.len(), 2, "{made:?}");
    let waits = names
        .iter()
        .find(|name| !made.contains(*name))
        .expect("two");
    let sentence = stands(&plane, KEY, &ns, waits, "BackendFull").await;
    assert!(sentence.contains("2 keys in one HSM at most"), "{sentence}");

    // A deleted one counts; a purged one does not.
    delete(&plane, &ns, "hsmkey", made[0]).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let live = backend.inspect().len();
    assert_eq!(live, 4, "two pairs, one of them sealed");
    purge(&plane, &format!("{ns}.{}", made[0])).await;
    eventually(
        "the next one is made",
        std::time::Duration::from_secs(90),
        async || match backend.inspect().len() {
            4 => Ok(()),
            other => Err(format!("{other} objects")),
        },
    )
    .await;
}

/// Every object of the only key, past the operator.
fn relabel(backend: &MemoryBackend, mark: Mark) {
    for object in backend.inspect() {
        let token = backend.token(&object.token).expect("it answers");
        let facts = token.expect("there");
        let token = TokenRef {
            label: facts.label,
            serial: facts.serial,
        };
        backend.copy(&token, object.handle, mark).expect("labelled");
    }
}

async fn all_marked(backend: &MemoryBackend, mark: Mark) {
    eventually("all is labelled so", crate::operator::SOON, async || {
        let found = backend.inspect();
        if found.len() == 2 && found.iter().all(|it| it.mark == mark) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_seal_by_itself_is_shown_and_hinders_nothing() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    backend.assure(Some(Assurance {
        seals_keys: false,
        seals_hsms: false,
    }));
    let operator = Operator::start(&plane, backend).await;
    let ns = plane.namespace("weak").await;
    apply(&plane, &(hsm(&ns, "safe") + &key(&ns, "signing"))).await;
    for (of, name, function) in [(HSM, "safe", "C_InitPIN"), (KEY, "signing", "C_CopyObject")] {
        let shown = until(&plane, of, Some(&ns), name, "Ready", "True", "").await;
        let (status, reason, sentence) = condition(&shown, "WeakSeal").expect("it is shown");
        assert_eq!((&*status, &*reason), ("True", "SealedByOperatorOnly"));
        assert!(sentence.contains(function), "{sentence}");
        assert_eq!(condition(&shown, "Stalled"), None);
    }

    // Somebody who was paused labels it long after: the label follows the record again, live and deleted.
    let uid = get(&plane, KEY, Some(&ns), "signing").await.expect("there");
    let uid = uid.metadata.uid.expect("a uid");
    let backend = operator.crash().await;
    relabel(&backend, Mark::Deleted);
    let operator = Operator::start(&plane, backend).await;
    all_marked(&operator.backend, Mark::Live).await;
    delete(&plane, &ns, "hsmkey", "signing").await;
    all_marked(&operator.backend, Mark::Deleted).await;
    let backend = operator.crash().await;
    relabel(&backend, Mark::Live);
    let operator = Operator::start(&plane, backend).await;
    all_marked(&operator.backend, Mark::Deleted).await;
    let recover = format!(
        "{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: back, namespace: {ns}}}, spec: {{kind: HsmKey, name: signing, uid: {uid}}}}}\n"
    );
    apply(&plane, &recover).await;
    ready(&plane, KEY, &ns, "signing").await;
    all_marked(&operator.backend, Mark::Live).await;

    // Once it is known to do better, the condition goes.
    let backend = operator.crash().await;
    backend.assure(Some(Assurance::FULL));
    let _operator = Operator::start(&plane, backend).await;
    for (of, name) in [(HSM, "safe"), (KEY, "signing")] {
        eventually("it goes", crate::operator::SOON, async || {
            let found = get(&plane, of, Some(&ns), name).await.expect("there");
            match condition(&found, "WeakSeal") {
                None => Ok(()),
                Some(shown) => Err(format!("{shown:?}")),
            }
        })
        .await;
    }
}
