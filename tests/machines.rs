//! What `make` says where something is missing: hack/env.sh and controlplane/build.sh among tools that only pretend, on each kind of machine.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What the scripts use of every machine.
const USUAL: &[&str] = &[
    "awk",
    "bash",
    "cat",
    "cut",
    "df",
    "dirname",
    "find",
    "grep",
    "head",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "nice",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "tail",
    "touch",
    "tr",
    "uname",
];

const DEBIAN_12: &str = "ID=debian\nVERSION_ID=\"12\"\n";
const DEBIAN_13: &str = "ID=debian\nVERSION_ID=\"13\"\n";
const UBUNTU_24: &str = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n";
const FEDORA: &str = "ID=fedora\nVERSION_ID=43\n";
const MACOS: &str = "";
const ANOTHER: &str = "ID=alpine\n";

/// A machine with all that is needed, as far as a script can tell.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(os_release: &str) -> Self {
        let machine = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for folder in ["bin", "cache", "assets"] {
            std::fs::create_dir(machine.path(folder)).expect("a folder");
        }
        for tool in USUAL {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            // What this machine lacks the scripts do without.
            if let Some(found) = found.iter().find(|path| path.exists()) {
                symlink(found, machine.path("bin").join(tool)).expect("a link");
            }
        }
        for tool in ["cargo", "pkg-config", "python3"] {
            machine.tool(tool, "exit 0");
        }
        machine.tool("cc", "cat >/dev/null");
        machine.tool("go", "echo go version go1.24.4 linux/arm64");
        std::fs::write(machine.path("os-release"), os_release).expect("written");
        if os_release == MACOS {
            machine.lacks("uname").tool("uname", "echo Darwin");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tool(&self, name: &str, script: &str) {
        self.program(&self.path("bin").join(name), script);
    }

    fn program(&self, path: &Path, script: &str) {
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
            .expect("made executable");
    }

    fn lacks(&self, tool: &str) -> &Self {
        std::fs::remove_file(self.path("bin").join(tool)).expect("it was there");
        self
    }

    fn run(&self, script: &str, more: &[(&str, &Path)]) -> Output {
        Command::new(self.path("bin").join("bash"))
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.folder.path())
            .env("MHSM_CACHE", self.path("cache"))
            .env("MHSM_OS_RELEASE", self.path("os-release"))
            .env("LIBCLANG_PATH", self.folder.path())
            .env("CARGO_TARGET_DIR", self.path("target"))
            .envs(more.iter().copied())
            .output()
            .expect("bash runs")
    }

    /// What is said of what is missing, where something is.
    fn misses(&self) -> String {
        let output = self.run(". hack/env.sh", &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }

    /// Where controlplane/build.sh puts what it builds.
    fn built(&self) -> PathBuf {
        self.run("controlplane/build.sh", &[]);
        let mut all = std::fs::read_dir(self.path("cache"))
            .expect("readable")
            .map(|entry| entry.expect("readable").path());
        all.find(|path| path.is_dir()).expect("it made its folder")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn what_is_missing_is_named_with_the_command_of_each_system() {
    for (os, tool, command) in [
        (
            DEBIAN_12,
            "cargo",
            "  Rust, by the way that https://rustup.rs shows\n",
        ),
        (DEBIAN_13, "cargo", "  sudo apt-get install rustup\n"),
        (
            FEDORA,
            "cargo",
            "  sudo dnf install rustup\n  rustup-init -y\n",
        ),
        (MACOS, "cargo", "  brew install rustup\n"),
        (
            DEBIAN_12,
            "go",
            "  Go 1.21 or later, from https://go.dev/dl\n",
        ),
        (UBUNTU_24, "go", "  sudo apt-get install golang-go\n"),
        (FEDORA, "go", "  sudo dnf install golang\n"),
        (MACOS, "go", "  brew install go\n"),
        (
            DEBIAN_12,
            "cc",
            "  sudo apt-get install build-essential libssl-dev\n",
        ),
        (FEDORA, "cc", "  sudo dnf install gcc openssl-devel\n"),
        (
            MACOS,
            "cc",
            "  brew install openssl@3\n  xcode-select --install\n",
        ),
        (
            UBUNTU_24,
            "pkg-config",
            "  sudo apt-get install pkg-config\n",
        ),
        (
            FEDORA,
            "pkg-config",
            "  sudo dnf install pkgconf-pkg-config\n",
        ),
        (MACOS, "pkg-config", "  brew install pkgconf\n"),
        (
            ANOTHER,
            "pkg-config",
            "  the package that Debian calls pkg-config\n",
        ),
    ] {
        let machine = Machine::new(os);
        let said = machine.lacks(tool).misses();
        assert!(said.starts_with("Missing on this machine:\n"), "{said}");
        assert!(
            said.ends_with(&format!("unasked):\n{command}")),
            "{os}{tool}: {said}"
        );
    }
}

#[test]
fn all_that_is_missing_is_said_at_once_in_one_command() {
    let machine = Machine::new(DEBIAN_13);
    for tool in ["cargo", "go", "cc", "pkg-config"] {
        machine.lacks(tool);
    }
    let said = machine.misses();
    assert_eq!(said.matches("\n  - ").count(), 5, "{said}");
    assert!(
        said.ends_with(
            "  sudo apt-get install rustup golang-go build-essential pkg-config libssl-dev\n"
        ),
        "{said}"
    );
}

#[test]
fn headers_of_an_old_openssl_are_told_from_none() {
    let machine = Machine::new("ID=ubuntu\nVERSION_ID=\"22.04\"\n");
    machine.tool("cc", r#"case $(cat) in *error*) exit 1 ;; esac"#);
    let said = machine.misses();
    assert!(
        said.contains("those that are here are older") && !said.contains("libssl-dev"),
        "{said}"
    );
    machine.tool("cc", "cat >/dev/null; exit 1");
    assert!(
        machine
            .misses()
            .contains("  sudo apt-get install libssl-dev\n")
    );
}

#[test]
fn a_go_that_cannot_fetch_the_right_one_counts_as_missing() {
    let machine = Machine::new(FEDORA);
    machine.tool("go", "echo go version go1.19.8 linux/amd64");
    assert!(machine.misses().contains("sudo dnf install golang"));
}

#[test]
fn where_all_is_there_nothing_is_missing_and_nothing_is_installed() {
    for os in [DEBIAN_12, UBUNTU_24, FEDORA, MACOS, ANOTHER] {
        let machine = Machine::new(os);
        for installer in ["apt-get", "dnf", "brew", "sudo"] {
            machine.tool(installer, "echo installed >&2; exit 1");
        }
        let output = machine.run(". hack/env.sh; echo fine", &[]);
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout), "fine\n", "{said}");
        assert!(
            !said.contains("Missing") && !said.contains("installed\n"),
            "{os}: {said}"
        );
    }
}

#[test]
fn only_in_ci_and_only_as_root_is_anything_installed() {
    for (ci, user, installs) in [
        ("true", "0", true),
        ("true", "1000", false),
        ("", "0", false),
    ] {
        let machine = Machine::new(DEBIAN_13);
        machine
            .lacks("pkg-config")
            .lacks("id")
            .tool("id", &format!("echo {user}"));
        let made = machine.path("bin").join("pkg-config").display().to_string();
        machine.tool(
            "apt-get",
            // As good a pretence as any.
            &format!("case $* in *' pkg-config'*) ln -s cargo '{made}' ;; esac"),
        );
        let output = machine.run(". hack/env.sh", &[("CI", Path::new(ci))]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(!installs)), "{said}");
        assert_eq!(said.contains("installing pkg-config"), installs, "{said}");
        assert_eq!(Path::new(&made).exists(), installs);
        let asked = said.contains("  sudo apt-get install pkg-config\n");
        assert_eq!(asked, !installs, "{said}");
    }
}

#[test]
fn without_go_a_control_plane_that_is_built_already_will_do() {
    let machine = Machine::new(DEBIAN_13);
    machine.lacks("go");
    let built = machine.built();
    for part in [
        "etcd",
        "kubectl",
        "kube-apiserver",
        "kube-controller-manager",
    ] {
        machine.program(&built.join(part), "exit 0");
    }
    let output = machine.run(". hack/env.sh", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// As setup-envtest fetches them.
fn assets(machine: &Machine, kubernetes: &str) -> PathBuf {
    let folder = machine.path("assets");
    machine.program(&folder.join("etcd"), "echo etcd Version: 3.6.8");
    machine.program(
        &folder.join("kube-apiserver"),
        &format!("echo Kubernetes v{kubernetes}"),
    );
    machine.program(
        &folder.join("kubectl"),
        &format!("echo Client Version: v{kubernetes}"),
    );
    folder
}

#[test]
fn of_kubebuilder_assets_what_will_do_is_used_and_only_the_rest_is_built() {
    let machine = Machine::new(DEBIAN_13);
    let built = machine.built();
    machine.program(&built.join("kube-controller-manager"), "exit 0");
    let folder = assets(&machine, "1.36.0");
    let with = [("KUBEBUILDER_ASSETS", folder.as_path())];
    // What is named here would have to be built.
    std::fs::remove_file(built.join("kube-controller-manager")).expect("it was there");
    let missing = machine.run("controlplane/build.sh missing", &with);
    assert_eq!(text(&missing.stdout), "kube-controller-manager\n");
    machine.program(&built.join("kube-controller-manager"), "exit 0");
    let output = machine.run("controlplane/build.sh", &with);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = PathBuf::from(text(&output.stdout).trim());
    for (part, from) in [
        ("etcd", &folder),
        ("kubectl", &folder),
        ("kube-apiserver", &folder),
        ("kube-controller-manager", &built),
    ] {
        assert_eq!(
            std::fs::read_link(shown.join(part)).expect("a link"),
            from.join(part)
        );
    }
    // Among what was built there is nothing of theirs.
    assert!(!built.join("etcd").exists());
}

#[test]
fn another_kubernetes_is_built_from_its_own_folder_and_an_unknown_one_is_refused() {
    let machine = Machine::new(DEBIAN_13);
    let usual = machine.built();
    machine.tool("go", "echo \"$@\" >>\"$HOME/asked\"; exit 1");
    let with = |version| [("KUBERNETES", Path::new(version))];
    for (version, stamp) in [("1.33", "gitVersion=v1.33."), ("1.37", "gitVersion=v1.37.")] {
        machine.run("controlplane/build.sh", &with(version));
        let asked = std::fs::read_to_string(machine.path("asked")).expect("it was asked");
        let last = asked.lines().last().unwrap_or_default();
        assert!(last.contains(stamp), "{last}");
        assert!(!last.contains(&usual.display().to_string()), "{last}");
    }
    let output = machine.run("controlplane/build.sh", &with("1.32"));
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains(
            "there is no control plane of Kubernetes 1.32 here: it is v1.36.3, or one of: 1.33 1.37"
        ),
        "{said}"
    );
}

#[test]
fn assets_of_another_release_are_named_and_left_alone() {
    let machine = Machine::new(DEBIAN_13);
    let folder = assets(&machine, "1.30.0");
    let with = [("KUBEBUILDER_ASSETS", folder.as_path())];
    let missing = text(&machine.run("controlplane/build.sh missing", &with).stdout);
    assert_eq!(
        missing,
        "kubectl\nkube-apiserver\nkube-controller-manager\n"
    );
    // It builds what it named: this go only pretends, and makes nothing.
    let said = text(&machine.run("controlplane/build.sh", &with).stderr);
    assert!(
        said.contains(
            "note: kubectl in KUBEBUILDER_ASSETS has the minor version 30, and 35 to 37 will do"
        ),
        "{said}"
    );
    assert!(
        said.contains("building kubectl (usually 60 s on two cores, once) ..."),
        "{said}"
    );
}

#[test]
fn without_flock_a_folder_is_the_lock_and_is_given_back() {
    let machine = Machine::new(MACOS);
    let built = machine.built();
    for part in [
        "etcd",
        "kubectl",
        "kube-apiserver",
        "kube-controller-manager",
    ] {
        machine.program(&built.join(part), "exit 0");
    }
    // What somebody left who was killed.
    std::fs::create_dir(built.join(".building")).expect("a folder");
    std::fs::write(built.join(".building/pid"), "999999999").expect("written");
    let output = machine.run("controlplane/build.sh", &[]);
    assert_eq!(text(&output.stdout).trim(), built.to_str().expect("UTF-8"));
    assert!(!built.join(".building").exists());
}
