//! A throw-away control plane to play with, or to run one command in.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use testplane::{Failure, Options, Plane, kubectl_path, project_dir};

const USAGE: &str = "\
Starts a real etcd, kube-apiserver and kube-controller-manager on loopback, with the project's CRDs in
them, and ends them with itself. Nothing is kept.

  cargo run --example plane                     prints how to reach it, until Ctrl-C (with the operator in it: make play)
  cargo run --example plane -- run -- CMD ...   runs CMD with KUBECONFIG set and kubectl in PATH,
                                                and exits with CMD's code";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [] => playground(),
        [run, dashes, command, rest @ ..] if run == "run" && dashes == "--" => {
            in_plane(command, rest)
        }
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::FAILURE
    })
}

fn start() -> Result<Plane, Failure> {
    let has_crds = project_dir().join("crds").is_dir();
    Plane::start(Options {
        crds: has_crds,
        ..Options::default()
    })
}

/// PATH with the real kubectl in front.
fn path_with(kubectl: &Path) -> OsString {
    let mut path = kubectl.parent().map(OsString::from).unwrap_or_default();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn in_plane(command: &OsString, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let plane = start()?;
    let status = Command::new(command)
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("KUBECACHEDIR", plane.folder().join("kubectl-cache"))
        .env("PATH", path_with(&kubectl_path()?))
        .status()
        .map_err(|error| Failure(format!("running {}: {error}", command.display())))?;
    // A signal has no exit code; 1 then says that it did not end well.
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn playground() -> Result<ExitCode, Failure> {
    println!("Starting a control plane (about five seconds) ...");
    let plane = start()?;
    println!("Ready until Ctrl-C. In another terminal:\n");
    println!("  export KUBECONFIG={}", plane.kubeconfig().display());
    println!("  alias kubectl={}\n", kubectl_path()?.display());
    println!("The servers' logs: {}", plane.folder().display());
    std::io::stdout().flush()?;
    // Ctrl-C ends this process as it is; the harness's reaper ends the servers and removes the folder.
    loop {
        std::thread::park();
    }
}
