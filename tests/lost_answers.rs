//! Answers that are lost, late or wrong: each write to the API server, and each call of the backend, fails once, with and without
//! having worked. Every life ends as one that nothing disturbed. Many lives at once, each with a fault of its own.

mod lives;
mod operator;
mod user;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use http::{Method as Verb, Request, Response};
use kube::Client;
use kube::client::Body;
use lives::Life;
use managed_hsm_operator::backend::BackendError;
use managed_hsm_operator::backend::memory::{MemoryBackend, Method, When};
use operator::{Build, Operator};
use serde_json::{Value, json};
use testplane::{Options, borrow, each};
use tokio_util::task::AbortOnDropHandle;

struct Troubled {
    what: String,
    end: AbortOnDropHandle<Value>,
}

fn troubled(what: String, life: Life) -> Troubled {
    let end = AbortOnDropHandle::new(tokio::spawn(async move { life.whole().await }));
    Troubled { what, end }
}

async fn all_end_like(end: &Value, all: Vec<Troubled>) {
    for one in all {
        let is = one
            .end
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", one.what));
        lives::assert_same(&one.what, &is, end);
    }
}

// ---- the backend ----

/// Of what changes something every call of a life; of what only looks the first ones.
fn faults(calm: &MemoryBackend) -> Vec<(Method, usize, When)> {
    let mut all = Vec::new();
    for method in Method::ALL {
        let calls = calm.count(method);
        let looks = matches!(
            method,
            Method::Records | Method::Read | Method::Token | Method::Objects
        );
        for number in 1..=calls {
            match (looks, number) {
                (true, 1 | 7 | 20) => all.push((method, number, When::Before)),
                (true, _) => {}
                (false, _) => all.extend([
                    (method, number, When::Before),
                    (method, number, When::After),
                ]),
            }
        }
    }
    all
}

async fn on_backends(plane: &testplane::Plane, of: &[(String, MemoryBackend)]) -> Operator {
    let mut build = Build::new(plane, MemoryBackend::new()).await;
    build.queue.concurrency = 1000;
    for (name, backend) in of {
        build
            .backends
            .insert(name.clone(), Arc::new(backend.clone()));
    }
    build.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_ends_well_whichever_call_of_the_backend_fails_or_seems_to() {
    let plane = borrow(Options::default()).await;
    let client = plane.client().await;
    let calm = MemoryBackend::new();
    let end = {
        let _operator = on_backends(&plane, &[("calm".to_owned(), calm.clone())]).await;
        let life = Life::on(&client, "calm", &calm, "calm", lives::ec()).await;
        life.whole().await
    };
    let faults = faults(&calm);
    assert!(faults.len() > 40, "{faults:?}");
    let faults: Vec<_> = faults.into_iter().step_by(each(3)).collect();
    let named = |(place, _): (usize, _)| (format!("b{place}"), MemoryBackend::new());
    let mut backends: Vec<_> = faults.iter().enumerate().map(named).collect();
    // What is in the calm one stays known.
    backends.push(("calm".to_owned(), calm));
    let _operator = on_backends(&plane, &backends).await;
    let mut all = Vec::new();
    for ((method, number, when), (name, backend)) in faults.iter().copied().zip(&backends) {
        let lost = BackendError::Unavailable("a test says so".to_owned());
        backend.fail(method, number, when, lost);
        let life = Life::on(&client, name, backend, name, lives::ec()).await;
        all.push(troubled(
            format!("{name}: {method:?} {number} fails {when:?}"),
            life,
        ));
    }
    all_end_like(&end, all).await;
    for ((method, number, _), (name, backend)) in faults.into_iter().zip(&backends) {
        assert!(backend.count(method) >= number, "{name}: it never failed");
    }
}

// ---- the API server ----

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// An error of the server's, though it did what was asked.
    ErrorAfter(u16),
    /// An error, and nothing was done.
    ErrorBefore(u16),
    /// Done, and no answer came.
    Lost,
}

#[derive(Default)]
struct Script {
    /// By namespace: which of its writes goes wrong, and how.
    faults: HashMap<String, (usize, Answer)>,
    writes: BTreeMap<String, usize>,
}

impl Script {
    /// Counts a write about one of the lives; Events are nobody's business.
    fn strike(&mut self, request: &Request<Body>) -> Option<Answer> {
        let path = request.uri().path();
        if request.method() == Verb::GET || path.contains("/events") {
            return None;
        }
        let namespace = namespace_of(path)?;
        let writes = self.writes.entry(namespace.clone()).or_default();
        *writes += 1;
        let (number, answer) = self.faults.get(&namespace)?;
        (*number == *writes).then_some(*answer)
    }
}

/// Of a namespaced object its own, of a proxy its origin's. The POST of a proxy has no name in its path and goes uncounted.
fn namespace_of(path: &str) -> Option<String> {
    if let Some((_, rest)) = path.split_once("/namespaces/") {
        return rest.split('/').next().map(str::to_owned);
    }
    let name = path
        .split('/')
        .find(|part| part.contains('.') && !part.contains("managedhsm.dev"))?;
    name.split('.').next().map(str::to_owned)
}

fn failure(code: u16) -> Response<Body> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "Timeout",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "a test says so", "reason": reason, "code": code});
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(status.to_string().into_bytes()))
        .expect("a response")
}

/// A client whose writes go as the script says.
fn client(through: Client, script: Arc<Mutex<Script>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (through, script) = (through.clone(), script.clone());
        async move {
            let struck = script
                .lock()
                .expect("no test panics in here")
                .strike(&request);
            if let Some(Answer::ErrorBefore(code)) = struck {
                return Ok(failure(code));
            }
            let answer = through.send(request).await;
            match struck {
                Some(Answer::ErrorAfter(code)) => Ok(failure(code)),
                Some(Answer::Lost) => Err(kube::Error::Service("no answer came".into())),
                Some(Answer::ErrorBefore(_)) | None => answer,
            }
        }
    });
    Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_ends_well_whichever_write_to_the_api_server_fails_or_seems_to() {
    const DONE: [Answer; 3] = [
        Answer::Lost,
        Answer::ErrorAfter(409),
        Answer::ErrorAfter(503),
    ];
    const UNDONE: [Answer; 4] = [
        Answer::ErrorBefore(409),
        Answer::ErrorBefore(429),
        Answer::ErrorBefore(503),
        Answer::ErrorBefore(504),
    ];
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let script = Arc::new(Mutex::new(Script::default()));
    let mut build = Build::new(&plane, backend.clone()).await;
    build.queue.concurrency = 1000;
    build.client = client(plane.client().await, script.clone());
    let _operator = build.start().await;
    let calm = Life::new(&plane.client().await, "calm", &backend, lives::ec()).await;
    let end = calm.whole().await;
    let writes = script.lock().expect("no test panics in here").writes["calm"];
    assert!(writes > 20, "{writes}");
    let mut all = Vec::new();
    for number in (1..=writes).step_by(each(2)) {
        for answer in [DONE[number % DONE.len()], UNDONE[number % UNDONE.len()]] {
            let name = format!("w{}", all.len());
            let fault = (number, answer);
            script
                .lock()
                .expect("no test panics in here")
                .faults
                .insert(name.clone(), fault);
            let life = Life::new(&plane.client().await, &name, &backend, lives::ec()).await;
            all.push(troubled(
                format!("{name}: write {number}: {answer:?}"),
                life,
            ));
        }
    }
    let lives = all.len();
    all_end_like(&end, all).await;
    // How many statuses are written depends on who is faster: a life may be over before its write.
    let script = script.lock().expect("no test panics in here");
    let struck =
        |(name, (number, _)): &(&String, &(usize, Answer))| script.writes[*name] >= *number;
    let struck = script.faults.iter().filter(struck).count();
    assert!(
        struck * 10 >= lives * 9,
        "only {struck} of {lives} writes went wrong"
    );
}
