//! The real kubectl, run against a plane.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binaries::kubectl_path;
use crate::{Failure, failed};

/// What kubectl printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What it printed; panics with its complaint where it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.success,
            "{} failed:\n{}{}",
            self.command, self.stderr, self.stdout
        );
        self.stdout
    }

    /// What it complained of; panics where it succeeded.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(
            !self.success,
            "{} should have been refused, but printed:\n{}",
            self.command, self.stdout
        );
        self.stderr
    }
}

/// Runs kubectl to its end. `stdin` is what `-f -` reads.
pub(crate) fn run(
    kubeconfig: &Path,
    cache: &Path,
    arguments: &[String],
    stdin: &str,
) -> Result<Output, Failure> {
    let command = format!("kubectl {}", arguments.join(" "));
    let mut child = Command::new(kubectl_path()?)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        // Each plane is another cluster: what kubectl learned of one must not be believed of the next.
        .env("KUBECACHEDIR", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed(&command))?;
    let pipe = child.stdin.take();
    let text = stdin.to_owned();
    // Its own thread: kubectl may print more than a pipe holds before it has read everything.
    let feeder = std::thread::spawn(move || {
        // Commands that read nothing close the pipe early; that is no failure.
        pipe.map(|mut pipe| pipe.write_all(text.as_bytes()))
    });
    let output = child.wait_with_output().map_err(failed(&command))?;
    let _ = feeder.join();
    Ok(Output {
        command,
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
