//! The certificates: changed under load without a moment of mismatch, taken from files, and what comes without one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::client::Body;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use testplane::eventually;

use super::scene::{Authority, HSM, NAME, SOON, Scene, recover};
use crate::process::{Process, webhook_port};

const SECRET: &str = "managed-hsm-operator-webhook";

/// A connection of its own to the webhook, that trusts these authorities and no other, as a fresh API server has.
fn connection(port: u16, bundle: &[u8]) -> Client {
    let trusted: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
    let trusted = trusted
        .expect("PEM")
        .iter()
        .map(|one| one.to_vec())
        .collect();
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse().expect("a URL"));
    config.root_cert = Some(trusted);
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

async fn post(client: &Client, path: &str, body: Vec<u8>) -> Result<(u16, String), String> {
    let request = http::Request::post(path)
        .body(Body::from(body))
        .expect("a request");
    let answer = client
        .send(request)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect_bytes()
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn review(request: &Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
        .into_bytes()
}

fn request(group: &str, resource: &str, operation: &str, object: &Value) -> Value {
    json!({"uid": "review-1", "kind": {"group": group, "version": "v1alpha1", "kind": "It"},
        "resource": {"group": group, "version": "v1alpha1", "resource": resource},
        "name": "probe", "namespace": "default", "operation": operation,
        "userInfo": {"username": "admin"}, "object": object, "dryRun": false})
}

/// What the API server and each connection of its own get, again and again.
struct Load {
    asked: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

impl Load {
    fn count(&self, answer: Result<(), String>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = answer {
            self.failed.lock().expect("whole").push(why);
        }
    }
}

/// Through the API server: the word of the webhook is in the answer.
async fn through(client: &Client) -> Result<(), String> {
    let path = "/apis/managedhsm.dev/v1alpha1/namespaces/default/recovers?dryRun=All";
    let object = recover("default", HSM, "probe", "nobody").to_string();
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request
        .body(Body::from(object.into_bytes()))
        .expect("a request");
    let answer = client
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let told = answer.headers().get_all("warning").iter();
    let told: Vec<_> = told.filter_map(|word| word.to_str().ok()).collect();
    if answer.status().is_success() && told.iter().any(|word| word.contains("There is no deleted"))
    {
        return Ok(());
    }
    Err(format!("{} with {told:?}", answer.status()))
}

/// Afresh, by what the configuration trusts at this moment.
async fn afresh(scene: &Scene, port: u16) -> Result<(), String> {
    let configuration = scene.configurations().await.get(NAME).await.expect("a GET");
    let webhooks = configuration.webhooks.expect("webhooks");
    let bundle = webhooks[0]
        .client_config
        .ca_bundle
        .clone()
        .expect("a bundle");
    let object = recover("default", HSM, "probe", "nobody");
    let asked = review(&request("managedhsm.dev", "recovers", "CREATE", &object));
    let (status, text) = post(&connection(port, &bundle.0), "/review", asked).await?;
    if status == 200 && text.contains("There is no deleted ManagedHsm probe") {
        return Ok(());
    }
    Err(format!("{status}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn through_two_changes_of_the_certificate_every_request_is_answered() {
    const LIFE: [&str; 2] = ["--webhook-cert-life", "24s"];
    let scene = Scene::new(&LIFE).await;
    // Another replica, which does not lead: it serves the same.
    let other = tempfile::tempdir().expect("a folder");
    let flags = [LIFE[0], LIFE[1], "--webhook-addr", "127.0.0.1:0"];
    let _standby = Process::start(&scene.plane, other.path(), &flags);
    let port = eventually("the other one serves", SOON, async || {
        webhook_port(&super::scene::read_log(other.path()))
            .ok_or_else(|| super::scene::read_log(other.path()))
    })
    .await;
    eventually("the other one has the certificate", SOON, async || {
        afresh(&scene, port).await
    })
    .await;

    let secrets: Api<Secret> = Api::namespaced(scene.plane.client().await, "default");
    let client = scene.plane.client().await;
    let load = Load {
        asked: AtomicUsize::new(0),
        failed: Default::default(),
    };
    let watch = async {
        let mut certificates = BTreeSet::new();
        while certificates.len() < 3 {
            let secret = secrets.get(SECRET).await.expect("a GET");
            certificates.insert(secret.data.expect("data")["tls.crt"].0.clone());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // What came after the second change too.
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    let asking = async {
        loop {
            load.count(through(&client).await);
            load.count(afresh(&scene, scene.port).await);
            load.count(afresh(&scene, port).await);
        }
    };
    tokio::select! {
        () = watch => {}
        () = asking => {}
    }
    let (asked, failed) = (
        load.asked.into_inner(),
        load.failed.into_inner().expect("whole"),
    );
    assert!(asked > 60, "only {asked} were asked");
    assert!(
        failed.is_empty(),
        "{} of {asked} failed: {failed:#?}\n{}",
        failed.len(),
        scene.log()
    );
    // What is kept: a key that nobody logged, and no authority's.
    let secret = secrets
        .get(SECRET)
        .await
        .expect("a GET")
        .data
        .expect("data");
    assert!(!scene.log().contains("PRIVATE KEY"));
    assert!(!String::from_utf8_lossy(&secret["ca.crt"].0).contains("PRIVATE KEY"));
}

/// Killed again and again while certificates change, each start goes on from what it sees, and what it comes to is trusted.
#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_the_certificate_is_changed_all_the_same() {
    let mut scene = Scene::new(&["--webhook-cert-life", "15s"]).await;
    let secrets: Api<Secret> = Api::namespaced(scene.plane.client().await, "default");
    let kept = async || {
        secrets
            .get(SECRET)
            .await
            .expect("a GET")
            .data
            .expect("data")
    };
    let first = kept().await["tls.crt"].0.clone();
    let mut lives = 0;
    while kept().await["tls.crt"].0 == first || lives < 8 {
        scene.process.as_mut().expect("it runs").kill();
        scene.start().await;
        // Long enough for a step, or for half of one.
        tokio::time::sleep(Duration::from_millis(300 + 400 * (lives % 6))).await;
        lives += 1;
        assert!(lives < 60, "it never changes: {}", scene.log());
    }
    scene.answers().await;
    // The lives were so short that a certificate may have run out meanwhile; then another one is on its way.
    let trusted = async || afresh(&scene, scene.port).await;
    eventually("it is trusted", SOON, trusted).await;
    let lost = kept().await;
    // The Secret lost: another one. Its authority is trusted a moment before its certificate is served, and who connects anew in there goes without advice.
    secrets
        .delete(SECRET, &Default::default())
        .await
        .expect("deleted");
    let made = eventually("another Secret", SOON, async || {
        let found = secrets.get_opt(SECRET).await.expect("a GET");
        found.ok_or_else(|| scene.log())
    })
    .await;
    eventually("it is trusted", SOON, trusted).await;
    // And the lost one is not any more: so a key that leaked is revoked.
    let configuration = scene.configurations().await.get(NAME).await.expect("a GET");
    let webhooks = configuration.webhooks.expect("webhooks");
    let bundle = webhooks[0]
        .client_config
        .ca_bundle
        .clone()
        .expect("a bundle")
        .0;
    let (bundle, lost) = (
        String::from_utf8_lossy(&bundle),
        String::from_utf8_lossy(&lost["ca.crt"].0),
    );
    let authorities: Vec<_> = lost
        .split_inclusive("-----END CERTIFICATE-----")
        .filter(|one| one.contains("BEGIN"))
        .collect();
    assert!(!authorities.is_empty());
    assert!(
        !authorities.iter().any(|one| bundle.contains(one.trim())),
        "{bundle}"
    );
    assert!(made.immutable.is_none());
    // Nor does a key that fits no certificate stay there.
    let broken = json!({"stringData": {"tls.key": "nonsense"}});
    let broken = kube::api::Patch::Merge(broken);
    let done = secrets.patch(SECRET, &Default::default(), &broken).await;
    done.expect("written over");
    scene.process.as_mut().expect("it runs").kill();
    scene.start().await;
    scene.answers().await;
    assert!(String::from_utf8_lossy(&kept().await["tls.key"].0).contains("PRIVATE KEY"));
    // And the manifests applied again, which name no bundle, leave it in its place.
    scene.register(scene.port, None).await;
    afresh(&scene, scene.port).await.expect("trusted");
    // Who undoes what it writes is told of, and not fought as fast as it can.
    let nothing = kube::api::Patch::Merge(json!({"webhooks": []}));
    let all = scene.configurations().await;
    all.patch(NAME, &Default::default(), &nothing)
        .await
        .expect("taken");
    eventually("it is told", SOON, async || {
        let log = scene.log();
        match log.contains("does not keep the caBundle that is written to it") {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_from_files_is_served_and_read_again_when_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--webhook-cert-dir", &folder.path().display().to_string()];
    let (first, second) = (Authority::new(), Authority::new());
    // Nothing is there yet: it waits for it.
    let scene = Scene::unregistered(&flags).await;
    first.write(folder.path());
    scene.register(scene.port, Some(&first.bundle)).await;
    scene.answers().await;

    second.write(folder.path());
    scene.register(scene.port, Some(&second.bundle)).await;
    scene.answers().await;

    // What cannot be used leaves the last one in its place, and is told.
    std::fs::write(folder.path().join("tls.crt"), "nonsense").expect("written");
    eventually("it is told", SOON, async || {
        let log = scene.log();
        if log.contains("cannot be served, so the webhook goes on with what it had") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    assert!(scene.asked().await);
    let secrets: Api<Secret> = Api::namespaced(scene.plane.client().await, "default");
    assert!(
        secrets.get_opt(SECRET).await.expect("a GET").is_none(),
        "somebody else's affair"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_review_gets_a_clear_answer_and_nothing_comes_without_tls() {
    let scene = Scene::new(&[]).await;
    let secrets: Api<Secret> = Api::namespaced(scene.plane.client().await, "default");
    let secret = secrets
        .get(SECRET)
        .await
        .expect("a GET")
        .data
        .expect("data");
    let client = connection(scene.port, &secret["ca.crt"].0);
    let review_of =
        |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind}).to_string();
    let wrong = [
        (b"hello".to_vec(), 400, "expected value"),
        (Vec::new(), 400, "EOF"),
        (
            review_of("admission.k8s.io/v1", "AdmissionReview").into_bytes(),
            400,
            "it has no request",
        ),
        (
            review_of("v1", "Pod").into_bytes(),
            400,
            "it says Pod of v1",
        ),
        (
            review_of("admission.k8s.io/v1beta1", "AdmissionReview").into_bytes(),
            400,
            "it says AdmissionReview of admission.k8s.io/v1beta1",
        ),
        (review(&json!({"uid": 7})), 400, "invalid type"),
        (vec![b' '; (4 << 20) + 1], 413, "length limit"),
    ];
    for (body, status, words) in wrong {
        let begins: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        let (got, text) = post(&client, "/review", body).await.expect("an answer");
        assert_eq!(got, status, "{begins}: {text}");
        assert!(
            text.starts_with("This is no AdmissionReview") && text.contains(words),
            "{begins}: {text}"
        );
    }
    // Much more is not even read to its end.
    let huge = post(&client, "/review", vec![b' '; 64 << 20]).await;
    assert!(huge.is_err() || huge.is_ok_and(|(status, _)| status == 413));
    let (status, _) = post(&client, "/other", Vec::new())
        .await
        .expect("an answer");
    assert_eq!(status, 404);

    // What it knows nothing of, and objects that no schema would let through, are let through.
    let asked = review(&request("", "pods", "CREATE", &json!({"metadata": {}})));
    let (status, text) = post(&client, "/review", asked).await.expect("an answer");
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["uid"], "review-1");
    let told = "managed-hsm-operator's webhook has nothing to say of Create of pods";
    assert!(
        answer["response"]["warnings"][0]
            .as_str()
            .is_some_and(|word| word.starts_with(told)),
        "{text}"
    );
    for resource in ["managedhsms", "hsmkeys", "recovers", "purges"] {
        for operation in ["CREATE", "UPDATE", "DELETE", "CONNECT"] {
            for object in [
                json!({"metadata": {}}),
                json!({"metadata": {"name": "x"}, "spec": 7}),
                Value::Null,
            ] {
                let asked = review(&request("managedhsm.dev", resource, operation, &object));
                let (status, text) = post(&client, "/review", asked).await.expect("an answer");
                assert_eq!(status, 200, "{text}");
                assert!(
                    text.contains("\"allowed\":true"),
                    "{resource} {operation} {object}: {text}"
                );
            }
        }
    }
    assert!(scene.asked().await, "it lives");

    // Without TLS there is no HTTP at all.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", scene.port))
        .await
        .expect("it listens");
    plain
        .write_all(b"POST /review HTTP/1.1\r\nHost: it\r\nContent-Length: 0\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    _ = plain.read_to_end(&mut answer).await;
    assert!(
        !String::from_utf8_lossy(&answer).contains("HTTP"),
        "{answer:?}"
    );
    // Nor for one who trusts another.
    let other = connection(scene.port, Authority::new().bundle.as_bytes());
    post(&other, "/review", Vec::new())
        .await
        .expect_err("a certificate that is not trusted");
}
