//! What a node could have changed of the machine.

use std::collections::BTreeSet;
use std::process::Command;

/// Of each kind what stands, a line each.
#[derive(Debug)]
pub struct Machine(Vec<(&'static str, BTreeSet<String>)>);

/// Settings that say what goes on, not how it should.
const MOVING: [&str; 4] = ["random", "ns_last_pid", "pty/nr", "conntrack_count"];

impl Machine {
    pub fn now() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let all = [
            ("mounts", mounts(&read("/proc/self/mountinfo"))),
            ("interfaces", said("ip", &["-oneline", "link"])),
            ("addresses", said("ip", &["-brief", "address"])),
            ("routes", said("ip", &["route", "show", "table", "all"])),
            ("firewall", said("nft", &["list", "ruleset"])),
            ("settings", settings()),
            ("name", read("/proc/sys/kernel/hostname")),
            ("resolver", read("/etc/resolv.conf")),
        ];
        Self(
            all.into_iter()
                .map(|(of, text)| (of, text.lines().map(str::to_owned).collect()))
                .collect(),
        )
    }

    #[track_caller]
    pub fn is_still(&self, now: &Self) {
        for ((of, before), (_, after)) in self.0.iter().zip(&now.0) {
            let lost: Vec<_> = before.difference(after).collect();
            let come: Vec<_> = after.difference(before).collect();
            assert!(
                lost.is_empty() && come.is_empty(),
                "of the machine's {of} a node took {lost:#?} and left {come:#?}"
            );
        }
    }
}

/// The cgroups of `hack/node.sh` as this process.
pub fn cgroups(process: u32) -> String {
    let path = format!("*/mhsm-node-{process}*");
    said("find", &["/sys/fs/cgroup", "-path", &path])
}

/// Without their numbers and peers.
fn mounts(all: &str) -> String {
    let lines = all.lines().map(|line| {
        let words: Vec<_> = line.split(' ').skip(3).collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn said(program: &str, arguments: &[&str]) -> String {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Those that kubelet, kube-proxy or containerd might write.
fn settings() -> String {
    let folders = ["/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/net"];
    let text = said("grep", &[&["-rs", ""], &folders[..]].concat());
    let still = text
        .lines()
        .filter(|line| !MOVING.iter().any(|word| line.contains(word)));
    still.collect::<Vec<_>>().join("\n")
}
