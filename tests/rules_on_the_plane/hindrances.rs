//! What hinders a deletion or a recovery from outside: quotas, policies, other people's finalizers. Everything waits and goes on by itself.

use std::time::Duration;

use crate::operator::condition;
use crate::scene::{EC, HSM, KEY, KEY_PROXY, RECOVER, Scene, fingerprints, manifest, origin, uid};

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_quota_in_the_way_makes_the_recover_wait_and_the_proxy_stays_retained() {
    let scene = Scene::with_key("quota").await;
    let key = scene.ready(KEY, "signing").await;
    let proxy = scene.deleted(KEY, "signing").await;
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {count/hsmkeys.managedhsm.dev: '0'}}\n";
    scene.apply(quota).await;
    // The controller that counts finds new kinds only now and then.
    let none = r#"{"count/hsmkeys.managedhsm.dev":"0"}"#;
    let counted = format!(r#"{{"status":{{"hard":{none},"used":{none}}}}}"#);
    let patch = [
        "patch",
        "resourcequota",
        "none",
        "--subresource=status",
        "--type=merge",
        "-p",
        &counted,
    ];
    scene.kubectl(&patch, "").await.ok();
    testplane::eventually("the quota counts", Duration::from_secs(30), async || {
        let tried = scene
            .kubectl(
                &["apply", "--dry-run=server", "-f", "-"],
                &manifest("HsmKey", "tried", EC),
            )
            .await;
        match tried.stderr.contains("exceeded quota") {
            true => Ok(()),
            false => Err(format!("{}{}", tried.stdout, tried.stderr)),
        }
    })
    .await;
    scene
        .ask_back("waits", "HsmKey", "signing", &origin(&proxy))
        .await;
    let waits = scene
        .until(RECOVER, "waits", "Ready", "False", "CreateRefused")
        .await;
    let (_, _, sentence) = condition(&waits, "Ready").expect("told");
    assert!(sentence.contains("exceeded quota"), "{sentence}");
    assert_eq!(condition(&waits, "Failed"), None);
    // It is tried again only now and then: going back is no reason for the next try.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = scene.retained(KEY_PROXY, "signing").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = scene.retained(KEY_PROXY, "signing").await;
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
    scene
        .kubectl(&["delete", "resourcequota", "none"], "")
        .await
        .ok();
    scene.until(RECOVER, "waits", "Complete", "True", "").await;
    let back = scene.ready(KEY, "signing").await;
    assert_eq!(fingerprints(&back), fingerprints(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_a_recover_of_what_is_still_terminating_waits_for_its_end() {
    let scene = Scene::with_key("finalizer").await;
    let key = scene.ready(KEY, "signing").await;
    let patch = async |finalizers: &str| {
        let change = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        let args = ["patch", "hsmkey", "signing", "--type=merge", "-p", &change];
        scene.kubectl(&args, "").await.ok();
    };
    patch(r#"["managedhsm.dev/soft-delete","example.com/keep"]"#).await;
    scene
        .kubectl(&["delete", "hsmkey", "signing", "--wait=false"], "")
        .await
        .ok();
    scene.retained(KEY_PROXY, "signing").await;
    scene
        .ask_back("early", "HsmKey", "signing", &uid(&key))
        .await;
    let waits = scene
        .until(RECOVER, "early", "Reconciling", "True", "")
        .await;
    assert_eq!(condition(&waits, "Failed"), None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let still = scene.get(KEY, "signing").await.expect("theirs is on it");
    assert_eq!(uid(&still), uid(&key));
    patch("null").await;
    scene.until(RECOVER, "early", "Complete", "True", "").await;
    let back = scene.ready(KEY, "signing").await;
    assert_ne!(uid(&back), uid(&key));
    assert_eq!(fingerprints(&back), fingerprints(&key));
    let finalizers = back.metadata.finalizers.unwrap_or_default();
    assert_eq!(finalizers, ["managedhsm.dev/soft-delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sd03_an_object_whose_proxy_cannot_be_written_is_kept_until_it_can() {
    let scene = Scene::with_key("policy").await;
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {ns}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [managedhsm.dev], apiVersions: ['*'], operations: [CREATE], resources: [deletedhsmkeys]}}
  validations:
  - {{expression: \"!object.metadata.name.startsWith('{ns}.')\", message: no proxies here}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {ns}}}
spec: {{policyName: {ns}, validationActions: [Deny]}}
",
        ns = scene.ns
    );
    scene
        .plane
        .kubectl(&["apply", "-f", "-"], &policy)
        .await
        .ok();
    // It takes the API server some time to obey.
    let tried = format!(
        "apiVersion: managedhsm.dev/v1alpha1
kind: DeletedHsmKey
metadata: {{name: {0}.tried}}
spec: {{origin: {{namespace: {0}, namespaceUid: b, name: tried, uid: d}}, backend: e, hsmId: f, hsm: safe, keyName: c, versions: [], deletionTime: '2026-01-01T00:00:00Z', purgeProtection: false, recoveryLevel: Recoverable}}",
        scene.ns
    );
    testplane::eventually(
        "the policy is obeyed",
        Duration::from_secs(30),
        async || {
            let create = ["create", "--dry-run=server", "-f", "-"];
            let answer = scene.plane.kubectl(&create, &tried).await;
            match answer.stderr.contains("no proxies here") {
                true => Ok(()),
                false => Err(format!("{}{}", answer.stdout, answer.stderr)),
            }
        },
    )
    .await;

    scene
        .kubectl(&["delete", "hsmkey", "signing", "--wait=false"], "")
        .await
        .ok();
    let kept = scene
        .until(KEY, "signing", "Stalled", "True", "ProxyRefused")
        .await;
    let (_, _, sentence) = condition(&kept, "Stalled").expect("told");
    assert!(sentence.contains("no proxies here"), "{sentence}");
    assert_eq!(scene.get(KEY_PROXY, "signing").await, None);
    let both = format!(
        "validatingadmissionpolicy/{0},validatingadmissionpolicybinding/{0}",
        scene.ns
    );
    for of in both.split(',') {
        scene.plane.kubectl(&["delete", of], "").await.ok();
    }
    scene.gone(KEY, "signing").await;
    let proxy = scene.retained(KEY_PROXY, "signing").await;
    assert_eq!(origin(&proxy), uid(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd22_in_a_namespace_made_anew_create_or_recover_waits_for_a_recover_that_accepts_it() {
    let scene = Scene::with_hsm("anew", "{createMode: CreateOrRecover}").await;
    let whole = ["delete", "namespace", &scene.ns, "--timeout=60s"];
    scene.plane.kubectl(&whole, "").await.ok();
    let hsm = scene.retained(crate::scene::HSM_PROXY, "safe").await;
    scene
        .plane
        .kubectl(&["create", "namespace", &scene.ns], "")
        .await
        .ok();
    let git = manifest("ManagedHsm", "safe", "{createMode: CreateOrRecover}");
    scene.apply(&git).await;
    let sentence = scene.stalled(HSM, "safe", "NamespaceChanged").await;
    let namespace = scene.namespace().await;
    assert!(sentence.contains(&uid(&namespace)), "{sentence}");
    let (_, rest) = sentence
        .split_once("kubectl apply -f - <<<'")
        .expect("the way out");
    scene.apply(rest.split_once('\'').expect("its end").0).await;
    let back = scene.ready(HSM, "safe").await;
    assert_eq!(back.data["status"]["hsmId"], hsm.data["spec"]["hsmId"]);
}
