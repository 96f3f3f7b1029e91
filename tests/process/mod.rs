//! The operator's executable as a process of its own on a real control plane, killed where a test says.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use rustix::process::{Pid, Signal, kill_process};
use testplane::Plane;

/// Fits tests that wait for a dead leader's Lease to run out.
pub const SHORT_LEASE: [&str; 6] = [
    "--lease-duration",
    "2s",
    "--lease-renew-deadline",
    "1500ms",
    "--lease-retry",
    "200ms",
];

/// What `deploy/` installs, but for the definitions and the pod; the kubeconfig is the account's. From now on who asks is believed.
pub async fn installed(plane: &Plane) -> PathBuf {
    for file in ["namespace", "access", "policies"] {
        let path = testplane::project_dir().join(format!("deploy/base/{file}.yaml"));
        let path = path.display().to_string();
        let apply = ["apply", "--server-side", "-f", &path];
        plane.kubectl(&apply, "").await.ok();
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    plane.kubeconfig_of_service_account(NAMESPACE, NAME).await
}

/// The operator's process; killed when it is dropped.
pub struct Process {
    child: Child,
    /// Its log's lines about effects.
    pub steps: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the processes over one store have their log.
pub fn log_of(store: &Path) -> PathBuf {
    store.join("log")
}

/// Where the webhook is served, by what a process logged.
pub fn webhook_port(log: &str) -> Option<u16> {
    let line = log
        .lines()
        .find(|line| line.contains("the webhook is served"))?;
    let rest = line.split("address=127.0.0.1:").nth(1)?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Process {
    /// Over the store in that folder, with these flags besides.
    pub fn start(plane: &Plane, store: &Path, flags: &[&str]) -> Self {
        Self::start_in(&plane.kubeconfig(), store, flags, &[])
    }

    /// As whom that kubeconfig names, with variables in its environment; its PINs are beside the store.
    pub fn start_in(
        kubeconfig: &Path,
        store: &Path,
        flags: &[&str],
        variables: &[(&str, &OsStr)],
    ) -> Self {
        let pins = store.join("pins").display().to_string();
        let flags: Vec<&str> = flags.iter().copied().chain(["--pin-dir", &pins]).collect();
        Self::start_as(kubeconfig, store, variables, &flags)
    }

    /// As whom that kubeconfig names, with these environment variables and flags besides.
    pub fn start_as(
        kubeconfig: &Path,
        store: &Path,
        environment: &[(impl AsRef<OsStr>, impl AsRef<OsStr>)],
        flags: &[&str],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"))
            .args(["run", "--metrics-addr", "127.0.0.1:0"])
            .args(flags)
            .arg("--data-dir")
            .arg(store.join("data"))
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "managed_hsm_operator=debug")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the operator starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_of(store))
            .expect("a log");
        let (told, steps) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The store may be gone already, and nobody listen any more, when the test has seen enough.
                _ = writeln!(log, "{line}");
                if line.contains("effect=") {
                    _ = told.send(line);
                }
            }
        });
        Self { child, steps }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// None: it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status")
    }

    /// SIGTERM, and waits for the end in good order.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), Signal::TERM).expect("it runs");
        self.child.wait().expect("its status")
    }

    /// Waits until `count` effects about what contains `of` have been carried out, then kills it: wherever it is by then. False: it settled before.
    pub fn kill_after(&mut self, count: usize, of: &str) -> bool {
        for _ in 0..count {
            let next = loop {
                match self.steps.recv_timeout(Duration::from_secs(5)) {
                    Ok(line) if line.contains(of) => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
            if !next {
                return false;
            }
        }
        self.kill();
        true
    }
}
