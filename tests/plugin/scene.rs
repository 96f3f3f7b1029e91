//! `kubectl hsm`, run by the real kubectl, and a namespace with deleted things in it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kube::api::DynamicObject;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use testplane::{Borrowed, Options, Plane, borrow, kubectl_path};

use crate::operator::{Build, Operator};
use crate::user::{User, uid};

/// The exit codes, as the documentation has them.
pub const DONE: i32 = 0;
pub const REFUSED: i32 = 1;
pub const USAGE: i32 = 2;
pub const NOT_PERMITTED: i32 = 3;
pub const NOT_FOUND: i32 = 4;
pub const NO_CLUSTER: i32 = 5;
pub const NOT_ENDED: i32 = 6;

/// What the plugin printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub command: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// It ended with that code; answers all that it printed.
    #[track_caller]
    pub fn ended(self, code: i32) -> String {
        let Self { out, err, .. } = &self;
        assert_eq!(self.code, code, "{}:\n{err}{out}", self.command);
        format!("{err}{out}")
    }

    /// It ended with that code and one sentence with these words.
    #[track_caller]
    pub fn says(self, code: i32, words: &str) -> String {
        let command = self.command.clone();
        let all = self.ended(code);
        assert!(all.contains(words), "{command}: without {words:?}:\n{all}");
        all
    }

    /// What it printed as its result, where it went well.
    #[track_caller]
    pub fn result(self) -> String {
        assert_eq!(
            self.code, DONE,
            "{}:\n{}{}",
            self.command, self.err, self.out
        );
        self.out
    }
}

/// The plugin's folder before all others.
fn path() -> OsString {
    let own = Path::new(env!("CARGO_BIN_EXE_kubectl-hsm"));
    let folder = own.parent().expect("a folder").to_path_buf();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder).chain(std::env::split_paths(&rest));
    std::env::join_paths(all).expect("folders without a colon")
}

/// `kubectl hsm`, as whoever that kubeconfig is.
pub async fn hsm(kubeconfig: &Path, arguments: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(kubectl_path().expect("kubectl"));
    command
        .arg("hsm")
        .args(arguments)
        .env("PATH", path())
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.expect("kubectl starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        command: format!("kubectl hsm {}", arguments.join(" ")),
        code: output.status.code().expect("it was not killed"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The same at a terminal, where somebody types that once the name is asked for, and something else happens meanwhile. What it shows
/// comes with its colours.
pub async fn at_a_terminal(
    kubeconfig: &Path,
    arguments: &[&str],
    typed: &str,
    meanwhile: impl Future<Output = ()>,
) -> Ran {
    let command = format!("kubectl hsm {}", arguments.join(" "));
    let mut kubectl = Command::new(kubectl_path().expect("kubectl"));
    kubectl
        .arg("hsm")
        .args(arguments)
        .env("PATH", path())
        .env("KUBECONFIG", kubeconfig)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    let typed = typed.to_owned();
    let asks = !typed.is_empty();
    let start = move || {
        let mut ours = terminal(&mut kubectl);
        let child = kubectl.spawn().expect("kubectl starts");
        // The command holds their side open, and the end shows only once nobody does.
        drop(kubectl);
        let mut out = Vec::new();
        let asked = |out: &[u8]| String::from_utf8_lossy(out).contains("to have it destroyed: ");
        let mut letter = [0];
        while asks && !asked(&out) && ours.read(&mut letter).is_ok_and(|read| read > 0) {
            out.extend(letter);
        }
        (ours, child, out)
    };
    let (mut ours, mut child, mut out) = tokio::task::spawn_blocking(start).await.expect("it runs");
    meanwhile.await;
    let end = move || {
        ours.write_all(typed.as_bytes()).expect("typed");
        // A terminal that nobody has open any more ends with an error.
        _ = ours.read_to_end(&mut out);
        (child.wait().expect("its end"), out)
    };
    let (status, out) = tokio::task::spawn_blocking(end).await.expect("it ends");
    Ran {
        command,
        code: status.code().expect("it was not killed"),
        out: String::from_utf8_lossy(&out).into_owned(),
        err: String::new(),
    }
}

/// Gives the command a terminal, and answers the side where somebody sits.
fn terminal(kubectl: &mut Command) -> File {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours)
        .and_then(|()| unlockpt(&ours))
        .expect("it is ours");
    let theirs = ptsname(&ours, Vec::new()).expect("its name");
    let theirs = theirs.into_string().expect("UTF-8");
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .open(&theirs)
            .expect("it opens")
    };
    kubectl.stdin(open()).stdout(open()).stderr(open());
    File::from(ours)
}

/// A plane with an operator, and somebody's namespace on it.
pub struct Scene {
    pub user: User,
    pub operator: Operator,
    pub plane: Borrowed,
}

impl Scene {
    pub async fn new(purpose: &str) -> Self {
        Self::with(purpose, Options::without_controllers(), |_| {}).await
    }

    pub async fn with(purpose: &str, options: Options, set: impl FnOnce(&mut Build)) -> Self {
        let plane = borrow(options).await;
        let mut build = Build::new(&plane, MemoryBackend::default()).await;
        set(&mut build);
        let operator = build.start().await;
        let user = User::new(&plane.client().await, purpose).await;
        Self {
            user,
            operator,
            plane,
        }
    }

    pub fn namespace(&self) -> &str {
        &self.user.namespace
    }

    /// As the administrator, in the scene's namespace.
    pub async fn hsm(&self, arguments: &[&str]) -> Ran {
        let all = [arguments, &["-n", self.namespace()]].concat();
        hsm(&self.plane.kubeconfig(), &all).await
    }

    pub async fn made_hsm(&self, name: &str, protected: bool) -> DynamicObject {
        let spec = json!({"spec": {"retentionDays": 30, "purgeProtection": protected}});
        self.user
            .create(Watched::Object(Kind::Hsm), name, spec)
            .await;
        self.user.ready(Kind::Hsm, name).await
    }

    pub async fn made_key(&self, hsm: &str, name: &str) -> DynamicObject {
        let spec = json!({
            "metadata": {"labels": {"app": name}},
            "spec": {"hsm": hsm, "keyType": "EC", "curve": "P-256"},
        });
        let of = Watched::Object(Kind::Key);
        let mut object = DynamicObject::new(name, &of.resource());
        object.metadata.labels = Some([("app".to_owned(), name.to_owned())].into());
        object.data = json!({"spec": spec["spec"]});
        let made = self.user.api(of).create(&Default::default(), &object).await;
        made.expect("a key is taken");
        self.user.ready(Kind::Key, name).await
    }

    /// Deletes it, and answers its uid once it can be recovered.
    pub async fn delete(&self, kind: Kind, made: &DynamicObject) -> String {
        let (name, uid) = (made.metadata.name.clone().expect("a name"), uid(made));
        self.user.delete(Watched::Object(kind), &name).await;
        self.user.deleted(kind, &name, &uid).await;
        uid
    }
}

/// A kubeconfig of somebody who has these roles of `deploy/base/roles.yaml`, in the whole cluster.
pub async fn with_roles(plane: &Plane, user: &str, roles: &[&str]) -> PathBuf {
    for role in roles {
        let name = format!("{user}-{role}");
        let bind = [
            "create",
            "clusterrolebinding",
            &name,
            "--clusterrole",
            role,
            "--user",
            user,
        ];
        plane.kubectl(&bind, "").await.ok();
    }
    plane.kubeconfig_as(user, &[])
}

/// The project's roles.
pub async fn roles(plane: &Plane) {
    let file = testplane::project_dir().join("deploy/base/roles.yaml");
    let file = file.display().to_string();
    plane
        .kubectl(&["apply", "--server-side", "-f", &file], "")
        .await
        .ok();
}
