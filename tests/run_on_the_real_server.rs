//! The executable against a real API server: of several one leads, and each ends as it should.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rustix::process::{Pid, Signal, kill_process};
use testplane::{Options, Plane, Server, borrow, eventually};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(30);

/// Short times, so that tests need not wait; the order of the three is what matters.
const TIMES: [&str; 6] = [
    // Long enough for a machine that does other things besides.
    "--lease-duration",
    "8s",
    "--lease-renew-deadline",
    "6s",
    "--lease-retry",
    "400ms",
];

/// One operator process, and what it logged.
struct Operator {
    child: Child,
    /// Its store, as on a machine of its own.
    _data: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Operator {
    /// On a store of its own, unless a flag names one: flags win over the environment.
    fn start(kubeconfig: PathBuf, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
            .args(["run", "--metrics-addr", "127.0.0.1:0"])
            .args(flags)
            .env("MHSM_DATA_DIR", data.path())
            .env("KUBECONFIG", kubeconfig)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let sink = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock()
                    .expect("not poisoned")
                    .push_str(&format!("{line}\n"));
            }
        });
        Self {
            child,
            _data: data,
            log,
        }
    }

    fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .expect("it runs");
        kill_process(pid, signal).expect("it is ours");
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

    async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(SOON, self.child.wait())
            .await
            .expect("it ends soon")
            .expect("it can be waited for")
    }

    /// The answer to a GET of its own server, whose port it logged.
    async fn get(&self, path: &str) -> Result<String, String> {
        let log = self.log();
        let address = log
            .split("address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or("no address yet")?;
        let ask = async {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream
                .write_all(
                    format!("GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n")
                        .as_bytes(),
                )
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        tokio::time::timeout(Duration::from_secs(1), ask)
            .await
            .map_err(|_| "no answer")?
            .map_err(|error| error.to_string())
    }

    async fn leads(&self) -> bool {
        self.get("/metrics")
            .await
            .is_ok_and(|text| text.lines().any(|line| line == "managedhsm_leader 1"))
    }
}

async fn holder(plane: &Plane) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(plane.client().await, "default");
    let lease = leases
        .get_opt("managed-hsm-operator")
        .await
        .expect("the API server answers");
    lease
        .and_then(|lease| lease.spec)
        .and_then(|spec| spec.holder_identity)
}

/// Waits until one of the two leads; answers the leader first.
async fn in_order(one: Operator, other: Operator) -> (Operator, Operator) {
    let first = eventually("one of them leads", SOON, async || {
        match (one.leads().await, other.leads().await) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            both => Err(format!("{both:?}\n{}\n{}", one.log(), other.log())),
        }
    })
    .await;
    if first { (one, other) } else { (other, one) }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_one_leads_and_the_other_takes_over_when_it_is_killed_paused_or_stopped() {
    let plane = borrow(Options::without_controllers()).await;
    let start = || Operator::start(plane.kubeconfig(), &TIMES);

    let (mut leader, standby) = in_order(start(), start()).await;
    standby.says("another process leads; standing by").await;
    assert!(
        standby
            .get("/readyz")
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
        "a standby is ready"
    );
    let held = holder(&plane).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(holder(&plane).await, held, "it stays so");

    // Killed: the Lease runs out.
    leader.child.kill().await.expect("killed");
    let (mut paused, mut next) = in_order(standby, start()).await;

    // Paused: the other leads meanwhile, and the paused one finds out as soon as it goes on.
    paused.signal(Signal::STOP);
    eventually("the other leads", SOON, async || {
        if next.leads().await {
            Ok(())
        } else {
            Err(next.log())
        }
    })
    .await;
    paused.signal(Signal::CONT);
    let status = paused.exit().await;
    assert_eq!(status.code(), Some(1), "{}", paused.log());
    assert!(
        paused
            .log()
            .contains("the leader election failed: the leadership is lost"),
        "{}",
        paused.log()
    );
    assert!(next.leads().await, "{}", next.log());

    // Stopped: it releases the Lease, so nobody has to wait.
    next.signal(Signal::TERM);
    assert_eq!(next.exit().await.code(), Some(0), "{}", next.log());
    assert!(
        next.log().contains("stopped in good order"),
        "{}",
        next.log()
    );
    assert_eq!(holder(&plane).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_definitions_are_told_and_waited_for_and_so_is_an_api_server_that_is_away() {
    let plane = borrow(Options::without_controllers().without_crds()).await;
    plane.stop_server(Server::ApiServer).expect("stopped");
    let mut operator = Operator::start(plane.kubeconfig(), &TIMES);
    operator.says("the API server cannot be asked").await;
    plane.start_server(Server::ApiServer).expect("started");
    operator
        .says("apply the definitions: kubectl apply -f crds/")
        .await;
    let waiting = operator.get("/readyz").await.expect("it answers");
    assert!(
        waiting.starts_with("HTTP/1.1 503") && waiting.contains("the API server with our kinds"),
        "{waiting}"
    );
    plane
        .apply_crds(&testplane::project_dir().join("crds"))
        .expect("applied");
    operator.says("this process leads").await;
    operator.says("the clock is trusted").await;
    assert!(
        operator
            .get("/metrics")
            .await
            .is_ok_and(|text| text.contains("managedhsm_clock_trusted 1"))
    );

    // A leader without an API server ends itself in time.
    plane.pause_server(Server::ApiServer).expect("paused");
    assert_eq!(operator.exit().await.code(), Some(1), "{}", operator.log());
    assert!(
        operator.log().contains("it was not renewed for"),
        "{}",
        operator.log()
    );
    plane.resume_server(Server::ApiServer).expect("resumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let plane = borrow(Options::without_controllers()).await;
    let mut operator = Operator::start(
        plane.kubeconfig(),
        &["--lease-renew-deadline", "14s", "--lease-retry", "13s"],
    );
    operator.says("this process leads").await;
    // The release hangs, so there is something to wait for.
    plane.pause_server(Server::ApiServer).expect("paused");
    operator.signal(Signal::TERM);
    operator
        .says("told to stop: finishing what is under way")
        .await;
    operator.signal(Signal::INT);
    assert_eq!(
        operator.exit().await.code(),
        Some(130),
        "{}",
        operator.log()
    );
    plane.resume_server(Server::ApiServer).expect("resumed");
}

const VAULT: &str = "
apiVersion: managedhsm.dev/v1alpha1
kind: ManagedHsm
metadata: {name: vault, namespace: default}
spec: {retentionDays: 7}
---
apiVersion: managedhsm.dev/v1alpha1
kind: HsmKey
metadata: {name: signing, namespace: default}
spec: {hsm: vault, keyType: EC, curve: P-256}
";

#[tokio::test(flavor = "multi_thread")]
async fn the_executable_makes_a_key_ready_on_its_own_store_and_knows_it_after_a_restart() {
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let flags = [
        &TIMES[..],
        &["--data-dir", store.path().to_str().expect("UTF-8")],
    ]
    .concat();
    let mut operator = Operator::start(plane.kubeconfig(), &flags);
    plane
        .kubectl(&["apply", "--filename", "-"], VAULT)
        .await
        .ok();
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "managedhsm/vault",
        "hsmkey/signing",
    ];
    let seen = plane.kubectl(&ready, "").await;
    assert!(seen.success, "{}\n{}", seen.stderr, operator.log());
    assert!(
        operator
            .get("/readyz")
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    );
    let thumbprint = [
        "get",
        "hsmkey/signing",
        "--output=jsonpath={.status.versions[0].thumbprint}",
    ];
    let before = plane.kubectl(&thumbprint, "").await.ok();
    assert!(!before.is_empty());
    operator.signal(Signal::TERM);
    assert_eq!(operator.exit().await.code(), Some(0), "{}", operator.log());

    let mut next = Operator::start(plane.kubeconfig(), &flags);
    next.says("the caches are filled: working").await;
    plane
        .kubectl(&["annotate", "hsmkey/signing", "again=yes"], "")
        .await
        .ok();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(plane.kubectl(&ready, "").await.success, "{}", next.log());
    assert_eq!(plane.kubectl(&thumbprint, "").await.ok(), before);
    next.signal(Signal::TERM);
    assert_eq!(next.exit().await.code(), Some(0), "{}", next.log());
}

/// One `ledger` command of the executable, on that store.
async fn ledger(plane: &Plane, store: &std::path::Path, words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
        .arg("ledger")
        .args(words)
        .args(TIMES)
        .env("MHSM_DATA_DIR", store)
        .env("KUBECONFIG", plane.kubeconfig())
        .env_remove("RUST_LOG")
        .output()
        .await
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_commands_ask_the_operator_that_runs_and_look_themselves_where_none_does() {
    use std::os::unix::fs::PermissionsExt as _;
    let plane = borrow(Options::default()).await;
    let store = tempfile::tempdir().expect("a folder");
    let flags = [
        &TIMES[..],
        &["--data-dir", store.path().to_str().expect("UTF-8")],
    ]
    .concat();
    let mut operator = Operator::start(plane.kubeconfig(), &flags);
    plane
        .kubectl(&["apply", "--filename", "-"], VAULT)
        .await
        .ok();
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "managedhsm/vault",
        "hsmkey/signing",
    ];
    plane.kubectl(&ready, "").await.ok();
    let socket = store.path().join("operator.sock");
    let mode = std::fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (code, table, said) = ledger(&plane, store.path(), &["list"]).await;
    assert_eq!(code, 0, "{said}");
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[0].starts_with("ID ") && lines[0].ends_with("PURGE AT"),
        "{table}"
    );
    assert!(
        lines[1].contains("HsmKey") && lines[1].contains("signing") && lines[1].contains("live"),
        "{table}"
    );
    let id = lines[1]
        .split_whitespace()
        .next()
        .expect("an id")
        .to_owned();
    let (_, json, _) = ledger(&plane, store.path(), &["list", "-o", "json"]).await;
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows[0]["id"], id.as_str());
    let (code, whole, said) = ledger(&plane, store.path(), &["show", &id]).await;
    assert_eq!(code, 0, "{said}");
    for part in [
        "digest:",
        "state: live",
        "type: EC P-256",
        "namespace: default",
    ] {
        assert!(whole.contains(part), "{part} in {whole}");
    }
    let (code, _, said) = ledger(&plane, store.path(), &["abandon", &id]).await;
    assert_eq!(code, 1);
    assert!(said.contains("delete the object first"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    // Another store's command finds the leader's Lease, and says where to ask.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (code, _, said) = ledger(&plane, elsewhere.path(), &["list"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("another one leads by the Lease default/managed-hsm-operator"),
        "{said}"
    );

    operator.signal(Signal::TERM);
    assert_eq!(operator.exit().await.code(), Some(0), "{}", operator.log());
    let (code, alone, said) = ledger(&plane, store.path(), &["list"]).await;
    assert_eq!((code, alone.as_str()), (0, table.as_str()), "{said}");
    assert_eq!(holder(&plane).await, None, "the Lease is given back");
}
