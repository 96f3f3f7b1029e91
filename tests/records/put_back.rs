//! Clusters that were put back or rebuilt, and stores that are away at the start.

use std::sync::Arc;
use std::time::Duration;

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{BackendError, HsmBackend};
use managed_hsm_operator::controller::cluster::Watched;
use testplane::{Options, borrow, eventually};

use crate::acts::*;
use crate::operator::{self, Build, Operator, gone, until};

#[tokio::test(flavor = "multi_thread")]
async fn sd23_an_etcd_that_was_put_back_is_seen_and_what_it_forgot_is_known_by_the_record() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("forgot").await;
    let backend = MemoryBackend::new();
    let operator = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    let copy = plane.copy_etcd().expect("a copy");
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;

    time_passes(&plane, &ns, &backend).await;
    plane.restore_etcd(&copy).expect("put back");
    found(&operator, |count| count > 0).await;
    // The object is there again, the proxy is not; the record says deleted, and decides.
    let reason = "ObjectIsDeletedButRecoverable";
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    until(&plane, KEY, Some(&ns), "signing", "Stalled", "True", reason).await;
    let asked = format!("uid: {}", uid(&key));
    recovered(&plane, &ns, "HsmKey", "signing", &asked).await;
    let back = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!((uid(&back), versions(&back)), (uid(&key), versions(&key)));
    gone(&plane, KEY_PROXY, None, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_a_purge_that_an_old_etcd_brings_back_has_to_be_asked_again() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("withdrawn").await;
    let backend = MemoryBackend::new();
    let mut build = Build::new(&plane, backend.clone()).await;
    build.settings.quorum = 2;
    let operator = build.start().await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    ask_purge(&plane, "by-anna", "anna", "DeletedHsmKey", &proxy, &key).await;
    let of = Watched::Purge;
    until(
        &plane,
        of,
        None,
        "by-anna",
        "Stalled",
        "True",
        "QuorumNotReached",
    )
    .await;
    let copy = plane.copy_etcd().expect("a copy");
    delete(&plane, &ns, "purge/by-anna").await;
    time_passes(&plane, &ns, &backend).await;

    plane.restore_etcd(&copy).expect("put back");
    found(&operator, |count| count > 0).await;
    until(&plane, of, None, "by-anna", "Failed", "True", "Expired").await;
    // Dates have whole seconds: what was made in that very second may be of before.
    tokio::time::sleep(Duration::from_secs(3)).await;
    ask_purge(&plane, "by-bert", "bert", "DeletedHsmKey", &proxy, &key).await;
    until(
        &plane,
        of,
        None,
        "by-bert",
        "Stalled",
        "True",
        "QuorumNotReached",
    )
    .await;
    let kept = until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    assert!(kept.data["status"]["phase"].is_null(), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_an_etcd_that_was_put_back_while_nobody_looked_is_seen_at_the_start() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    eventually("the revision is noted", PATIENCE, async || {
        match backend.revision() {
            Ok(0) | Err(_) => Err("not yet".to_owned()),
            Ok(noted) => Ok(noted),
        }
    })
    .await;
    found(&first, |count| count == 0).await;
    let backend = first.crash().await;
    // What a later etcd had said.
    backend.note_revision(1 << 40).expect("noted");
    let next = Operator::start(&plane, backend.clone()).await;
    found(&next, |count| count == 1).await;
    // It is one event, however often it is looked at.
    tokio::time::sleep(Duration::from_secs(12)).await;
    found(&next, |count| count == 1).await;
    assert_eq!(backend.revision(), Ok(1 << 40), "what was seen never falls");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_ledger_that_is_away_at_the_start_is_read_once_it_answers_and_shows_so_until_then() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("late").await;
    let first = Operator::start(&plane, MemoryBackend::new()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    let backend = first.crash().await;

    backend.away(Some(BackendError::Unavailable("it boots".into())));
    let _next = Operator::start(&plane, backend.clone()).await;
    let reason = "BackendUnavailable";
    let asked = format!("{{kind: HsmKey, name: signing, uid: {}}}", uid(&key));
    apply(&plane, &document(&ns, "Recover", "early", &asked)).await;
    until(&plane, HSM, Some(&ns), "safe", "Ready", "False", reason).await;
    let kept = until(&plane, KEY_PROXY, None, &proxy, "Ready", "False", reason).await;
    assert!(kept.data["status"]["recordGeneration"].is_i64(), "it stays");
    let of = Watched::Recover;
    until(&plane, of, Some(&ns), "early", "Ready", "False", reason).await;

    backend.away(None);
    ready(&plane, &ns, HSM, "safe").await;
    until(&plane, of, Some(&ns), "early", "Complete", "True", "").await;
    let back = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&back), versions(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_while_a_ledger_was_not_read_nobody_knows_how_many_were_purged_so_a_request_waits() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("unread").await;
    let (backend, other) = (MemoryBackend::new(), MemoryBackend::new());
    other.away(Some(BackendError::Unavailable("it boots".into())));
    let mut build = Build::new(&plane, backend).await;
    let away = Arc::new(other.clone()) as Arc<dyn HsmBackend>;
    build.backends.insert("other".to_owned(), away);
    build.settings.purge_rate = 60;
    let _operator = build.start().await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    delete(&plane, &ns, "hsmkey/signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    ask_purge(&plane, "early", "anna", "DeletedHsmKey", &proxy, &key).await;
    let of = Watched::Purge;
    until(&plane, of, None, "early", "Ready", "False", "RateLimited").await;

    other.away(None);
    until(&plane, of, None, "early", "Complete", "True", "").await;
    gone(&plane, KEY_PROXY, None, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_rebuilt_cluster_takes_material_over_only_when_it_is_told_whose() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("rebuilt").await;
    let backend = MemoryBackend::new();
    let mut then = Build::new(&plane, backend.clone()).await;
    then.settings.cluster = "the-old-cluster".into();
    let then = then.start().await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    then.crash().await;

    // The same store in another cluster: not its material.
    let stranger = Operator::start(&plane, backend.clone()).await;
    let reason = "ForeignMaterial";
    for (of, name) in [(HSM, "safe"), (KEY, "signing")] {
        let shown = until(&plane, of, Some(&ns), name, "Stalled", "True", reason).await;
        let (_, _, sentence) = operator::condition(&shown, "Stalled").expect("told");
        assert!(
            sentence.contains("--adopt-cluster-id the-old-cluster"),
            "{sentence}"
        );
    }
    assert_eq!(backend.inspect().len(), 2, "nothing of it was touched");
    stranger.crash().await;

    let mut heir = Build::new(&plane, backend.clone()).await;
    heir.settings.adopts = Some("the-old-cluster".into());
    let _heir = heir.start().await;
    let same = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&same), versions(&key));
    delete(&plane, &ns, "hsmkey/signing").await;
    delete(&plane, &ns, "managedhsm/safe").await;
    let proxy = format!("{ns}.safe");
    until(&plane, HSM_PROXY, None, &proxy, "Ready", "True", "").await;
}
