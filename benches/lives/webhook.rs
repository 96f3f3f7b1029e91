//! What the webhook adds to a request, with many soft-deleted keys in the cluster: the same dry runs by a user whom it is asked about, and by one whom it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use managed_hsm_operator::admission::webhook::configuration::configuration;
use managed_hsm_operator::admission::webhook::{PATH, Settings, Webhook, router};
use managed_hsm_operator::clock::Clock;
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::http::{Identity, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use testplane::{Options, Plane, borrow};
use tokio_util::sync::CancellationToken;

use crate::bench::{HSM, KEY, PROXY, api};

const NAMESPACE: &str = "asked";
const SPARED: &str = "spared";
const AT_ONCE: usize = 32;

pub async fn run(deleted: usize, requests: usize) {
    let plane = borrow(Options::without_controllers()).await;
    let stop = CancellationToken::new();
    fill(&plane, deleted).await;
    serve(&plane, stop.clone()).await;
    let masters = ["system:masters"];
    let asked = plane.client_as("asked", &masters).await;
    let spared = plane.client_as(SPARED, &masters).await;
    println!(
        "\nA dry run with {deleted} soft-deleted keys in the cluster, {requests} of each in turns, one at a time; goal: the webhook's share of the 99th under 10 ms:\n"
    );
    println!(
        "| request                                 | without: p50 | p99 ms | with webhook: p50 | p99 ms | more: p50 | p99 ms |"
    );
    println!(
        "|:----------------------------------------|-------------:|-------:|------------------:|-------:|----------:|-------:|"
    );
    for (what, act) in ACTS {
        let mut took = [Vec::new(), Vec::new()];
        // The first ones find connections to make and caches to fill.
        for turn in 0..requests + 20 {
            let mut each = [(0, &spared), (1, &asked)];
            each.rotate_left(turn % 2);
            for (which, client) in each {
                let began = Instant::now();
                act_on(client, act).await;
                if turn >= 20 {
                    took[which].push(began.elapsed());
                }
            }
        }
        shown(what, took);
    }
    stop.cancel();
}

#[derive(Clone, Copy)]
enum Act {
    Create,
    CreateNamed,
    CreateReserved,
    Delete,
    Purge,
}

const ACTS: [(&str, Act); 5] = [
    ("create a key", Act::Create),
    ("create a key with another keyName", Act::CreateNamed),
    (
        "create under a reserved name (refused)",
        Act::CreateReserved,
    ),
    ("delete a key", Act::Delete),
    ("create a Purge", Act::Purge),
];

async fn act_on(client: &Client, act: Act) {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let create = async |of: Watched, made: DynamicObject| {
        let done = api(client, of, NAMESPACE).create(&dry, &made).await;
        done.map(drop)
    };
    let done = match act {
        Act::Create => create(KEY, key("new", None)).await,
        Act::CreateNamed => create(KEY, key("new", Some("another"))).await,
        Act::CreateReserved => match create(KEY, key("key-7", None)).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => other,
        },
        Act::Delete => {
            let dry = DeleteParams::default().dry_run();
            api(client, KEY, NAMESPACE)
                .delete("live", &dry)
                .await
                .map(drop)
        }
        Act::Purge => {
            let spec = json!({"kind": "DeletedHsmKey", "name": format!("{NAMESPACE}.key-7"), "uid": "uid-7", "requestedBy": "it"});
            create(
                Watched::Purge,
                object(Watched::Purge, "now", json!({ "spec": spec })),
            )
            .await
        }
    };
    done.expect("taken");
}

fn shown(what: &str, took: [Vec<Duration>; 2]) {
    let [without, with] = took.map(|mut all| {
        all.sort_unstable();
        let at =
            |part: usize| all[(all.len() * part / 100).min(all.len() - 1)].as_secs_f64() * 1000.0;
        (at(50), at(99))
    });
    println!(
        "| {what:<39} | {:>12.1} | {:>6.1} | {:>17.1} | {:>6.1} | {:>9.1} | {:>6.1} |",
        without.0,
        without.1,
        with.0,
        with.1,
        with.0 - without.0,
        with.1 - without.1
    );
}

fn object(of: Watched, name: &str, data: Value) -> DynamicObject {
    let mut made = DynamicObject::new(name, &of.resource());
    made.data = data;
    made
}

fn key(name: &str, key_name: Option<&str>) -> DynamicObject {
    let mut spec = json!({"hsm": "safe", "keyType": "EC", "curve": "P-256"});
    if let Some(said) = key_name {
        spec["keyName"] = json!(said);
    }
    object(KEY, name, json!({ "spec": spec }))
}

/// As an operator would have left it: no policy stands here, so anybody may write it.
async fn fill(plane: &Plane, deleted: usize) {
    let client = plane.client().await;
    plane
        .kubectl(&["create", "namespace", NAMESPACE], "")
        .await
        .ok();
    let parameters = PostParams::default();
    for (of, made) in [
        (HSM, object(HSM, "safe", json!({"spec": {}}))),
        (KEY, key("live", None)),
    ] {
        let api = api(&client, of, NAMESPACE);
        let made = api.create(&parameters, &made).await.expect("created");
        let status = json!({"status": {"hsmId": "h", "observedGeneration": 1}});
        let name = made.metadata.name.expect("a name");
        let shown = api
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await;
        shown.expect("a status");
    }
    let proxies = api(&client, PROXY, NAMESPACE);
    futures::stream::iter(0..deleted)
        .for_each_concurrent(AT_ONCE, async |number| {
            let name = format!("key-{number}");
            let spec = json!({
                "origin": {"namespace": NAMESPACE, "namespaceUid": "n", "name": name, "uid": format!("uid-{number}")},
                "backend": "default", "hsmId": "h", "hsm": "safe", "keyName": name, "versions": [],
                "deletionTime": "2026-02-20T16:00:00Z", "scheduledPurgeTime": "2026-05-21T16:00:00Z", "retentionDays": 90,
                "purgeProtection": false, "recoveryLevel": "Recoverable+Purgeable",
                "snapshot": {"apiVersion": "managedhsm.dev/v1alpha1", "spec": {"hsm": "safe", "keyType": "EC", "curve": "P-256"}},
            });
            let made = object(PROXY, &format!("{NAMESPACE}.{name}"), json!({ "spec": spec }));
            proxies.create(&PostParams::default(), &made).await.expect("created");
        })
        .await;
}

/// In this process, as the operator serves it.
async fn serve(plane: &Plane, stop: CancellationToken) {
    let mut own = CertificateParams::default();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(own, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = certificate.signed_by(&key, &authority).expect("signed");
    let identity = Identity::default();
    let set = identity.set(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    set.expect("an identity");

    let settings = Settings {
        undeletable: false,
        day: chrono::TimeDelta::days(1),
    };
    let mut config = plane.config().await;
    config.default_retry = false;
    let client = Client::try_from(config).expect("a client");
    let webhook = router(Arc::new(Webhook::new(
        client.clone(),
        Clock::real(),
        settings,
    )));
    let server = Server::bind(([127, 0, 0, 1], 0).into())
        .await
        .expect("a port");
    let port = server.address().port();
    tokio::spawn(server.serve_tls(webhook, identity, stop));

    let metadata = ObjectMeta {
        name: Some("bench".to_owned()),
        ..ObjectMeta::default()
    };
    let to = WebhookClientConfig {
        url: Some(format!("https://127.0.0.1:{port}{PATH}")),
        ca_bundle: Some(ByteString(authority.pem().into_bytes())),
        service: None,
    };
    let wanted = configuration(metadata, SPARED, to);
    let made = Api::all(client)
        .create(&PostParams::default(), &wanted)
        .await;
    made.expect("a configuration");
    tokio::time::sleep(Duration::from_secs(2)).await;
}
