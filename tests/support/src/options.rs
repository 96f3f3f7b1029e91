//! What a plane is made of.

use std::time::Duration;

/// Which controllers of the kube-controller-manager run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// No controller manager at all: namespaces never go, nothing is garbage-collected.
    None,
    /// Those that our tests need: [`Controllers::USUAL`].
    Usual,
    /// These, by the names that `kube-controller-manager --controllers` takes.
    These(Vec<String>),
    /// All that are on by default.
    All,
}

impl Controllers {
    /// Namespaces and garbage go, ServiceAccounts come, roles are aggregated, quotas are counted.
    pub const USUAL: [&str; 6] = [
        "namespace-controller",
        "garbage-collector-controller",
        "serviceaccount-controller",
        "root-ca-certificate-publisher-controller",
        "clusterrole-aggregation-controller",
        "resourcequota-controller",
    ];

    /// The value of `--controllers`; none where no controller manager is wanted.
    pub(crate) fn flag(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Usual => Some(Self::USUAL.join(",")),
            Self::These(names) => Some(names.join(",")),
            Self::All => Some("*".to_owned()),
        }
    }

    /// Whether a ServiceAccount `default` will appear in each namespace.
    pub(crate) fn make_service_accounts(&self) -> bool {
        let name = "serviceaccount-controller";
        match self {
            Self::None => false,
            Self::Usual | Self::All => true,
            Self::These(names) => names.iter().any(|n| n == name),
        }
    }
}

/// How a plane is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub controllers: Controllers,
    /// Apply the project's `crds/` and wait until they are served.
    pub crds: bool,
    /// A real node, in a cluster of all controllers. Only within the namespaces that `hack/node.sh` makes.
    pub node: bool,
    /// Further flags of the kube-apiserver, as `--name=value`.
    pub api_server_flags: Vec<String>,
    /// How long each server may take to answer.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: Controllers::Usual,
            crds: true,
            node: false,
            api_server_flags: Vec::new(),
            patience: Duration::from_secs(90),
        }
    }
}

impl Options {
    /// etcd and API server only: no namespace ever finishes its deletion there.
    pub fn without_controllers() -> Self {
        Self {
            controllers: Controllers::None,
            ..Self::default()
        }
    }

    /// A whole cluster of one node, without the project's CRDs.
    pub fn node() -> Self {
        Self {
            controllers: Controllers::All,
            crds: false,
            node: true,
            ..Self::default()
        }
    }

    /// Without the project's CRDs.
    pub fn without_crds(mut self) -> Self {
        self.crds = false;
        self
    }
}
