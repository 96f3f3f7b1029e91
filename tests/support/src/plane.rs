//! The plane itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::files::{ADMIN, CONTROLLER_MANAGER, Files};
use crate::kubectl::{self, Output};
use crate::ports::{self, Port};
use crate::reaper::Reaper;
use crate::server::{Process, Server};
use crate::{Failure, Options, binaries, failed, node};

/// A running control plane. Dropping it kills its servers and removes its folder.
pub struct Plane {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    options: Options,
    etcd: Port,
    etcd_peers: Port,
    api: Port,
    running: Mutex<Running>,
    numbers: AtomicU32,
}

struct Running {
    processes: Vec<Process>,
    reaper: Reaper,
    /// Beside the plane's own.
    ports: Vec<Port>,
}

/// What etcd held at one moment: see [`Plane::copy_etcd`].
pub struct EtcdCopy {
    folder: PathBuf,
}

impl Plane {
    /// Starts etcd, the API server and, where asked for, the controller manager, and waits until they work.
    /// Blocks for about four seconds: async tests use [`crate::shared`] or [`crate::borrow`].
    pub fn start(options: Options) -> Result<Self, Failure> {
        binaries::control_plane()?;
        let folder = tempfile::Builder::new()
            .prefix("mhsm-plane-")
            .tempdir()?
            .keep();
        let reaper = Reaper::start(&folder)?;
        let inner = Inner {
            files: Files::write(&folder)?,
            options,
            etcd: ports::lease()?,
            etcd_peers: ports::lease()?,
            api: ports::lease()?,
            running: Mutex::new(Running {
                processes: Vec::new(),
                reaper,
                ports: Vec::new(),
            }),
            numbers: AtomicU32::new(0),
        };
        let plane = Self {
            inner: Arc::new(inner),
        };
        plane.prepare()?;
        plane.bring_up()?;
        Ok(plane)
    }

    fn prepare(&self) -> Result<(), Failure> {
        let (files, port) = (&self.inner.files, self.port());
        files.kubeconfig("admin", port, ADMIN, None)?;
        files.kubeconfig("controller-manager", port, CONTROLLER_MANAGER, None)?;
        let mut wanted = vec![
            (Server::Etcd, self.etcd_arguments()),
            (Server::ApiServer, self.api_server_arguments()?),
        ];
        if let Some(controllers) = self.inner.options.controllers.flag() {
            let arguments = self.controller_manager_arguments(&controllers);
            wanted.push((Server::ControllerManager, arguments));
        }
        if self.inner.options.node {
            wanted.extend(node::servers(files, port)?);
        }
        for (server, arguments) in wanted {
            self.add(server, arguments, Vec::new())?;
        }
        Ok(())
    }

    fn add(
        &self,
        server: Server,
        arguments: Vec<String>,
        environment: Vec<(String, OsString)>,
    ) -> Result<(), Failure> {
        let program = server.path()?;
        let log = self.inner.files.path(&format!("{}.log", server.program()));
        self.running().processes.push(Process {
            server,
            program,
            arguments,
            environment,
            log,
            child: None,
        });
        Ok(())
    }

    /// Starts one more server, which ends with the plane, and waits for nothing.
    pub fn beside(
        &self,
        server: Server,
        arguments: Vec<String>,
        environment: Vec<(String, OsString)>,
    ) -> Result<(), Failure> {
        self.add(server, arguments, environment)?;
        self.start_server(server)
    }

    /// A port on loopback that nobody else has while the plane is there.
    pub fn another_port(&self) -> Result<u16, Failure> {
        let port = ports::lease()?;
        let number = port.number;
        self.running().ports.push(port);
        Ok(number)
    }

    fn bring_up(&self) -> Result<(), Failure> {
        self.start_server(Server::Etcd)?;
        self.start_server(Server::ApiServer)?;
        if self.inner.options.controllers.flag().is_some() {
            self.start_server(Server::ControllerManager)?;
        }
        if self.inner.options.crds {
            self.apply_crds(&binaries::project_dir().join("crds"))?;
        }
        if self.inner.options.controllers.make_service_accounts() {
            self.until(
                "the ServiceAccount default appears",
                &["get", "serviceaccount", "default", "-n", "default"],
            )?;
        }
        if self.inner.options.node {
            self.bring_up_node()?;
        }
        Ok(())
    }

    fn etcd_arguments(&self) -> Vec<String> {
        let clients = format!("http://127.0.0.1:{}", self.inner.etcd.number);
        let peers = format!("http://127.0.0.1:{}", self.inner.etcd_peers.number);
        vec![
            "--name=plane".to_owned(),
            format!("--data-dir={}", self.etcd_folder().display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=plane={peers}"),
            // What is thrown away needs no disk that keeps it.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    fn api_server_arguments(&self) -> Result<Vec<String>, Failure> {
        let files = &self.inner.files;
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.inner.etcd.number),
            format!("--secure-port={}", self.port()),
            "--bind-address=127.0.0.1".to_owned(),
            // The Service `kubernetes` cannot lead to loopback, and nothing here needs it.
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--cert-dir={}", files.folder.display()),
            format!("--tls-cert-file={}", files.flag("server.crt")),
            format!("--tls-private-key-file={}", files.flag("server.key")),
            format!("--service-account-key-file={}", files.flag("sa.pub")),
            format!(
                "--service-account-signing-key-file={}",
                files.flag("sa.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={}", files.flag("tokens.csv")),
        ];
        if self.inner.options.node {
            // Of a flag that is given twice the last one counts; lists grow.
            arguments.extend(node::api_server_arguments(files)?);
        }
        arguments.extend(self.inner.options.api_server_flags.iter().cloned());
        Ok(arguments)
    }

    fn controller_manager_arguments(&self, controllers: &str) -> Vec<String> {
        let files = &self.inner.files;
        vec![
            format!(
                "--kubeconfig={}",
                files.flag("controller-manager.kubeconfig")
            ),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                files.flag("sa.key")
            ),
            format!("--root-ca-file={}", files.flag("ca.crt")),
            // It serves nothing, so it needs no port.
            "--secure-port=0".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            format!("--controllers={controllers}"),
        ]
    }

    /// Starts one server unless it runs; waits for the API server until it is ready.
    pub fn start_server(&self, server: Server) -> Result<(), Failure> {
        self.with(server, |process, reaper| process.start(reaper))?;
        match server {
            Server::ApiServer => {
                self.until("the API server is ready", &["get", "--raw", "/readyz"])
            }
            // The others wait for what they need by themselves.
            _ => Ok(()),
        }
    }

    /// Stops one server as an administrator would (SIGTERM), and waits until its port is free.
    pub fn stop_server(&self, server: Server) -> Result<(), Failure> {
        let patience = self.inner.options.patience;
        self.with(server, |process, reaper| process.stop(reaper, patience))
    }

    /// Kills one server (SIGKILL), and waits until it is gone.
    pub fn kill_server(&self, server: Server) -> Result<(), Failure> {
        self.with(server, Process::kill)
    }

    /// Freezes one server: its connections stay open and nothing answers.
    pub fn pause_server(&self, server: Server) -> Result<(), Failure> {
        self.with(server, |process, _| process.signal(Signal::STOP))
    }

    /// Lets a frozen server go on.
    pub fn resume_server(&self, server: Server) -> Result<(), Failure> {
        self.with(server, |process, _| process.signal(Signal::CONT))
    }

    /// What etcd holds now, as a backup would keep it. The servers are stopped for it, and started again.
    pub fn copy_etcd(&self) -> Result<EtcdCopy, Failure> {
        let name = format!(
            "etcd-copy-{}",
            self.inner.numbers.fetch_add(1, Ordering::Relaxed)
        );
        let copy = EtcdCopy {
            folder: self.inner.files.path(&name),
        };
        self.with_etcd_down(|| copy_folder(&self.etcd_folder(), &copy.folder))?;
        Ok(copy)
    }

    /// Puts an old etcd back: what happened since is forgotten, and resource versions go back.
    pub fn restore_etcd(&self, copy: &EtcdCopy) -> Result<(), Failure> {
        self.with_etcd_down(|| {
            std::fs::remove_dir_all(self.etcd_folder())?;
            copy_folder(&copy.folder, &self.etcd_folder())
        })
    }

    fn with_etcd_down(&self, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        self.kill_server(Server::ApiServer)?;
        self.stop_server(Server::Etcd)?;
        work()?;
        self.start_server(Server::Etcd)?;
        self.start_server(Server::ApiServer)
    }

    /// Applies the CRDs in a folder and waits until they are served.
    pub fn apply_crds(&self, folder: &Path) -> Result<(), Failure> {
        let from = folder.display().to_string();
        self.must(&["apply", "--server-side", "-f", &from])?;
        // kubectl fails at one that has no condition yet.
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &from,
        ];
        self.until("the definitions are served", &wait)
    }

    /// Makes a namespace that no other test uses, and returns its name. `purpose` is a few letters.
    pub async fn namespace(&self, purpose: &str) -> String {
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{number}");
        self.kubectl(&["create", "namespace", &name], "").await.ok();
        name
    }

    /// Runs the real kubectl as the administrator; `stdin` is what `-f -` reads. `--as` makes it anybody.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Output {
        let (inner, stdin) = (self.inner.clone(), stdin.to_owned());
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let ran = tokio::task::spawn_blocking(move || inner.kubectl(&arguments, &stdin)).await;
        ran.expect("running kubectl does not panic")
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The same for code that blocks.
    pub fn kubectl_blocking(&self, arguments: &[&str], stdin: &str) -> Result<Output, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        self.inner.kubectl(&arguments, stdin)
    }

    /// Where the API server listens, for those who speak HTTP themselves.
    pub fn port(&self) -> u16 {
        self.inner.api.number
    }

    /// The throw-away folder; it holds the servers' logs.
    pub fn folder(&self) -> &Path {
        &self.inner.files.folder
    }

    /// The last lines of each server's log.
    pub fn logs(&self) -> String {
        let running = self.running();
        running
            .processes
            .iter()
            .map(Process::tail)
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn files(&self) -> &Files {
        &self.inner.files
    }

    fn etcd_folder(&self) -> PathBuf {
        self.inner.files.path("etcd")
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.inner.running()
    }

    fn with<T>(
        &self,
        server: Server,
        work: impl FnOnce(&mut Process, &mut Reaper) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut running = self.running();
        let Running {
            processes, reaper, ..
        } = &mut *running;
        let process = processes.iter_mut().find(|p| p.server == server);
        let process =
            process.ok_or_else(|| Failure(format!("this plane has no {}", server.program())))?;
        work(process, reaper)
    }

    fn must(&self, arguments: &[&str]) -> Result<(), Failure> {
        let output = self.kubectl_blocking(arguments, "")?;
        match output.success {
            true => Ok(()),
            false => Err(Failure(format!(
                "{}: {}",
                output.command,
                output.stderr.trim()
            ))),
        }
    }

    /// Runs a kubectl command until it succeeds; gives up early when a server has ended.
    pub(crate) fn until(&self, what: &str, arguments: &[&str]) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let output = self.kubectl_blocking(arguments, "")?;
            if output.success {
                return Ok(());
            }
            let dead = self.dead()?;
            if dead.is_some() || began.elapsed() > self.inner.options.patience {
                let why = dead.unwrap_or_else(|| format!("last answer: {}", output.stderr.trim()));
                return Err(Failure(format!("not so: {what}; {why}\n{}", self.logs())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn dead(&self) -> Result<Option<String>, Failure> {
        for process in &mut self.running().processes {
            if let Some(status) = process.ended()? {
                return Ok(Some(format!(
                    "{} ended by itself ({status})",
                    process.server.program()
                )));
            }
        }
        Ok(None)
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, Running> {
        // A test that panicked while it held the lock leaves whole processes behind all the same.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kubectl(&self, arguments: &[String], stdin: &str) -> Result<Output, Failure> {
        kubectl::run(
            &self.files.path("admin.kubeconfig"),
            &self.files.path("kubectl-cache"),
            arguments,
            stdin,
        )
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut running = self.running();
        let Running {
            processes, reaper, ..
        } = &mut *running;
        for process in processes.iter_mut().rev() {
            // What could not be killed here the reaper kills.
            let _ = process.kill(reaper);
        }
        reaper.finish();
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(failed(source.display()))?;
        }
    }
    Ok(())
}
