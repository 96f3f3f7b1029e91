use std::collections::BTreeSet;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::Handle;

use super::*;
use crate::backend::memory::MemoryBackend;
use crate::backend::{HsmBackend, Stored};
use crate::controller::testing;
use crate::plan::encoding;
use crate::plan::observed::{Held, Hsm, Reading};
use crate::softdelete::Record;
use crate::softdelete::examples::{at, key};
use crate::softdelete::record::Destroyed;

/// Whose definition is not there, if anybody's.
async fn serves(mut server: Handle<Request<Body>, Response<Body>>, without: Option<String>) {
    while let Some((request, respond)) = server.next_request().await {
        let (path, query) = (request.uri().path(), request.uri().query());
        let gone = without.as_ref().is_some_and(|name| path.ends_with(name));
        let code = if gone { 404 } else { 200 };
        let body = answer(path, query.unwrap_or_default(), gone).to_string();
        let answer = Response::builder().status(code);
        respond.send_response(answer.body(Body::from(body.into_bytes())).expect("one"));
    }
}

fn answer(path: &str, query: &str, gone: bool) -> Value {
    let list = |items: Value| json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": items});
    let of = |name: &str, spec: Value, status: Value| {
        json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "One", "spec": spec, "status": status,
            "metadata": {"name": name, "namespace": "payments", "uid": name, "resourceVersion": "7", "generation": 1,
                "creationTimestamp": "2027-01-15T08:00:00Z"}})
    };
    let purge = || {
        let spec = json!({"kind": "DeletedHsmKey", "name": "payments.prod", "uid": "u-1", "requestedBy": "ann"});
        of("ann", spec, json!(api::PurgeStatus::default()))
    };
    let recover = |kind: &str, name: &str| {
        let spec = json!({"kind": kind, "name": name, "uid": "u-1", "includeKeys": "All"});
        of("back", spec, json!(api::RecoverStatus::default()))
    };
    match path {
        _ if gone => {
            json!({"kind": "Status", "code": 404, "status": "Failure", "reason": "NotFound", "message": "no"})
        }
        "/apis/managedhsm.dev/v1alpha1/purges" => list(json!([purge()])),
        "/apis/managedhsm.dev/v1alpha1/namespaces/payments/recovers" => {
            let of_hsm = query.contains("safe");
            let (kind, name) = if of_hsm {
                ("ManagedHsm", "safe")
            } else {
                ("HsmKey", "prod")
            };
            list(json!([recover(kind, name)]))
        }
        "/api/v1/namespaces" => list(json!([])),
        _ => {
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "one"}})
        }
    }
}

fn held(record: Record) -> Held {
    Held {
        id: record.id.clone(),
        generation: 1,
        reading: Reading::One(Box::new(record)),
    }
}

/// A look at a deleted key, with empty caches, over a ledger in which one was purged on request.
async fn looked(without: Option<String>) -> (Context, Observed) {
    let (service, server) = tower_test::mock::pair();
    let backend = MemoryBackend::new();
    let context = testing::context(Client::new(service, "payments"), &backend);
    let server = tokio::spawn(serves(server, without));
    let purged = Record {
        id: "k-2".into(),
        requesters: vec!["bob".into()],
        destroyed: Some(Destroyed {
            at: at(0),
            count: 1,
            digest: String::new(),
        }),
        ..key(RecordState::Tombstone)
    };
    let stored = Stored {
        id: "k-2".into(),
        generation: 1,
        bytes: encoding::encode(&purged),
    };
    backend.write(&stored).expect("it is written");
    let module = &context.backends["default"];
    let read = crate::controller::observe::read(&context, module, "default", &purged.id).await;
    assert!(read.is_ok_and(|found| found.is_some()));
    context.etcd.known_of(8);
    let mut seen = testing::seen(Kind::Key);
    seen.records = vec![held(key(RecordState::Deleted))];
    seen.hsm = Some(Hsm {
        name: "safe".into(),
        object: None,
        record: None,
        proxy: None,
        purges: Vec::new(),
    });
    let done = look(&context, Source::Live, &mut seen).await;
    done.expect("the API server answers");
    server.abort();
    (context, seen)
}

#[tokio::test]
async fn g1_what_a_purge_asks_for_is_asked_of_the_api_server_and_of_no_cache() {
    let (context, seen) = looked(None).await;
    assert!(seen.purging.looked);
    assert_eq!(seen.purges.len(), 1, "the Purges");
    assert_eq!(seen.recovers.len(), 1, "its Recovers");
    let by = Some("Recover payments/back".to_owned());
    assert_eq!(seen.purging.hsm_recovery, by, "its HSM's Recovers");
    assert_eq!(seen.purging.definitions, None);
    let put_back = seen.purging.put_back;
    assert!(
        put_back.is_some(),
        "etcd's age, before anything asked counts"
    );
    assert_eq!(put_back, context.etcd.put_back());
    assert_eq!(seen.purging.purged_at, Some(vec![at(0)]), "the rate");
}

#[tokio::test]
async fn sd23_absence_means_nothing_to_a_purge_while_any_of_our_definitions_is_not_there() {
    let names: BTreeSet<_> = Watched::ALL
        .into_iter()
        .filter(|of| *of != Watched::Namespace)
        .map(definition_name)
        .collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let (_, seen) = looked(Some(name.clone())).await;
        let missing = seen.purging.definitions.expect("it is missing");
        assert_eq!(missing.what, format!("definition {name}"));
    }
}
