//! A real node beside the plane: containerd, kubelet, kube-scheduler and kube-proxy, within the namespaces that `hack/node.sh` makes.
//!
//! Pods reach each other, Services and the API server. No name is resolved, nothing leads out of the machine, and NetworkPolicies are not
//! enforced: the network plugin knows none.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::files::{Files, KUBE_PROXY, KUBELET, SCHEDULER};
use crate::server::Server;
use crate::{Failure, Plane, binaries, eventually_blocking, failed};

/// The node's name.
pub const NODE: &str = "node";

const SOCKET: &str = "/run/containerd/containerd.sock";
/// The image that holds a pod's namespaces open.
const PAUSE: &str = "registry.local/pause:1";
const PODS: &str = "10.244.0.0/24";

/// The address that `hack/node.sh` has for it.
fn address() -> Result<String, Failure> {
    let without = "a node is started by hack/node.sh, in namespaces of its own";
    std::env::var("NODE_ADDRESS").map_err(|_| Failure(without.to_owned()))
}

/// What the API server is told beside the usual.
pub(crate) fn api_server_arguments(files: &Files) -> Result<Vec<String>, Failure> {
    Ok(vec![
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", address()?),
        "--endpoint-reconciler-type=lease".to_owned(),
        "--authorization-mode=Node".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!(
            "--kubelet-client-certificate={}",
            files.flag("to-kubelet.crt")
        ),
        format!("--kubelet-client-key={}", files.flag("to-kubelet.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--allow-privileged".to_owned(),
    ])
}

/// Each with its arguments; writes what they read.
pub(crate) fn servers(files: &Files, port: u16) -> Result<Vec<(Server, Vec<String>)>, Failure> {
    containerd(files, &binaries::tools("node")?)?;
    kubelet(files)?;
    kube_proxy(files)?;
    for (name, user) in [
        ("kubelet", KUBELET),
        ("scheduler", SCHEDULER),
        ("kube-proxy", KUBE_PROXY),
    ] {
        files.kubeconfig(name, port, user, None)?;
    }
    let flag = |name: &str, file: &str| format!("--{name}={}", files.flag(file));
    let of_containerd = vec![flag("config", "containerd.toml")];
    let of_scheduler = vec![
        flag("kubeconfig", "scheduler.kubeconfig"),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    let of_kubelet = vec![
        flag("config", "kubelet.json"),
        flag("kubeconfig", "kubelet.kubeconfig"),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", address()?),
    ];
    let of_kube_proxy = vec![flag("config", "kube-proxy.json")];
    Ok(vec![
        (Server::Containerd, of_containerd),
        (Server::Scheduler, of_scheduler),
        (Server::Kubelet, of_kubelet),
        (Server::KubeProxy, of_kube_proxy),
    ])
}

fn containerd(files: &Files, plugins: &Path) -> Result<(), Failure> {
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false, "ipam":
        {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}}]});
    let folder = files.path("network");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("pods.conflist"), network.to_string())?;
    // A machine may lack the right to move a process's score, hence the restriction.
    let config = format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{}"]
conf_dir = "{}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        plugins.display(),
        folder.display()
    );
    Ok(fs::write(files.path("containerd.toml"), config)?)
}

fn kubelet(files: &Files) -> Result<(), Failure> {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}, "x509": {"clientCAFile": files.flag("ca.crt")}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        // There is no registry to get an image from again, and the machine's disk is not the node's to watch over.
        "imageGCHighThresholdPercent": 100,
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
        "serializeImagePulls": false,
        "resolvConf": "",
    });
    Ok(fs::write(files.path("kubelet.json"), config.to_string())?)
}

fn kube_proxy(files: &Files) -> Result<(), Failure> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": files.flag("kube-proxy.kubeconfig")},
        // These are the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    });
    Ok(fs::write(
        files.path("kube-proxy.json"),
        config.to_string(),
    )?)
}

impl Plane {
    /// Starts the node's servers, and waits until pods may run there.
    pub(crate) fn bring_up_node(&self) -> Result<(), Failure> {
        self.start_server(Server::Containerd)?;
        self.start_server(Server::Scheduler)?;
        let pause = self.folder().join("pause.tar");
        let packed = Command::new(binaries::project_dir().join("hack/image.sh"))
            .arg("--executable")
            .arg(binaries::tools("node")?.join("pause"))
            .args(["--name", PAUSE, "--out"])
            .arg(&pause)
            .env("SOURCE_DATE_EPOCH", "0")
            .output()
            .map_err(failed("packing an image"))?;
        if !packed.status.success() {
            let said = String::from_utf8_lossy(&packed.stderr).into_owned();
            return Err(Failure(said));
        }
        self.import_image(&pause)?;
        self.start_server(Server::Kubelet)?;
        self.start_server(Server::KubeProxy)?;
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=10s",
            "node",
            NODE,
        ];
        self.until("the node is ready", &ready)
    }

    /// Gives the node an image, from an archive such as `hack/image.sh` makes.
    pub fn import_image(&self, archive: &Path) -> Result<(), Failure> {
        let ctr = binaries::tools("containerd")?.join("ctr");
        let ask = |arguments: &[&str]| {
            let output = Command::new(&ctr)
                .args(["--address", SOCKET, "--namespace", "k8s.io"])
                .args(arguments)
                .output()
                .map_err(|error| error.to_string())?;
            if output.status.success() {
                return Ok(());
            }
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        };
        eventually_blocking("containerd answers", Duration::from_secs(60), || {
            ask(&["version"])
        });
        let path = archive.display().to_string();
        ask(&["images", "import", &path]).map_err(failed("importing an image"))
    }
}
