//! What the executable says at its edges, on a real control plane: of a cluster, a data folder, PIN files or records that are not as they should be.

mod process;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Process, SHORT_LEASE, log_of};
use tempfile::TempDir;
use testplane::{Borrowed, Options, borrow, eventually};

const SOON: Duration = Duration::from_secs(60);

/// A store of its own, and the operator's processes over it, one after the other.
struct Edge {
    plane: Borrowed,
    store: TempDir,
}

impl Edge {
    async fn on(options: Options) -> Self {
        let (plane, store) = (
            borrow(options).await,
            tempfile::tempdir().expect("a folder"),
        );
        Self { plane, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.store.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_of(self.store.path())).unwrap_or_default()
    }

    fn start(&self, flags: &[&str]) -> Process {
        _ = std::fs::remove_file(log_of(self.store.path()));
        Process::start(
            &self.plane,
            self.store.path(),
            &[&SHORT_LEASE[..], flags].concat(),
        )
    }

    async fn says(&self, text: &str) {
        eventually(&format!("it says {text:?}"), SOON, async || {
            if self.log().contains(text) {
                Ok(())
            } else {
                Err(self.log())
            }
        })
        .await;
    }

    /// Starts one that is to end by itself with 1; the last line that it says, without its date.
    async fn ends(&self) -> String {
        let mut process = self.start(&[]);
        let code = eventually("it ends", SOON, async || {
            process.ended().ok_or_else(|| self.log())
        })
        .await
        .code();
        // The log's thread may be behind.
        eventually("it says why", SOON, async || {
            if self.log().contains("ERROR") {
                Ok(())
            } else {
                Err(self.log())
            }
        })
        .await;
        let log = self.log();
        assert_eq!(code, Some(1), "{log}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        lines[0].to_owned()
    }

    /// Starts one that works.
    async fn works(&self) -> Process {
        let process = self.start(&[]);
        self.says("the caches are filled: working").await;
        process
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_another_version_are_told_and_waited_for() {
    let edge = Edge::on(Options::without_controllers()).await;
    let field =
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/recordGeneration";
    let patch = format!(r#"[{{"op":"remove","path":"{field}"}}]"#);
    let patched = [
        "patch",
        "crd",
        "hsmkeys.managedhsm.dev",
        "--type=json",
        "--patch",
        &patch,
    ];
    edge.plane.kubectl(&patched, "").await.ok();
    let mut operator = edge.start(&[]);
    edge.says("the cluster's definition hsmkeys.managedhsm.dev is of another version and does not know status.recordGeneration").await;
    edge.says("apply those of this version: kubectl apply -f crds/")
        .await;
    assert!(!edge.log().contains("this process leads"), "{}", edge.log());
    let crds = testplane::project_dir().join("crds");
    let applied = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        crds.to_str().expect("UTF-8"),
    ];
    edge.plane.kubectl(&applied, "").await.ok();
    edge.says("this process leads").await;
    assert_eq!(operator.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_or_a_ledger_that_cannot_be_used_is_named() {
    let edge = Edge::on(Options::without_controllers()).await;
    std::fs::write(edge.path("data"), "a file").expect("written");
    let said = edge.ends().await;
    let data = edge.path("data").display().to_string();
    assert!(
        said.contains(&format!("{data} cannot be read or written (")),
        "{said}"
    );
    assert!(
        said.contains("give it to the user that the operator runs as, or name another folder"),
        "{said}"
    );

    std::fs::remove_file(edge.path("data")).expect("it was there");
    std::fs::create_dir(edge.path("data")).expect("a folder");
    std::fs::write(
        edge.path("data/ledger.db"),
        "no database, but long enough to be taken for the head of one",
    )
    .expect("written");
    let said = edge.ends().await;
    assert!(
        said.contains("ledger.db cannot be opened (") && said.contains("put it back from a backup"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pin_files_that_are_cut_missing_or_open_to_all_are_named_and_no_pin_is() {
    let edge = Edge::on(Options::default()).await;
    std::fs::create_dir(edge.path("pins")).expect("a folder");
    std::fs::write(edge.path("pins/so-pin"), "").expect("written");
    let said = edge.ends().await;
    assert!(
        said.contains("pins/so-pin holds no PIN of at least 8 characters in one line"),
        "{said}"
    );
    std::fs::remove_file(edge.path("pins/so-pin")).expect("it was there");

    let mut operator = edge.works().await;
    make_an_hsm(&edge).await;
    assert_eq!(operator.stop().code(), Some(0));
    let pin = std::fs::read_to_string(edge.path("pins/user-pin")).expect("it was made");
    std::fs::rename(edge.path("pins/user-pin"), edge.path("kept")).expect("renamed");
    let said = edge.ends().await;
    assert!(said.contains("pins/user-pin is missing, but there are tokens that need it: put it back from its backup"), "{said}");
    std::fs::rename(edge.path("kept"), edge.path("pins/user-pin")).expect("renamed");

    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(edge.path("pins/user-pin"), open).expect("changed");
    let mut operator = edge.works().await;
    edge.says("the PIN file is open to every user of this machine")
        .await;
    assert!(!edge.log().contains(&pin));
    assert_eq!(operator.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_encoding_version_that_is_not_known_stops_the_start() {
    let edge = Edge::on(Options::default()).await;
    let mut operator = edge.works().await;
    make_an_hsm(&edge).await;
    assert_eq!(operator.stop().code(), Some(0));

    let ledger = edge.path("data/ledger.db");
    let (id, bytes) = the_record(&ledger);
    assert_eq!(bytes[0], 1, "the encoding version stands first");
    write_record(&ledger, &[&[9], &bytes[1..]].concat());
    let said = edge.ends().await;
    assert!(said.contains(&id), "{said}");
    assert!(
        said.contains("a record of the encoding version 9, which this operator does not know; start the operator that wrote it, or a newer one"),
        "{said}"
    );
    assert_eq!(the_record(&ledger).1[0], 9, "nothing was written");

    write_record(&ledger, &bytes);
    let mut operator = edge.works().await;
    assert_eq!(operator.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_for_the_lease_that_is_not_there_is_told_and_waited_for() {
    let edge = Edge::on(Options::without_controllers()).await;
    let mut operator = edge.start(&["--namespace", "nowhere"]);
    edge.says("the Lease nowhere/managed-hsm-operator could not be read or written (namespaces \"nowhere\" not found); create that namespace, or name another one with --namespace; it is tried again").await;
    edge.plane
        .kubectl(&["create", "namespace", "nowhere"], "")
        .await
        .ok();
    edge.says("this process leads").await;
    assert_eq!(operator.stop().code(), Some(0));
}

async fn make_an_hsm(edge: &Edge) {
    let manifest = "{apiVersion: managedhsm.dev/v1alpha1, kind: ManagedHsm, metadata: {name: vault, namespace: default}, spec: {retentionDays: 7}}";
    edge.plane
        .kubectl(&["apply", "--filename", "-"], manifest)
        .await
        .ok();
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "managedhsm/vault",
    ];
    let seen = edge.plane.kubectl(&ready, "").await;
    assert!(seen.success, "{}\n{}", seen.stderr, edge.log());
}

fn the_record(ledger: &Path) -> (String, Vec<u8>) {
    let file = rusqlite::Connection::open(ledger).expect("a ledger");
    file.query_row("SELECT id, bytes FROM record", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .expect("one record")
}

fn write_record(ledger: &Path, bytes: &[u8]) {
    let file = rusqlite::Connection::open(ledger).expect("a ledger");
    assert_eq!(
        file.execute("UPDATE record SET bytes = ?1", [bytes])
            .expect("written"),
        1
    );
}
