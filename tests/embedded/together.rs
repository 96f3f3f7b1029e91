//! What the cluster forgot, the record knows: etcd and the store put back together, and the definitions deleted with all that was in them.

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use testplane::{Options, Plane, borrow, eventually};

use crate::backup::{
    Acknowledged, EC, PATIENCE, acknowledged, delete, done, move_pins, proved, ready, text, told,
};
use crate::operator::{get, until};
use crate::process::{Process, SHORT_LEASE, log_of};
use crate::user::{material, uid};
use crate::{KEY, PROXY, apply, hsm, key, recover};

const HSM_PROXY: Watched = Watched::Proxy(Kind::Hsm);
const DEFINITIONS: [&str; 6] = [
    "managedhsms.managedhsm.dev",
    "hsmkeys.managedhsm.dev",
    "deletedmanagedhsms.managedhsm.dev",
    "deletedhsmkeys.managedhsm.dev",
    "recovers.managedhsm.dev",
    "purges.managedhsm.dev",
];

async fn comes_back(plane: &Plane, ns: &str, (name, uid, was): &Acknowledged) {
    apply(plane, &recover(ns, name, uid)).await;
    let of = Watched::Recover;
    let back = format!("back-{name}");
    until(plane, of, Some(ns), &back, "Complete", "True", "").await;
    assert_eq!(material(&ready(plane, ns, name).await), *was, "{name}");
}

async fn made(plane: &Plane, ns: &str, name: &str) -> Acknowledged {
    apply(plane, &key(ns, name, EC)).await;
    acknowledged(&ready(plane, ns, name).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_of_an_etcd_and_a_younger_store_that_are_put_back_together_nothing_in_the_store_is_lost()
 {
    let plane = borrow(Options::default()).await;
    let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    let [store, other] = folders.each_ref().map(tempfile::TempDir::path);
    let mut process = Process::start(&plane, store, &SHORT_LEASE);
    let ns = plane.namespace("together").await;
    apply(&plane, &hsm(&ns)).await;
    let same = made(&plane, &ns, "same").await;
    let deleted = made(&plane, &ns, "deleted").await;
    // The API server is away for that long, and an operator that loses its Lease ends.
    process.kill();
    let etcd = plane.copy_etcd().expect("a copy");
    let mut process = Process::start(&plane, store, &SHORT_LEASE);

    let since = made(&plane, &ns, "since").await;
    delete(&plane, &ns, "deleted").await;
    let proxy = format!("{ns}.deleted");
    until(&plane, PROXY, None, &proxy, "Ready", "True", "").await;
    let backup = store.join("backup");
    done(store, &["backup", text(&backup)]);
    // In neither.
    made(&plane, &ns, "later").await;
    process.kill();

    plane.restore_etcd(&etcd).expect("put back");
    done(other, &["restore", text(&backup)]);
    move_pins(store, other);
    let _restored = Process::start(&plane, other, &SHORT_LEASE);
    // Of what etcd has forgotten the proxy comes from the record.
    let proxy = format!("{ns}.since");
    let kept = until(&plane, PROXY, None, &proxy, "Ready", "True", "").await;
    assert_eq!(kept.data["spec"]["origin"]["uid"], since.1);
    comes_back(&plane, &ns, &since).await;
    // What it brings back stands, and is given what the record says is deleted.
    told(
        &plane,
        KEY,
        Some(&ns),
        "deleted",
        "ObjectIsDeletedButRecoverable",
    )
    .await;
    comes_back(&plane, &ns, &deleted).await;
    proved(&plane, &ns, &same).await;
    for (of, ns, name) in [
        (KEY, Some(&*ns), "later"),
        (PROXY, None, &format!("{ns}.later")),
    ] {
        assert!(get(&plane, of, ns, name).await.is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd25_definitions_that_were_deleted_with_all_in_them_come_back_with_a_proxy_for_each_record()
 {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(&plane, store.path(), &SHORT_LEASE);
    let ns = plane.namespace("undefined").await;
    apply(&plane, &hsm(&ns)).await;
    let live = made(&plane, &ns, "live").await;
    let deleted = made(&plane, &ns, "deleted").await;
    delete(&plane, &ns, "deleted").await;
    let of_deleted = format!("{ns}.deleted");
    until(&plane, PROXY, None, &of_deleted, "Ready", "True", "").await;
    let safe = get(&plane, Watched::Object(Kind::Hsm), Some(&ns), "safe").await;
    let safe = uid(&safe.expect("it stands"));
    process.kill();

    // Where no policy is, and somebody makes them go by force.
    let words = [&["delete", "crd", "--wait=false"], &DEFINITIONS[..]].concat();
    plane.kubectl(&words, "").await.ok();
    for object in ["hsmkey/live", "managedhsm/safe"] {
        let strip = r#"{"metadata":{"finalizers":null}}"#;
        let words = ["patch", object, "-n", &ns, "--type=merge", "-p", strip];
        plane.kubectl(&words, "").await.ok();
    }
    let words = [
        &["wait", "--for=delete", "--timeout=60s", "crd"],
        &DEFINITIONS[..],
    ]
    .concat();
    plane.kubectl(&words, "").await.ok();
    let _again = Process::start(&plane, store.path(), &SHORT_LEASE);
    eventually("it says what it waits for", PATIENCE, async || {
        let log = std::fs::read_to_string(log_of(store.path())).unwrap_or_default();
        let says = log.contains("the cluster does not serve");
        says.then_some(()).ok_or(log)
    })
    .await;
    let crds = testplane::project_dir().join("crds");
    plane.apply_crds(&crds).expect("applied");

    let of_safe = format!("{ns}.safe");
    until(&plane, HSM_PROXY, None, &of_safe, "Ready", "True", "").await;
    for (name, uid, _) in [&live, &deleted] {
        let proxy = format!("{ns}.{name}");
        let kept = until(&plane, PROXY, None, &proxy, "Ready", "True", "").await;
        assert_eq!(kept.data["spec"]["origin"]["uid"], **uid);
    }
    let all = recover(&ns, "safe", &safe)
        .replace("kind: HsmKey", "kind: ManagedHsm")
        .replace("uid: ", "includeKeys: All, uid: ");
    apply(&plane, &all).await;
    let of = Watched::Recover;
    until(&plane, of, Some(&ns), "back-safe", "Complete", "True", "").await;
    for (name, _, was) in [&live, &deleted] {
        let back = acknowledged(&ready(&plane, &ns, name).await);
        assert_eq!(back.2, *was, "{name}");
        proved(&plane, &ns, &back).await;
    }
}
