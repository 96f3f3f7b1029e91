//! The executable with its embedded HSM, as a process of its own on a real control plane: what it makes outlives it, however it ends.
#![cfg(feature = "embedded")]

#[path = "embedded/backup.rs"]
mod backup;
mod operator;
mod process;
#[path = "embedded/together.rs"]
mod together;
#[path = "embedded/trouble.rs"]
mod trouble;
mod user;

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use operator::{gone, until};
use process::{Process, SHORT_LEASE};
use testplane::{Options, Plane, borrow};
use user::material;

const KEY: Watched = Watched::Object(Kind::Key);
const PROXY: Watched = Watched::Proxy(Kind::Key);

fn key(ns: &str, name: &str, kind: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: HsmKey, metadata: {{name: {name}, namespace: {ns}}}, spec: {{hsm: safe, {kind}}}}}\n"
    )
}

fn hsm(ns: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {{name: safe, namespace: {ns}}}, spec: {{}}}}\n"
    )
}

fn recover(ns: &str, name: &str, uid: &str) -> String {
    format!(
        "---\n{{apiVersion: managedhsm.dev/v1alpha1, kind: Recover, metadata: {{name: back-{name}, namespace: {ns}}}, spec: {{kind: HsmKey, name: {name}, uid: {uid}}}}}\n"
    )
}

async fn apply(plane: &Plane, manifests: &str) {
    plane.kubectl(&["apply", "-f", "-"], manifests).await.ok();
}

const TYPES: [(&str, &str); 7] = [
    ("rsa", "keyType: RSA, keySize: 2048, versions: 2"),
    ("p256", "keyType: EC, curve: P-256"),
    ("p384", "keyType: EC, curve: P-384"),
    ("p521", "keyType: EC, curve: P-521"),
    ("aes128", "keyType: oct, keySize: 128"),
    ("aes192", "keyType: oct, keySize: 192"),
    ("aes256", "keyType: oct, keySize: 256"),
];

#[tokio::test(flavor = "multi_thread")]
async fn sd19_keys_of_every_type_come_back_as_the_same_material_from_the_embedded_hsm() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(&plane, store.path(), &SHORT_LEASE);
    let ns = plane.namespace("types").await;
    let keys: String = TYPES
        .iter()
        .map(|(name, kind)| key(&ns, name, kind))
        .collect();
    apply(&plane, &(hsm(&ns) + &keys)).await;
    let mut before = Vec::new();
    for (name, _) in TYPES {
        let made = until(&plane, KEY, Some(&ns), name, "Ready", "True", "").await;
        before.push((name, material(&made), made.metadata.uid.expect("a uid")));
    }
    assert_eq!(
        before[0].1.len(),
        2,
        "both versions of the RSA key: {:?}",
        before[0]
    );

    plane
        .kubectl(
            &["delete", "hsmkeys", "--all", "-n", &ns, "--timeout=60s"],
            "",
        )
        .await
        .ok();
    for (name, _) in TYPES {
        gone(&plane, KEY, Some(&ns), name).await;
    }
    // The store is another process's from here on.
    process.kill();
    let _again = Process::start(&plane, store.path(), &SHORT_LEASE);
    let recovers: String = before
        .iter()
        .map(|(name, _, uid)| recover(&ns, name, uid))
        .collect();
    apply(&plane, &recovers).await;
    for (name, was, _) in &before {
        until(
            &plane,
            Watched::Recover,
            Some(&ns),
            &format!("back-{name}"),
            "Complete",
            "True",
            "",
        )
        .await;
        let back = until(&plane, KEY, Some(&ns), name, "Ready", "True", "").await;
        assert_eq!(material(&back), *was, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd19_a_key_comes_back_as_the_same_wherever_the_process_is_killed_meanwhile() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let ns = plane.namespace("kills").await;
    let mut process = Process::start(&plane, store.path(), &SHORT_LEASE);
    apply(&plane, &hsm(&ns)).await;
    until(
        &plane,
        Watched::Object(Kind::Hsm),
        Some(&ns),
        "safe",
        "Ready",
        "True",
        "",
    )
    .await;
    let mut kills = 0;
    for count in [1, 2, 3, 4, 6, 8] {
        let name = format!("key-{count}");
        apply(&plane, &key(&ns, &name, "keyType: EC, curve: P-256")).await;
        kills += usize::from(process.kill_after(count, "HsmKey"));
        process = Process::start(&plane, store.path(), &SHORT_LEASE);
        let made = until(&plane, KEY, Some(&ns), &name, "Ready", "True", "").await;
        let uid = made.metadata.uid.clone().expect("a uid");
        while process.steps.try_recv().is_ok() {}

        plane
            .kubectl(&["delete", "hsmkey", &name, "-n", &ns, "--wait=false"], "")
            .await
            .ok();
        kills += usize::from(process.kill_after(count, "HsmKey"));
        process = Process::start(&plane, store.path(), &SHORT_LEASE);
        gone(&plane, KEY, Some(&ns), &name).await;
        until(
            &plane,
            PROXY,
            None,
            &format!("{ns}.{name}"),
            "Ready",
            "True",
            "",
        )
        .await;
        while process.steps.try_recv().is_ok() {}

        apply(&plane, &recover(&ns, &name, &uid)).await;
        kills += usize::from(process.kill_after(count, "HsmKey"));
        process = Process::start(&plane, store.path(), &SHORT_LEASE);
        until(
            &plane,
            Watched::Recover,
            Some(&ns),
            &format!("back-{name}"),
            "Complete",
            "True",
            "",
        )
        .await;
        let back = until(&plane, KEY, Some(&ns), &name, "Ready", "True", "").await;
        assert_eq!(
            material(&back),
            material(&made),
            "{name}, killed after {count} effects"
        );
        while process.steps.try_recv().is_ok() {}
    }
    assert!(
        kills >= 15,
        "only {kills} of 18 kills hit a protocol under way"
    );
}
