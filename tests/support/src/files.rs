//! What a plane needs on disk before its servers start: certificates, keys, users, kubeconfigs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{Failure, failed};

/// Who is in `tokens.csv`: the token is the user's name and means nothing outside this plane.
pub(crate) const ADMIN: &str = "admin";
pub(crate) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
pub(crate) const SCHEDULER: &str = "system:kube-scheduler";
pub(crate) const KUBE_PROXY: &str = "system:kube-proxy";
pub(crate) const KUBELET: &str = "system:node:node";

/// Where a pod finds the API server: the first address of the Services' range.
const SERVICE: &str = "10.96.0.1";

/// The throw-away folder's files, by name.
#[derive(Clone)]
pub(crate) struct Files {
    pub folder: PathBuf,
}

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path as a flag's value.
    pub fn flag(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes all that stands still: everything but the kubeconfigs.
    pub fn write(folder: &Path) -> Result<Self, Failure> {
        let files = Self {
            folder: folder.to_path_buf(),
        };
        files
            .certificates()
            .map_err(failed("making certificates"))?;
        let tokens = format!(
            "{ADMIN},{ADMIN},1,system:masters\n{CONTROLLER_MANAGER},{CONTROLLER_MANAGER},2\n\
             {SCHEDULER},{SCHEDULER},3\n{KUBE_PROXY},{KUBE_PROXY},4\n{KUBELET},{KUBELET},5,system:nodes\n"
        );
        fs::write(files.path("tokens.csv"), tokens)?;
        Ok(files)
    }

    fn certificates(&self) -> Result<(), Box<dyn std::error::Error>> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name
            .push(DnType::CommonName, "throw-away plane");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(self.path("ca.crt"), ca.self_signed(&ca_key)?.pem())?;

        let key = KeyPair::generate()?;
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", SERVICE];
        let mut server = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        let issuer = Issuer::new(ca, ca_key);
        fs::write(
            self.path("server.crt"),
            server.signed_by(&key, &issuer)?.pem(),
        )?;
        fs::write(self.path("server.key"), key.serialize_pem())?;

        // What the API server shows a kubelet.
        let key = KeyPair::generate()?;
        let mut client = CertificateParams::new(Vec::new())?;
        client.distinguished_name.push(DnType::CommonName, ADMIN);
        client
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        fs::write(
            self.path("to-kubelet.crt"),
            client.signed_by(&key, &issuer)?.pem(),
        )?;
        fs::write(self.path("to-kubelet.key"), key.serialize_pem())?;

        let accounts = KeyPair::generate()?;
        fs::write(self.path("sa.key"), accounts.serialize_pem())?;
        fs::write(self.path("sa.pub"), accounts.public_key_pem())?;
        Ok(())
    }

    /// Writes a kubeconfig for a bearer token, perhaps speaking for somebody else, and returns its path.
    pub fn kubeconfig(
        &self,
        name: &str,
        port: u16,
        token: &str,
        speaks_for: Option<(&str, &[&str])>,
    ) -> Result<PathBuf, Failure> {
        let mut user = serde_json::json!({ "token": token });
        if let Some((who, groups)) = speaks_for {
            user["as"] = who.into();
            user["as-groups"] = groups.into();
        }
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plane",
            "clusters": [{ "name": "plane", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": self.flag("ca.crt"),
            }}],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "plane", "context": { "cluster": "plane", "user": "user", "namespace": "default" } }],
        });
        let mut file = String::new();
        for letter in name.chars() {
            let plain = letter.is_ascii_alphanumeric() || letter == '-';
            let written = if plain {
                write!(file, "{letter}")
            } else {
                write!(file, "_{:x}_", letter as u32)
            };
            written.map_err(failed("naming a kubeconfig"))?;
        }
        let path = self.path(&format!("{file}.kubeconfig"));
        // Whole at any moment: several tests are the same user, and one reads while another writes. (JSON is YAML.)
        let new = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(new.path(), config.to_string())?;
        new.persist(&path).map_err(failed("writing a kubeconfig"))?;
        Ok(path)
    }
}
