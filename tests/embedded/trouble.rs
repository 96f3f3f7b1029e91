//! What is wrong around the store: PINs, the disk. One clear sentence, nothing lost, and it goes on when it is right again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use testplane::{Options, Plane, borrow, eventually};

use crate::operator::{condition, get, until};
use crate::process::{Process, SHORT_LEASE, log_of};
use crate::user::material;
use crate::{KEY, PROXY, apply, hsm, key, recover};

const HSM: Watched = Watched::Object(Kind::Hsm);
/// What waits for a person is looked at again each half minute.
const PATIENCE: Duration = Duration::from_secs(90);
const EC: &str = "keyType: EC, curve: P-256";

async fn comes_back(plane: &Plane, ns: &str, name: &str, uid: &str) {
    apply(plane, &recover(ns, name, uid)).await;
    let recover = format!("back-{name}");
    until(
        plane,
        Watched::Recover,
        Some(ns),
        &recover,
        "Complete",
        "True",
        "",
    )
    .await;
}

async fn told(plane: &Plane, of: Watched, ns: &str, name: &str, reason: &str) -> String {
    let stands = until(plane, of, Some(ns), name, "Ready", "False", reason).await;
    condition(&stands, "Ready").expect("told").2
}

/// The proxy is settled; what was deleted is gone.
async fn kept(plane: &Plane, ns: &str, name: &str) {
    let proxy = format!("{ns}.{name}");
    eventually("it is deleted, and kept", PATIENCE, async || {
        let object = get(plane, KEY, Some(ns), name).await;
        let found = get(plane, PROXY, None, &proxy).await;
        match (object, found) {
            (None, Some(found)) if found.data["status"]["recordGeneration"].is_i64() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn pin_files(store: &Path) -> [PathBuf; 2] {
    ["so-pin", "user-pin"].map(|name| store.join("pins").join(name))
}

/// Starts the operator, which ends by itself, and answers with what and what its log says.
async fn ends(plane: &Plane, store: &Path) -> (Option<i32>, String) {
    let mut process = Process::start(plane, store, &SHORT_LEASE);
    let code = eventually("the operator ends", PATIENCE, async || {
        let ended = process.ended().map(|status| status.code());
        ended.ok_or_else(|| "it runs".to_owned())
    })
    .await;
    (code, std::fs::read_to_string(log_of(store)).expect("a log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_told_with_its_way_out_and_nothing_is_lost() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let ns = plane.namespace("pins").await;
    let mut process = Process::start(&plane, store.path(), &SHORT_LEASE);
    apply(&plane, &(hsm(&ns) + &key(&ns, "signing", EC))).await;
    let made = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;
    process.kill();

    let files = pin_files(store.path());
    let right = files
        .each_ref()
        .map(|file| std::fs::read(file).expect("a PIN"));
    for file in &files {
        std::fs::write(file, "another-pin-of-the-right-length-000").expect("written");
    }
    let mut wrong = Process::start(&plane, store.path(), &SHORT_LEASE);
    let sentence = told(&plane, HSM, &ns, "safe", "BackendUnavailable").await;
    assert!(
        sentence.contains("SO PIN was refused")
            && sentence.contains("put the right one in its file"),
        "{sentence}"
    );
    let args = ["delete", "hsmkey", "signing", "-n", &ns, "--wait=false"];
    plane.kubectl(&args, "").await.ok();
    told(&plane, KEY, &ns, "signing", "BackendUnavailable").await;
    wrong.kill();

    // One that is not there is never made anew beside tokens.
    std::fs::remove_file(&files[1]).expect("removed");
    let (code, said) = ends(&plane, store.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("is missing, but there are tokens that need it: put it back"),
        "{said}"
    );

    for (file, pin) in files.iter().zip(&right) {
        std::fs::write(file, pin).expect("written");
    }
    let _right = Process::start(&plane, store.path(), &SHORT_LEASE);
    kept(&plane, &ns, "signing").await;
    let uid = made.metadata.uid.clone().expect("a uid");
    comes_back(&plane, &ns, "signing", &uid).await;
    let back = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;
    assert_eq!(material(&back), material(&made));
}

/// A disk of a few megabytes; gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "small"])
            .arg(at)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    pub fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_with_its_way_out_and_nothing_is_lost() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&store.path().join("data")) else {
        println!("skipped: only root can mount a small disk");
        return;
    };
    let ns = plane.namespace("disk").await;
    let _process = Process::start(&plane, store.path(), &SHORT_LEASE);
    apply(&plane, &(hsm(&ns) + &key(&ns, "signing", EC))).await;
    let made = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;

    disk.fill();
    let args = ["delete", "hsmkey", "signing", "-n", &ns, "--wait=false"];
    plane.kubectl(&args, "").await.ok();
    apply(&plane, &key(&ns, "second", EC)).await;
    for name in ["signing", "second"] {
        let sentence = told(&plane, KEY, &ns, name, "BackendFull").await;
        assert!(
            sentence.contains("disk") && sentence.contains("make room on its disk"),
            "{sentence}"
        );
    }
    std::fs::remove_file(disk.filler()).expect("removed");
    kept(&plane, &ns, "signing").await;
    let uid = made.metadata.uid.clone().expect("a uid");
    comes_back(&plane, &ns, "signing", &uid).await;
    let back = until(&plane, KEY, Some(&ns), "signing", "Ready", "True", "").await;
    assert_eq!(material(&back), material(&made));
    eventually("the other goes on", PATIENCE, async || {
        let found = get(&plane, KEY, Some(&ns), "second")
            .await
            .expect("it stands");
        match condition(&found, "Ready") {
            Some((is, _, _)) if is == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
