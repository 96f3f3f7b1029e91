//! A client that counts what it sends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kube::Client;
use kube::client::{Body, ClientBuilder};
use testplane::Plane;
use tower::util::MapRequestLayer;

/// What was sent, by what it is: reads, writes, Events, an HSM's own counts.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<Mutex<BTreeMap<Sort, u64>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    Read,
    Write,
    Event,
    /// A write of a ManagedHsm's status: keys that change together share it.
    HsmCount,
}

impl Sent {
    pub fn so_far(&self) -> BTreeMap<Sort, u64> {
        self.0.lock().expect("no panic holds it").clone()
    }

    fn note(&self, request: &http::Request<Body>) {
        let (method, path) = (request.method(), request.uri().path());
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let sort = match () {
            () if watch => return,
            () if path.contains("/events") => Sort::Event,
            () if method == http::Method::GET => Sort::Read,
            () if path.contains("/managedhsms/") && path.ends_with("/status") => Sort::HsmCount,
            () => Sort::Write,
        };
        *self
            .0
            .lock()
            .expect("no panic holds it")
            .entry(sort)
            .or_default() += 1;
    }
}

/// The administrator's client, counted.
pub async fn client(plane: &Plane) -> (Client, Sent) {
    let sent = Sent::default();
    let noted = sent.clone();
    let layer = MapRequestLayer::new(move |request: http::Request<Body>| {
        noted.note(&request);
        request
    });
    let builder = ClientBuilder::try_from(plane.config().await).expect("a client");
    (builder.with_layer(&layer).build(), sent)
}
