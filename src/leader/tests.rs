use std::pin::Pin;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::Handle;

use super::*;

type Server = Pin<Box<Handle<Request<Body>, Response<Body>>>>;

const TIMES: Times = Times {
    lease: Duration::from_secs(15),
    deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn candidate() -> (Candidate, Server, Clock) {
    let (service, server) = tower_test::mock::pair();
    let clock = Clock::real();
    let settings = Settings {
        namespace: "ops".into(),
        name: "lead".into(),
        identity: "me".into(),
        times: TIMES,
    };
    (
        Candidate::new(Client::new(service, "ops"), settings, clock.clone()),
        Box::pin(server),
        clock,
    )
}

fn lease(holder: &str, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "lead", "namespace": "ops", "resourceVersion": version, "annotations": {"kept": "yes"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4},
    })
}

/// Expects exactly this request next, answers it, and gives its body.
async fn expect(server: &mut Server, method: &str, path: &str, code: u16, answer: Value) -> Value {
    let (request, respond) = server.next_request().await.expect("a request");
    assert_eq!(
        (request.method().as_str(), request.uri().path()),
        (method, path)
    );
    let body = request.into_body().collect_bytes().await.expect("a body");
    let answer = Response::builder()
        .status(code)
        .body(Body::from(answer.to_string().into_bytes()));
    respond.send_response(answer.expect("a response"));
    if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).expect("JSON")
    }
}

fn failure(code: u16) -> Value {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "refused", "reason": reason})
}

const ONE: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/lead";
const ALL: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";

async fn leader() -> (Leader, Server) {
    let (candidate, mut server, _) = candidate();
    let stop = CancellationToken::new();
    let (leader, ()) = tokio::join!(candidate.acquire(&stop), async {
        expect(&mut server, "GET", ONE, 404, failure(404)).await;
        expect(&mut server, "POST", ALL, 201, lease("me", "1")).await;
    });
    (leader.expect("nobody said stop"), server)
}

#[tokio::test(start_paused = true)]
async fn a_missing_lease_is_created_in_our_name() {
    let (candidate, mut server, _) = candidate();
    let stop = CancellationToken::new();
    let (leader, made) = tokio::join!(candidate.acquire(&stop), async {
        expect(&mut server, "GET", ONE, 404, failure(404)).await;
        expect(&mut server, "POST", ALL, 201, lease("me", "1")).await
    });
    assert!(leader.expect("leads").holds());
    assert_eq!(made["metadata"]["name"], "lead");
    assert_eq!(made["spec"]["holderIdentity"], "me");
    assert_eq!(made["spec"]["leaseDurationSeconds"], 15);
    assert_eq!(made["spec"]["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn another_ones_lease_is_taken_after_it_stood_still_with_the_resource_version_and_all_else_kept()
 {
    let (candidate, mut server, _) = candidate();
    let stop = CancellationToken::new();
    let started = crate::clock::instant();
    let (leader, taken) = tokio::join!(candidate.acquire(&stop), async {
        for _ in 0..8 {
            expect(&mut server, "GET", ONE, 200, lease("other", "7")).await;
        }
        expect(&mut server, "GET", ONE, 200, lease("other", "7")).await;
        expect(&mut server, "PUT", ONE, 200, lease("me", "8")).await
    });
    assert!(leader.is_some());
    assert!(crate::clock::instant() - started >= TIMES.lease);
    assert_eq!(taken["metadata"]["resourceVersion"], "7");
    assert_eq!(taken["metadata"]["annotations"]["kept"], "yes");
    assert_eq!(taken["spec"]["leaseTransitions"], 5);
}

#[tokio::test(start_paused = true)]
async fn who_comes_second_by_a_conflict_looks_again_and_stands_by() {
    let (candidate, mut server, _) = candidate();
    let stop = CancellationToken::new();
    let (leader, ()) = tokio::join!(candidate.acquire(&stop), async {
        expect(&mut server, "GET", ONE, 200, lease("", "7")).await;
        expect(&mut server, "PUT", ONE, 409, failure(409)).await;
        expect(&mut server, "GET", ONE, 200, lease("other", "8")).await;
        stop.cancel();
    });
    assert!(leader.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_leader_renews_with_the_version_of_its_last_write_and_releases_at_the_stop() {
    let (leader, mut server) = leader().await;
    let stop = CancellationToken::new();
    let (kept, (renewed, released)) = tokio::join!(leader.keep(&stop), async {
        let renewed = expect(&mut server, "PUT", ONE, 200, lease("me", "2")).await;
        stop.cancel();
        (
            renewed,
            expect(&mut server, "PUT", ONE, 200, lease("", "3")).await,
        )
    });
    assert_eq!(kept, Ok(()));
    assert_eq!(renewed["metadata"]["resourceVersion"], "1");
    assert_eq!(released["metadata"]["resourceVersion"], "2");
    assert_eq!(released["spec"].get("holderIdentity"), None);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_edit_of_the_lease_costs_a_look_but_not_the_leadership() {
    let (leader, mut server) = leader().await;
    let stop = CancellationToken::new();
    let (kept, renewed) = tokio::join!(leader.keep(&stop), async {
        expect(&mut server, "PUT", ONE, 409, failure(409)).await;
        expect(&mut server, "GET", ONE, 200, lease("me", "6")).await;
        let renewed = expect(&mut server, "PUT", ONE, 200, lease("me", "7")).await;
        stop.cancel();
        expect(&mut server, "PUT", ONE, 200, lease("", "8")).await;
        renewed
    });
    assert_eq!(kept, Ok(()));
    assert_eq!(renewed["metadata"]["resourceVersion"], "6");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_ends_and_says_by_whom() {
    let (leader, mut server) = leader().await;
    let stop = CancellationToken::new();
    let (kept, ()) = tokio::join!(leader.keep(&stop), async {
        expect(&mut server, "PUT", ONE, 409, failure(409)).await;
        expect(&mut server, "GET", ONE, 200, lease("other", "9")).await;
    });
    let lost = kept.expect_err("it is lost");
    assert_eq!(
        lost.to_string(),
        "the leadership is lost: the Lease ops/lead: other holds it now; this process ends, so that only one leads"
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_ends_within_the_deadline() {
    let (leader, mut server) = leader().await;
    let (stop, started) = (CancellationToken::new(), crate::clock::instant());
    let refusing = async {
        expect(&mut server, "PUT", ONE, 500, failure(500)).await;
        loop {
            expect(&mut server, "GET", ONE, 500, failure(500)).await;
        }
    };
    let kept = tokio::select! {
        kept = leader.keep(&stop) => kept,
        never = refusing => never,
    };
    assert!(matches!(
        kept,
        Err(Lost {
            loss: Loss::NotRenewed(_),
            ..
        })
    ));
    assert_eq!(crate::clock::instant() - started, TIMES.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_api_server_hangs_ends_within_the_deadline() {
    let (leader, mut server) = leader().await;
    let (stop, started) = (CancellationToken::new(), crate::clock::instant());
    let (kept, _unanswered) = tokio::join!(leader.keep(&stop), server.next_request());
    assert!(matches!(
        kept,
        Err(Lost {
            loss: Loss::NotRenewed(_),
            ..
        })
    ));
    assert_eq!(crate::clock::instant() - started, TIMES.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_waits_out_an_api_server_that_is_away() {
    let (candidate, mut server, _) = candidate();
    let stop = CancellationToken::new();
    let (leader, ()) = tokio::join!(candidate.acquire(&stop), async {
        expect(&mut server, "GET", ONE, 500, failure(500)).await;
        expect(&mut server, "GET", ONE, 404, failure(404)).await;
        expect(&mut server, "POST", ALL, 201, lease("me", "1")).await;
    });
    assert!(leader.is_some());
}

#[test]
fn two_processes_of_one_pod_have_two_names() {
    assert_eq!(
        identity(Some("operator-0".into()), 1),
        "operator-0_0000000000000001"
    );
    assert_ne!(identity(None, 1), identity(None, 2));
}

#[test]
fn the_api_server_gets_whole_seconds_rounded_up() {
    assert_eq!(
        [0, 1, 1000, 1001].map(|ms| whole_seconds(Duration::from_millis(ms))),
        [1, 1, 1, 2]
    );
}
