//! Chart and manifests as the real Helm and kustomize render them, on a real API server; and the operator as the account that they make, with its rights and no other.

mod api_cases;
#[path = "install/believed.rs"]
mod believed;
#[path = "install/conform.rs"]
mod conform;
#[path = "install/helm.rs"]
mod helm;
mod operator;
#[path = "install/overlays.rs"]
mod overlays;
mod process;
#[path = "install/rendered.rs"]
mod rendered;
#[path = "install/role.rs"]
mod role;
#[path = "install/schemas.rs"]
mod schemas;
#[path = "install/seen.rs"]
mod seen;
#[path = "install/server.rs"]
mod server;
#[path = "install/suites.rs"]
mod suites;
#[path = "install/trial.rs"]
mod trial;
#[path = "install/undeletable.rs"]
mod undeletable;
mod user;
#[path = "install/values.rs"]
mod values;

/// The namespace of `deploy/`, and of the releases here.
pub const NAMESPACE: &str = managed_hsm_operator::manifests::NAMESPACE;
