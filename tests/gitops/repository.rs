//! A Git repository on loopback, served over HTTP by Git itself, and a clone of somebody who works in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use testplane::kubectl_path;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// Where everybody pulls from.
const BRANCH: &str = "main";

pub struct Repository {
    folder: tempfile::TempDir,
    address: String,
}

impl Repository {
    /// An empty one.
    pub async fn serve() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let served = Router::new()
            .fallback(answer)
            .with_state(folder.path().to_path_buf());
        tokio::spawn(async move { axum::serve(listener, served).await });
        let repository = Self { folder, address };
        let all = "git init -q --bare -b main ../tenants.git && git init -q -b main . && git remote add origin ../tenants.git
            git config user.name Somebody && git config user.email somebody@example.com
            git commit -q --allow-empty -m Begin && git push -q -u origin main";
        std::fs::create_dir(repository.clone_folder()).expect("a folder");
        assert!(repository.shell(all, None).status.success());
        repository
    }

    pub fn url(&self) -> String {
        format!("http://{}/tenants.git", self.address)
    }

    pub fn clone_folder(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// Writes files, by their paths, and pushes them.
    pub fn push(&self, message: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.clone_folder().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }
        let all = format!("git add -A && git commit -q -m '{message}' && git push -q");
        let ran = self.shell(&all, None);
        assert!(ran.status.success(), "{ran:?}");
    }

    /// The present commit's hash.
    pub fn head(&self) -> String {
        let ran = self.shell(&format!("git rev-parse {BRANCH}"), None);
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// Runs commands in the clone, with the real kubectl on the PATH, and its plugin.
    pub fn shell(&self, commands: &str, kubeconfig: Option<&Path>) -> Output {
        let kubectl = kubectl_path().expect("kubectl");
        let path = std::env::var("PATH").unwrap_or_default();
        let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-hsm"));
        let [kubectl, plugin] =
            [&kubectl, plugin].map(|it| it.parent().expect("a folder").display());
        let path = format!("{kubectl}:{plugin}:{path}");
        let nowhere = self.folder.path().join("nowhere");
        Command::new("bash")
            .args(["-eo", "pipefail", "-c", commands])
            .current_dir(self.clone_folder())
            .env("PATH", path)
            .env("KUBECONFIG", kubeconfig.unwrap_or(&nowhere))
            .env("KUBECACHEDIR", self.folder.path().join("kubectl"))
            // What whoever runs the tests has set for himself.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("bash")
    }
}

/// As any web server would call it: `git help http-backend`.
async fn answer(State(root): State<PathBuf>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let header = |name: &str| {
        let found = head.headers.get(name).and_then(|value| value.to_str().ok());
        found.unwrap_or_default().to_owned()
    };
    let environment = BTreeMap::from([
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("GIT_PROJECT_ROOT", root.display().to_string()),
        ("PATH_INFO", head.uri.path().to_owned()),
        (
            "QUERY_STRING",
            head.uri.query().unwrap_or_default().to_owned(),
        ),
        ("REQUEST_METHOD", head.method.to_string()),
        ("CONTENT_TYPE", header("content-type")),
        ("CONTENT_LENGTH", body.len().to_string()),
        ("HTTP_CONTENT_ENCODING", header("content-encoding")),
        ("HTTP_GIT_PROTOCOL", header("git-protocol")),
        ("REMOTE_ADDR", "127.0.0.1".to_owned()),
    ]);
    let mut backend = tokio::process::Command::new("git")
        .arg("http-backend")
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
    let mut pipe = backend.stdin.take().expect("piped");
    let feed = async move { pipe.write_all(&body).await };
    let (_, printed) = tokio::join!(feed, backend.wait_with_output());
    response(&printed.expect("it ends").stdout)
}

/// Of what a CGI program prints.
fn response(printed: &[u8]) -> Response {
    let end = printed.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("headers");
    let mut response = Response::new(Body::from(printed[end + 4..].to_vec()));
    for line in String::from_utf8_lossy(&printed[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Status" {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).expect("a status");
        } else {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            response
                .headers_mut()
                .append(name, value.parse().expect("a value"));
        }
    }
    response
}
