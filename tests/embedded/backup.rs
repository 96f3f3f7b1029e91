//! Backups of the store while it works, and what a restored one is taken for.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::plan::ids::record_id;
use serde_json::Value;
use testplane::{Options, Plane, borrow, eventually};

use crate::operator::{condition, get, gone, until};
use crate::process::{Process, SHORT_LEASE, log_of};
use crate::trouble::SmallDisk;
use crate::user::{material, uid};
use crate::{KEY, PROXY, apply, hsm, key, recover};

pub const EC: &str = "keyType: EC, curve: P-256";
/// As long as the operator looks again at what waits for a person.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The executable beside the operator, over the same data folder.
fn command(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .arg("store")
        .args(arguments)
        .arg("--data-dir")
        .arg(store.join("data"))
        .arg("--pin-dir")
        .arg(store.join("pins"))
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()
        .expect("it starts")
}

#[track_caller]
pub fn done(store: &Path, arguments: &[&str]) -> String {
    let output = command(store, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{errors}");
    said
}

#[track_caller]
fn refused(store: &Path, arguments: &[&str]) -> String {
    let output = command(store, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// In an HSM of that name and with those switches.
fn hsm_and_key(ns: &str, safe: &str, switches: &str, name: &str) -> String {
    let hsm = hsm(ns).replace("{name: safe", &format!("{{name: {safe}"));
    let key = key(ns, name, EC).replace("hsm: safe", &format!("hsm: {safe}"));
    hsm.replace("spec: {}", &format!("spec: {{{switches}}}")) + &key
}

pub async fn ready(plane: &Plane, ns: &str, name: &str) -> DynamicObject {
    until(plane, KEY, Some(ns), name, "Ready", "True", "").await
}

pub async fn delete(plane: &Plane, ns: &str, name: &str) {
    let args = ["delete", "hsmkey", name, "-n", ns, "--timeout=60s"];
    plane.kubectl(&args, "").await.ok();
}

pub async fn told(
    plane: &Plane,
    of: Watched,
    ns: Option<&str>,
    name: &str,
    reason: &str,
) -> String {
    eventually(&format!("{name} says {reason}"), PATIENCE, async || {
        let found = get(plane, of, ns, name).await;
        let said = found.as_ref().and_then(|found| condition(found, "Ready"));
        match said {
            Some((_, why, sentence)) if why == reason => Ok(sentence),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// What a key that was acknowledged is known by.
pub type Acknowledged = (String, String, Vec<[Value; 4]>);

pub fn acknowledged(made: &DynamicObject) -> Acknowledged {
    let name = made.metadata.name.clone().expect("a name");
    (name, uid(made), material(made))
}

/// Makes keys until it is told to stop, and deletes every third; the others are noted once they are ready.
async fn load(plane: &Plane, ns: &str, noted: &Mutex<Vec<Acknowledged>>, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("load-{number}");
        apply(plane, &key(ns, &name, EC)).await;
        let made = ready(plane, ns, &name).await;
        match number % 3 {
            2 => delete(plane, ns, &name).await,
            _ => noted.lock().expect("a lock").push(acknowledged(&made)),
        }
    }
}

/// Its seal is taken off by a recovery only if it proves to be the same material.
pub async fn proved(plane: &Plane, ns: &str, (name, uid, was): &Acknowledged) {
    delete(plane, ns, name).await;
    let proxy = format!("{ns}.{name}");
    until(plane, PROXY, None, &proxy, "Ready", "True", "").await;
    apply(plane, &recover(ns, name, uid)).await;
    let back = format!("back-{name}");
    let of = Watched::Recover;
    until(plane, of, Some(ns), &back, "Complete", "True", "").await;
    assert_eq!(material(&ready(plane, ns, name).await), *was, "{name}");
}

pub fn move_pins(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    std::fs::rename(from.join("pins"), to.join("pins")).expect("the PINs are there");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_a_backup_under_load_holds_every_key_that_was_acknowledged_and_brings_nothing_back_that_was_purged()
 {
    let plane = borrow(Options::default()).await;
    let (store, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    // A day of 2 s: 14 s in `brief`, 3 minutes in `safe`.
    let flags: Vec<&str> = SHORT_LEASE
        .into_iter()
        .chain(["--day-length", "2s"])
        .collect();
    let mut process = Process::start(&plane, store.path(), &flags);
    let ns = plane.namespace("backup").await;
    let all = hsm(&ns)
        + &key(&ns, "changed", EC)
        + &hsm_and_key(&ns, "plain", "softDelete: false", "destroyed")
        + &hsm_and_key(&ns, "brief", "retentionDays: 7", "expired");
    apply(&plane, &all).await;
    let destroyed = ready(&plane, &ns, "destroyed").await;
    let expired = ready(&plane, &ns, "expired").await;
    ready(&plane, &ns, "changed").await;

    let (noted, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let backup = store.path().join("backup");
    let acts = async {
        eventually("keys are made", PATIENCE, async || {
            let count = noted.lock().expect("a lock").len();
            if count > 3 {
                Ok(())
            } else {
                Err(format!("{count} keys"))
            }
        })
        .await;
        delete(&plane, &ns, "expired").await;
        let before = noted.lock().expect("a lock").clone();
        let (folder, to) = (store.path().to_owned(), backup.clone());
        let made = tokio::task::spawn_blocking(move || done(&folder, &["backup", text(&to)]));
        let said = made.await.expect("it is backed up");

        // Time goes on.
        delete(&plane, &ns, "destroyed").await;
        delete(&plane, &ns, "changed").await;
        apply(&plane, &key(&ns, "later", EC)).await;
        ready(&plane, &ns, "later").await;
        for name in ["destroyed", "expired"] {
            gone(&plane, PROXY, None, &format!("{ns}.{name}")).await;
        }
        stop.store(true, Ordering::SeqCst);
        (before, said)
    };
    let ((), (before, said)) = tokio::join!(load(&plane, &ns, &noted, &stop), acts);
    assert!(
        said.contains("holds 3 HSMs") && said.contains("no PIN is in it"),
        "{said}"
    );
    assert!(said.contains(text(&store.path().join("pins"))), "{said}");
    process.kill();

    assert!(done(store.path(), &["check", text(&backup)]).contains("it is whole"));
    assert!(done(store.path(), &["check"]).contains("it is whole"));
    let said = done(other.path(), &["restore", text(&backup)]);
    assert!(said.contains("holds 3 HSMs"), "{said}");
    move_pins(store.path(), other.path());
    let _restored = Process::start(&plane, other.path(), &flags);
    for one in &before {
        proved(&plane, &ns, one).await;
    }
    let proxy = format!("{ns}.changed");
    let sentence = told(&plane, PROXY, None, &proxy, "RecordDisagrees").await;
    assert!(sentence.contains("ledger accept"), "{sentence}");
    told(&plane, KEY, Some(&ns), "later", "MaterialMissing").await;

    // What was destroyed since is in the store again: it is used by nobody, and not destroyed again either, until a person says so.
    let ids = [&destroyed, &expired].map(|was| record_id(&uid(was).into()).0);
    for (id, name, state) in [
        (&ids[0], "destroyed", "live"),
        (&ids[1], "expired", "deleted"),
    ] {
        let rows = ledger(other.path(), &["list"]);
        let row = rows
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["id"] == **id));
        let row = row.unwrap_or_else(|| panic!("{name} is not listed: {rows}"));
        assert_eq!(row["state"], state, "{row}");
        let note = row["note"].as_str().unwrap_or_default();
        assert!(
            note.contains("says that its material was destroyed"),
            "{row}"
        );
        for (of, ns, name) in [
            (KEY, Some(ns.as_str()), name),
            (PROXY, None, &format!("{ns}.{name}")),
        ] {
            assert!(get(&plane, of, ns, name).await.is_none(), "{name}");
        }
    }
    let [_, id] = &ids;
    apply(&plane, &recover(&ns, "expired", &uid(&expired))).await;
    let of = Watched::Recover;
    let sentence = told(&plane, of, Some(&ns), "back-expired", "RecordDisagrees").await;
    assert!(
        sentence.contains("was destroyed") && sentence.contains("ledger accept"),
        "{sentence}"
    );
    let shown = ledger(other.path(), &["show", id]);
    let digest = shown[0]["digest"].as_str().expect("a digest").to_owned();
    asked(other.path(), &["accept", id, "--digest", &digest]);
    until(
        &plane,
        of,
        Some(&ns),
        "back-expired",
        "Complete",
        "True",
        "",
    )
    .await;
    assert_eq!(
        material(&ready(&plane, &ns, "expired").await),
        material(&expired)
    );
}

/// Asks the operator of the records.
#[track_caller]
fn asked(store: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .arg("ledger")
        .args(arguments)
        .arg("--data-dir")
        .arg(store.join("data"))
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn ledger(store: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
    serde_json::from_str(&asked(store, &arguments)).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_a_backup_leaves_none_and_the_store_goes_on() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&store.path().join("disk")) else {
        println!("skipped: only root can mount a small disk");
        return;
    };
    let ns = plane.namespace("full").await;
    let _process = Process::start(&plane, store.path(), &SHORT_LEASE);
    apply(&plane, &(hsm(&ns) + &key(&ns, "signing", EC))).await;
    let made = acknowledged(&ready(&plane, &ns, "signing").await);
    disk.fill();
    // Room for some of it: it is full half way.
    let filler = std::fs::OpenOptions::new()
        .write(true)
        .open(disk.filler())
        .expect("a file");
    filler
        .set_len(2 * 1024 * 1024 - 24 * 1024)
        .expect("shorter");
    drop(filler);
    let backup = store.path().join("disk/backup");
    let said = refused(store.path(), &["backup", text(&backup)]);
    assert!(
        said.contains("there is no room in") && said.contains("name a folder on another disk"),
        "{said}"
    );
    assert!(!backup.exists(), "what was written is removed again");
    proved(&plane, &ns, &made).await;

    std::fs::remove_file(disk.filler()).expect("removed");
    done(store.path(), &["backup", text(&backup)]);
    assert!(done(store.path(), &["check", text(&backup)]).contains("it is whole"));
    let said = refused(store.path(), &["backup", text(&backup)]);
    assert!(
        said.contains("is not empty, and a backup overwrites nothing"),
        "{said}"
    );
}

/// Those that are whole, the oldest first.
fn whole(series: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(series).into_iter().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    all.retain(|path| path.join("manifest.json").exists());
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_backs_up_by_itself_and_keeps_as_many_as_it_is_told() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let series = store.path().join("backups");
    let flags: Vec<&str> = SHORT_LEASE
        .into_iter()
        .chain([
            "--backup-to",
            text(&series),
            "--backup-every",
            "1s",
            "--backup-keep",
            "2",
        ])
        .collect();
    let ns = plane.namespace("series").await;
    let mut process = Process::start(&plane, store.path(), &flags);
    apply(&plane, &(hsm(&ns) + &key(&ns, "signing", EC))).await;
    let made = acknowledged(&ready(&plane, &ns, "signing").await);
    let first = whole(&series);
    let later = |all: &[PathBuf]| all.len() == 2 && first.iter().all(|old| !all.contains(old));
    eventually("older ones went", PATIENCE, async || {
        let all = whole(&series);
        if later(&all) {
            Ok(())
        } else {
            Err(format!("{first:?}, {all:?}"))
        }
    })
    .await;
    let log = std::fs::read_to_string(log_of(store.path())).expect("a log");
    assert!(log.contains("no PIN is in it"), "{log}");
    process.kill();

    // The newest holds what was acknowledged a second before it.
    let other = tempfile::tempdir().expect("a folder");
    let newest = whole(&series).pop().expect("one is there");
    done(other.path(), &["restore", text(&newest)]);
    move_pins(store.path(), other.path());
    let _restored = Process::start(&plane, other.path(), &SHORT_LEASE);
    proved(&plane, &ns, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_needs_neither_an_operator_nor_a_cluster_and_an_empty_store_is_one_too() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let backup = store.path().join("backup");
    let said = refused(store.path(), &["backup", text(&backup)]);
    assert!(
        said.contains("no operator listens here, and") && said.contains("holds no store"),
        "{said}"
    );
    let mut process = Process::start(&plane, store.path(), &SHORT_LEASE);
    eventually("the operator works", PATIENCE, async || {
        let socket = store.path().join("data/operator.sock");
        if socket.exists() {
            Ok(())
        } else {
            Err("no socket".to_owned())
        }
    })
    .await;
    for refusal in [
        refused(store.path(), &["check"]),
        refused(store.path(), &["restore", text(&backup)]),
    ] {
        assert!(
            refusal.contains("in use by another process") || refusal.contains("is no whole backup"),
            "{refusal}"
        );
    }
    done(store.path(), &["backup", text(&backup)]);
    process.kill();
    let second = store.path().join("second");
    let said = done(store.path(), &["backup", text(&second)]);
    assert!(said.contains("holds 0 HSMs and 0 records"), "{said}");
    let said = refused(store.path(), &["restore", text(&second)]);
    assert!(
        said.contains("is not empty, and a restore overwrites nothing"),
        "{said}"
    );
}
