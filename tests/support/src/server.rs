//! One server process: started, stopped, killed, paused, with its log in a file.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::reaper::Reaper;
use crate::{Failure, binaries, failed};

/// The servers of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Etcd,
    ApiServer,
    ControllerManager,
    // Of a node.
    Containerd,
    Scheduler,
    Kubelet,
    KubeProxy,
    // What applies what Git holds: Flux's controllers, and Argo CD's.
    SourceController,
    KustomizeController,
    HelmController,
    Redis,
    RepoServer,
    ApplicationController,
    ArgocdServer,
}

impl Server {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Containerd => "containerd",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::SourceController => "source-controller",
            Self::KustomizeController => "kustomize-controller",
            Self::HelmController => "helm-controller",
            Self::Redis => "redis-server",
            Self::RepoServer => "argocd-repo-server",
            Self::ApplicationController => "argocd-application-controller",
            Self::ArgocdServer => "argocd-server",
        }
    }

    /// Where its program is; built first where it is missing.
    pub(crate) fn path(self) -> Result<PathBuf, Failure> {
        let folder = match self {
            Self::Etcd | Self::ApiServer | Self::ControllerManager => {
                binaries::control_plane()?.to_path_buf()
            }
            Self::Containerd => binaries::tools("containerd")?,
            Self::Scheduler | Self::Kubelet | Self::KubeProxy => binaries::tools("node")?,
            Self::SourceController | Self::KustomizeController | Self::HelmController => {
                binaries::tools(self.program())?
            }
            // The machine's own.
            Self::Redis => PathBuf::new(),
            // One program, which is told by its environment what to be.
            Self::RepoServer | Self::ApplicationController | Self::ArgocdServer => {
                return Ok(binaries::tools("argocd")?.join("argocd"));
            }
        };
        Ok(folder.join(self.program()))
    }
}

/// How a server is run, and its process while it runs.
pub(crate) struct Process {
    pub server: Server,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, OsString)>,
    pub log: PathBuf,
    pub child: Option<Child>,
}

impl Process {
    /// Starts it unless it runs.
    pub fn start(&mut self, reaper: &mut Reaper) -> Result<(), Failure> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            // A quarter less of the processor for a third more memory: a plane lives for seconds.
            .env("GOGC", "300")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(failed(format!("starting {}", self.program.display())))?;
        reaper.started(child.id())?;
        self.child = Some(child);
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        let pid = Pid::from_child(child);
        kill_process(pid, signal).map_err(failed(format!("signalling {}", self.server.program())))
    }

    /// Asks it to go, and waits until it is gone and its port free; kills it after `patience`.
    pub fn stop(&mut self, reaper: &mut Reaper, patience: Duration) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        let began = Instant::now();
        while self.ended()?.is_none() && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill(reaper)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self, reaper: &mut Reaper) -> Result<(), Failure> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        reaper.ended(child.id())
    }

    /// How it ended, if it did by itself; also when it was never started.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// The last lines that it logged.
    pub fn tail(&self) -> String {
        const LINES: usize = 15;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!("--- {} said last:\n{last}", self.server.program())
    }
}
