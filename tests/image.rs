//! The image as `hack/image.sh` packs it (here with this build's own executable): the same bytes twice, an archive whose digests are right,
//! and a root folder in which the executable runs with nothing else, as the pod's user.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, USER};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use testplane::{Options, borrow, eventually, project_dir};

/// When everything in it was made, it says.
const EPOCH: &str = "1700000000";

fn packed(out: &Path) -> PathBuf {
    let ran = Command::new(project_dir().join("hack/image.sh"))
        .args([
            "--executable",
            env!("CARGO_BIN_EXE_managed-hsm-operator"),
            "--out",
        ])
        .arg(out)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .output()
        .expect("the script runs");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    out.to_owned()
}

fn unpacked(archive: &Path, into: &Path) {
    fs::create_dir_all(into).expect("a folder");
    let ran = Command::new("tar")
        .arg("-xpf")
        .arg(archive)
        .arg("-C")
        .arg(into)
        .status();
    assert!(ran.expect("tar runs").success());
}

struct Image {
    folder: tempfile::TempDir,
    archive: PathBuf,
    config: Value,
}

impl Image {
    /// Packs it, and follows the digests from the index to the layer.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = packed(&folder.path().join("image.tar"));
        let layout = folder.path().join("layout");
        unpacked(&archive, &layout);
        let index: Value = json(&fs::read(layout.join("index.json")).expect("an index"));
        let manifest: Value = json(&blob(&layout, &index["manifests"][0]));
        let config: Value = json(&blob(&layout, &manifest["config"]));
        let layer = blob(&layout, &manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
        // A kubelet asks containerd for it by its whole name.
        let named = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(*named, format!("docker.io/library/{NAME}:{version}"));
        // What `docker load` reads says the same.
        let docker: Value = json(&fs::read(layout.join("manifest.json")).expect("a manifest"));
        let path = |of: &Value| {
            of["digest"]
                .as_str()
                .expect("a digest")
                .replace("sha256:", "blobs/sha256/")
        };
        assert_eq!(docker[0]["Config"], path(&manifest["config"]));
        assert_eq!(docker[0]["Layers"][0], path(&manifest["layers"][0]));
        let tar = folder.path().join("layer.tar");
        fs::write(&tar, layer).expect("written");
        unpacked(&tar, &folder.path().join("root"));
        Self {
            folder,
            archive,
            config,
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The executable with the image's root as its own. None: nobody lets us do that here.
    fn inside(&self, arguments: &[&str]) -> Option<Command> {
        let user = format!("--userspec={USER}:{USER}");
        let ways: [&[&str]; 2] = [
            &["chroot", &user],
            &["unshare", "--map-root-user", "chroot"],
        ];
        let command = |way: &[&str], arguments: &[&str]| {
            let mut command = Command::new(way[0]);
            let entrypoint = self.config["config"]["Entrypoint"][0]
                .as_str()
                .expect("a path");
            command
                .args(&way[1..])
                .arg(self.root())
                .arg(entrypoint)
                .args(arguments)
                .env_clear();
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command
        };
        let works = |way: &&[&str]| {
            command(way, &["--version"])
                .output()
                .is_ok_and(|ran| ran.status.success())
        };
        let empty = |way: &[&str]| {
            Command::new(way[0])
                .args(&way[1..])
                .arg("/")
                .arg("true")
                .status()
                .is_ok_and(|ended| ended.success())
        };
        let way = ways.into_iter().find(|way| empty(way))?;
        assert!(
            works(&way),
            "the root folder lacks something: {:?}",
            command(way, &["--version"]).output()
        );
        Some(command(way, arguments))
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// What a descriptor names, if it is of that size and digest.
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let named = descriptor["digest"].as_str().expect("a digest");
    let path = layout.join("blobs").join(named.replace(':', "/"));
    let bytes = fs::read(path).expect("the blob is there");
    assert_eq!(
        (digest(&bytes).as_str(), Some(bytes.len() as u64)),
        (named, descriptor["size"].as_u64())
    );
    bytes
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_same_executable_gives_the_same_bytes_and_only_what_it_needs() {
    let image = Image::new();
    let again = packed(&image.folder.path().join("again.tar"));
    assert!(
        fs::read(&image.archive).expect("read") == fs::read(&again).expect("read"),
        "other bytes"
    );
    let list = |archive: &Path| fs::read_to_string(archive.with_extension("cdx.json"));
    assert_eq!(list(&image.archive).expect("it"), list(&again).expect("it"));

    assert_eq!(image.config["config"]["User"], format!("{USER}:{USER}"));
    assert_eq!(image.config["config"]["Cmd"], serde_json::json!(["run"]));
    assert_eq!(image.config["created"], "2023-11-14T22:13:20Z");
    let mut files = Vec::new();
    list_files(&image.root(), &image.root(), &mut files);
    let (libraries, others): (Vec<_>, Vec<_>) = files
        .iter()
        .map(String::as_str)
        .partition(|path| path.contains(".so"));
    let license = format!("usr/share/doc/{NAME}/LICENSE");
    let executable = format!("usr/bin/{NAME}");
    assert_eq!(others, ["etc/group", "etc/passwd", &executable, &license]);
    assert!((3..10).contains(&libraries.len()), "{libraries:?}");
    // The Dockerfile is the same image.
    let dockerfile = fs::read_to_string(project_dir().join("Dockerfile")).expect("read");
    let entrypoint = image.config["config"]["Entrypoint"].to_string();
    for line in [
        "RUN hack/image.sh --rootfs /rootfs",
        "COPY --from=build /rootfs /",
        &format!("USER {USER}:{USER}"),
        &format!("ENTRYPOINT {entrypoint}"),
        "CMD [\"run\"]",
    ] {
        assert!(dockerfile.lines().any(|it| it == line), "{line}");
    }
}

/// By purl's kind: cargo's crates, the distribution's packages, others.
fn named<'a>(all: &'a [Value], kind: &str) -> BTreeMap<&'a str, &'a Value> {
    let prefix = format!("pkg:{kind}/");
    let its = all.iter().filter(|it| {
        let purl = it["purl"].as_str();
        purl.is_some_and(|purl| purl.starts_with(&prefix))
    });
    its.map(|it| (it["name"].as_str().expect("a name"), it))
        .collect()
}

#[test]
fn beside_it_stands_what_is_in_it_crates_libraries_and_each_file() {
    let image = Image::new();
    let list: Value =
        json(&fs::read(image.archive.with_extension("cdx.json")).expect("it is there"));
    assert_eq!(list["specVersion"], "1.6");
    let hash = |it: &Value| it["hashes"][0]["content"].clone();
    let archive = digest(&fs::read(&image.archive).expect("read"));
    let of = &list["metadata"]["component"];
    assert_eq!(of["name"], NAME);
    assert_eq!(hash(of), archive.trim_start_matches("sha256:"));

    let all = list["components"].as_array().expect("components");
    let crates = named(all, "cargo");
    for linked in ["kube", "kryoptic-lib", "cryptoki", "openssl-sys", "ring"] {
        assert!(crates.contains_key(linked), "{linked}");
    }
    // What only tests, build scripts and macros have is not in the image.
    for other in ["testplane", "proptest", "insta", "bindgen", "cc", "syn"] {
        assert!(!crates.contains_key(other), "{other}");
    }
    let lock = fs::read_to_string(project_dir().join("Cargo.lock")).expect("read");
    for (name, found) in crates.iter().filter(|(name, _)| **name != NAME) {
        let [version, checksum] = [&found["version"], &hash(found)]
            .map(|value| value.as_str().expect("it is there").to_owned());
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let entry = lock.split("[[package]]\n").find(|it| {
            it.starts_with(&entry) && it.contains(&format!("checksum = \"{checksum}\""))
        });
        assert!(entry.is_some(), "{name} {version} {checksum}");
        assert!(found["licenses"][0]["expression"].is_string(), "{found}");
    }
    let sqlite = named(all, "generic")["sqlite"]["version"].clone();
    let linked = rusqlite::version();
    assert_eq!(sqlite, linked, "the one that is linked");
    if Path::new("/var/lib/dpkg/status").exists() {
        let packages = named(all, "deb");
        assert!(packages.contains_key("libc6"), "{packages:?}");
        assert!(packages.keys().any(|name| name.starts_with("libssl")));
    }

    let mut files = Vec::new();
    list_files(&image.root(), &image.root(), &mut files);
    let shown = all.iter().filter(|it| it["type"] == "file");
    let shown: BTreeMap<_, _> = shown
        .map(|it| (it["name"].as_str().expect("a path"), hash(it)))
        .collect();
    assert_eq!(shown.len(), files.len());
    for file in files {
        let sum = digest(&fs::read(image.root().join(&file)).expect("read"));
        let path = format!("/{file}");
        assert_eq!(shown[&*path], sum.trim_start_matches("sha256:"), "{path}");
    }
}

fn list_files(folder: &Path, root: &Path, into: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list_files(&path, root, into);
        } else {
            into.push(
                path.strip_prefix(root)
                    .expect("inside")
                    .display()
                    .to_string(),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executable_comes_up_with_nothing_but_the_image_around_it() {
    let image = Image::new();
    let Some(mut help) = image.inside(&["--help"]) else {
        eprintln!(
            "skipped: neither chroot nor unshare is allowed here, so the image's root folder cannot be entered; run this as root"
        );
        return;
    };
    let said = help.output().expect("it runs");
    assert!(
        said.status.success() && text(&said).contains("Run the operator until it is told to stop"),
        "{}",
        text(&said)
    );

    let plane = borrow(Options::default()).await;
    // Beside what a pod has mounted there: its store, and the account's files.
    let (store, mounted) = (
        image.root().join("var/lib").join(NAME),
        image.root().join("tmp"),
    );
    fs::copy(plane.folder().join("ca.crt"), mounted.join("ca.crt")).expect("copied");
    let mut kubeconfig: Value = json(&fs::read(plane.kubeconfig()).expect("read"));
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = "/tmp/ca.crt".into();
    fs::write(mounted.join("kubeconfig"), kubeconfig.to_string()).expect("written");
    for path in [mounted.join("kubeconfig"), mounted.join("ca.crt"), store] {
        // Where we are not root we are its root in there.
        _ = std::os::unix::fs::chown(path, Some(USER as u32), Some(USER as u32));
    }
    let arguments = [
        "run",
        "--metrics-addr",
        "127.0.0.1:0",
        "--pin-secret",
        "pins",
    ];
    let mut running = image.inside(&arguments).expect("it may");
    let log = fs::File::create(image.folder.path().join("log")).expect("a log");
    running
        .env("KUBECONFIG", "/tmp/kubeconfig")
        .stdout(Stdio::null())
        .stderr(log);
    let mut process = Killed(running.spawn().expect("it starts"));
    let said = || fs::read_to_string(image.folder.path().join("log")).expect("a log");
    eventually("it works", Duration::from_secs(60), async || {
        let ended = process.0.try_wait().expect("its status");
        assert!(ended.is_none(), "{ended:?}: {}", said());
        if said().contains("the caches are filled: working") {
            Ok(())
        } else {
            Err(said())
        }
    })
    .await;
    let hsm = r#"{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "ManagedHsm", "metadata": {"name": "safe", "namespace": "default"}, "spec": {}}
---
{"apiVersion": "managedhsm.dev/v1alpha1", "kind": "HsmKey", "metadata": {"name": "signing", "namespace": "default"}, "spec": {"hsm": "safe", "keyType": "RSA", "keySize": 2048}}"#;
    plane.kubectl(&["apply", "-f", "-"], hsm).await.ok();
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "hsmkey/signing",
        "-n",
        "default",
    ];
    plane.kubectl(&wait, "").await.ok();
    // As `kubectl exec` would ask it.
    let mut ask = image.inside(&["ledger", "list"]).expect("it may");
    let said = ask.output().expect("it runs");
    assert!(
        said.status.success() && text(&said).contains("signing"),
        "{}",
        text(&said)
    );
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
