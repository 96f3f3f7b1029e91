//! One harness for tests, benchmarks and the demo: a real etcd, kube-apiserver and
//! kube-controller-manager on loopback, with throw-away state, and the real kubectl.
//!
//! - [`shared`] is one plane for a whole test binary; each test makes a [`Plane::namespace`] of its own.
//! - [`borrow`] is an exclusive one, for tests that kill servers, put an old etcd back, delete CRDs or
//!   run an operator with flags of its own. At most [`AT_ONCE`] of them run at a time.
//! - [`Plane::start`] blocks; the example that the demo runs under uses it.
//! - [`Options::node`] adds a real node, where `hack/node.sh` made room for one.
//!
//! Nothing outlives the process that started it, not even when that is killed (see `reaper`).

#![forbid(unsafe_code)]

mod binaries;
mod client;
mod current;
mod files;
mod kubectl;
mod node;
mod options;
mod page;
mod plane;
mod pool;
mod ports;
mod reaper;
mod sample;
mod server;
mod tool;
mod wait;

pub use binaries::{kubectl_path, project_dir, tools};
pub use current::{is_as_before, is_as_before_in, is_current};
pub use kubectl::Output;
pub use node::NODE;
pub use options::{Controllers, Options};
pub use page::blocks;
pub use plane::{EtcdCopy, Plane};
pub use pool::{AT_ONCE, Borrowed, borrow, shared};
pub use sample::each;
pub use server::Server;
pub use tool::{Said, helm, helm3, source, tool};
pub use wait::{eventually, eventually_blocking};

/// What went wrong, in words for the person who reads the test's output.
pub struct Failure(pub String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sentence itself, so that `unwrap` prints it readably.
impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Turns an error into a [`Failure`] that says what was being done.
pub(crate) fn failed<E: std::fmt::Display>(
    doing: impl std::fmt::Display,
) -> impl FnOnce(E) -> Failure {
    move |error| Failure(format!("{doing}: {error}"))
}
