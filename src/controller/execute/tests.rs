use std::collections::BTreeMap;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower_test::mock::Handle;

use super::*;
use crate::backend::memory::MemoryBackend;
use crate::controller::testing::{context, seen};
use crate::softdelete::examples::{at, key, key_in};

/// What the executor asked the API server for.
struct Asked {
    method: String,
    path: String,
    query: String,
    body: Value,
}

/// An executor over that backend, before an API server that answers each request with an object, and tells what it was asked.
fn executor(backend: &MemoryBackend) -> (Context, tokio::task::JoinHandle<Vec<Asked>>) {
    let (service, server) = tower_test::mock::pair();
    let context = context(Client::new(service, "payments"), backend);
    (context, tokio::spawn(answers(server)))
}

async fn answers(mut server: Handle<Request<Body>, Response<Body>>) -> Vec<Asked> {
    let mut asked = Vec::new();
    while let Some((request, respond)) = server.next_request().await {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body");
        asked.push(Asked {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).expect("JSON"),
        });
        let answer = json!({"apiVersion": "managedhsm.dev/v1alpha1", "kind": "HsmKey", "metadata": {"name": "prod"}});
        let answer = Response::new(Body::from(answer.to_string().into_bytes()));
        respond.send_response(answer);
    }
    asked
}

/// What one effect asks the API server for.
async fn asks(kind: Kind, effect: &Effect) -> Asked {
    let (context, asked) = executor(&MemoryBackend::new());
    let done = execute(&context, &seen(kind), effect).await;
    assert!(matches!(done, Ok(Done::Yes)), "{effect:?}: {done:?}");
    drop(context);
    let mut asked = asked.await.expect("the server's end");
    assert_eq!(asked.len(), 1, "{effect:?}");
    asked.remove(0)
}

/// The request holds only for the object of that uid at that resourceVersion.
fn holds_only_there(asked: &Asked) -> bool {
    let test = |path: &str, value: &str| json!({"op": "test", "path": path, "value": value});
    match (asked.method.as_str(), &asked.body) {
        ("DELETE", body) => body["preconditions"] == json!({"uid": "u-1", "resourceVersion": "7"}),
        ("PATCH", Value::Array(operations)) => {
            operations[0] == test("/metadata/uid", "u-1")
                && operations[1] == test("/metadata/resourceVersion", "7")
                && operations.len() == 3
        }
        ("PATCH", body) => {
            body["metadata"]["uid"] == "u-1" && body["metadata"]["resourceVersion"] == "7"
        }
        _ => false,
    }
}

#[tokio::test]
async fn every_write_to_what_stands_holds_only_for_the_uid_and_the_resource_version_of_the_look() {
    let at = || At {
        name: "prod".into(),
        uid: "u-1".into(),
        resource_version: "7".into(),
    };
    let finalizers = || vec![api::FINALIZER.to_owned()];
    let all = [
        Effect::AddFinalizer(at(), finalizers()),
        Effect::RemoveFinalizer(at(), Vec::new()),
        Effect::ShowProxy(at(), Box::default()),
        Effect::DeleteProxy(at()),
        Effect::RestoreOwners(at(), json!([])),
        Effect::ShowHsm(at(), Box::default()),
        Effect::ShowKey(at(), Box::default()),
        Effect::ShowRecover(at(), Box::default()),
        Effect::ShowPurge(at(), Box::default()),
        Effect::DeletePurge(at()),
    ];
    for effect in &all {
        for kind in [Kind::Hsm, Kind::Key] {
            let asked = asks(kind, effect).await;
            let (name, body) = (effect.name(), &asked.body);
            assert!(holds_only_there(&asked), "{name}: {body}");
            assert!(
                asked.path.trim_end_matches("/status").ends_with("/prod"),
                "{name}: {}",
                asked.path
            );
        }
    }
}

#[tokio::test]
async fn sd19_what_a_recovery_makes_has_our_finalizer_from_its_first_moment() {
    let snapshot = api::Snapshot {
        api_version: "managedhsm.dev/v1alpha1".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({}),
        managed_fields: Value::Null,
    };
    let asked = asks(Kind::Key, &Effect::CreateObject(Box::new(snapshot))).await;
    let finalizers = &asked.body["metadata"]["finalizers"];
    assert_eq!(
        (asked.method.as_str(), finalizers),
        ("POST", &json!([api::FINALIZER]))
    );
    assert!(
        asked.query.contains(api::RECOVER_MANAGER),
        "{}",
        asked.query
    );
}

/// The record of the example, encoded, at that generation.
fn stored(generation: u64, state: RecordState) -> Stored {
    Stored {
        id: "k-1".into(),
        generation,
        bytes: encoding::encode(&key(state)),
    }
}

async fn writes(context: &Context, seen: &Observed, generation: u64, record: Record) -> Done {
    let record = Box::new(record);
    let effect = Effect::WriteRecord { generation, record };
    execute(context, seen, &effect).await.expect("an answer")
}

#[tokio::test]
async fn g6_a_record_is_written_only_after_the_generation_that_was_looked_at() {
    for state in [RecordState::Destroying, RecordState::Opening] {
        let backend = MemoryBackend::new();
        let (context, _server) = executor(&backend);
        for generation in 1..=2 {
            let put = backend.write(&stored(generation, RecordState::Deleted));
            put.expect("it is written");
        }
        let done = writes(&context, &seen(Kind::Key), 2, key(state)).await;
        assert!(matches!(done, Done::Raced), "{state:?}: {done:?}");
        let now = backend.read("k-1").expect("a look");
        assert_eq!(now, [stored(2, RecordState::Deleted)], "{state:?}");
    }
}

#[tokio::test]
async fn g2_after_a_write_memory_has_what_stands_in_the_ledger_whoever_wrote_it() {
    let backend = MemoryBackend::new();
    let (context, _server) = executor(&backend);
    let theirs = stored(1, RecordState::Live);
    backend.write(&theirs).expect("it is written");
    let done = writes(&context, &seen(Kind::Key), 1, key(RecordState::Deleted)).await;
    assert!(matches!(done, Done::Raced), "{done:?}");
    let known = context.index.get(&"k-1".into()).expect("it is known");
    assert_eq!(known.held.record(), Some(&key(RecordState::Live)));
}

/// A key of that id and name that is about to be made.
fn made(id: &str) -> Record {
    Record {
        id: id.into(),
        subject: key_in("h-1", Vec::new()),
        dates: None,
        ..key(RecordState::Creating)
    }
}

#[tokio::test]
async fn sd17_no_record_is_begun_under_a_key_name_that_another_got_since_the_look() {
    let backend = MemoryBackend::new();
    let (context, _server) = executor(&backend);
    let seen = seen(Kind::Key);
    let first = writes(&context, &seen, 1, made("k-1")).await;
    assert!(matches!(first, Done::Yes), "{first:?}");
    let second = writes(&context, &seen, 1, made("k-2")).await;
    assert!(matches!(second, Done::Raced), "{second:?}");
    assert_eq!(backend.read("k-2"), Ok(Vec::new()));
}

#[tokio::test]
async fn sd23_no_requested_purge_passes_its_end_once_another_did_since_the_look() {
    let backend = MemoryBackend::new();
    let (context, _server) = executor(&backend);
    let deleted = stored(1, RecordState::Deleted);
    backend.write(&deleted).expect("it is written");
    let end = Record {
        requesters: vec!["ann".into()],
        ..key(RecordState::Destroying)
    };
    let mut seen = seen(Kind::Key);
    seen.purging.purged_at = Some(vec![at(0)]);
    let done = writes(&context, &seen, 2, end.clone()).await;
    assert!(matches!(done, Done::Raced), "{done:?}");
    assert_eq!(backend.read("k-1"), Ok(vec![deleted]));
    seen.purging.purged_at = context.purged_on_request(seen.now);
    let done = writes(&context, &seen, 2, end).await;
    assert!(matches!(done, Done::Yes), "{done:?}");
}

#[tokio::test]
async fn a_token_that_our_pin_does_not_open_is_not_made() {
    let backend = MemoryBackend::new();
    let (context, _server) = executor(&backend);
    let label = TokenLabel("0123456789abcdef0123456789abcdef".into());
    let facts = backend.create_token(&label).expect("it is made");
    let token = crate::backend::TokenRef {
        label: label.clone(),
        serial: facts.serial,
    };
    backend.seal_token(&token).expect("it is sealed");
    let effect = Effect::CreateToken(label);
    let done = execute(&context, &seen(Kind::Hsm), &effect).await;
    let refused = |done: &Done| matches!(done, Done::Refused(why) if why.how == No::Pin);
    assert!(done.as_ref().is_ok_and(refused), "{done:?}");
}
