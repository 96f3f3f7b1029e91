//! Ends the servers and removes their folder when this process is gone, however it went.
//!
//! A shell waits on a pipe that only this process writes to. The kernel closes it when the process ends, also by
//! SIGKILL; the shell then kills what it was told of. (A parent-death signal would follow the *thread* that
//! started a server, and a test's thread ends before its binary does.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::{Failure, failed};

const SCRIPT: &str = r#"
trap "" HUP INT TERM
pids=
while read -r what pid; do
  case $what in
    started) pids="$pids $pid" ;;
    ended) left=; for p in $pids; do [ "$p" = "$pid" ] || left="$left $p"; done; pids=$left ;;
  esac
done
[ -z "$pids" ] || kill -9 $pids 2>/dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" 2>/dev/null
  [ -e "$1" ] || break
  sleep 0.1
done
"#;

pub(crate) struct Reaper {
    shell: Child,
    /// Taken only by `finish`.
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Watches over `folder`, which it removes in the end.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "plane-reaper"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's foreground group: Ctrl-C is for the others.
            .process_group(0)
            .spawn()
            .map_err(failed("starting the reaper's shell"))?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    pub fn started(&mut self, pid: u32) -> Result<(), Failure> {
        self.tell("started", pid)
    }

    pub fn ended(&mut self, pid: u32) -> Result<(), Failure> {
        self.tell("ended", pid)
    }

    fn tell(&mut self, what: &str, pid: u32) -> Result<(), Failure> {
        let Some(pipe) = self.pipe.as_mut() else {
            return Ok(());
        };
        writeln!(pipe, "{what} {pid}").map_err(failed("telling the reaper"))
    }

    /// Has the folder removed now, and waits for it.
    pub fn finish(&mut self) {
        drop(self.pipe.take());
        // Nothing can be done about a failed wait: the shell is gone then.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait::eventually_blocking;

    #[test]
    fn what_was_started_dies_and_the_folder_goes_when_the_pipe_closes() {
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::write(folder.join("state"), "x").unwrap();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut reaper = Reaper::start(&folder).unwrap();
        reaper.started(sleeper.id()).unwrap();
        // What the kernel does when a process is killed.
        drop(reaper.pipe.take());
        eventually_blocking("the sleeper is killed", Duration::from_secs(10), || {
            sleeper
                .try_wait()
                .map_err(|e| e.to_string())?
                .ok_or_else(|| "still running".to_owned())
        });
        reaper.finish();
        assert!(!folder.exists());
    }

    #[test]
    fn what_ended_before_is_left_alone() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut reaper = Reaper::start(&folder).unwrap();
        reaper.started(sleeper.id()).unwrap();
        reaper.ended(sleeper.id()).unwrap();
        reaper.finish();
        assert_eq!(sleeper.try_wait().unwrap(), None);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
