//! How many must ask, and how many purges on request an hour.

use managed_hsm_operator::backend::HsmBackend;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::controller::cluster::Watched;
use testplane::{Borrowed, Options, Plane, borrow, eventually};

use crate::operator::{Build, Operator, SOON, condition, get, gone, until};
use crate::scene::{EC, HSM, KEY, KEY_PROXY, PURGE, manifest};

/// An operator with settings of its own, and in the namespace `team` the HSM `safe` with so many deleted keys.
async fn with_deleted_keys(
    count: usize,
    settings: impl FnOnce(&mut Build),
) -> (Borrowed, Operator, Vec<String>) {
    let plane = borrow(Options::default()).await;
    let mut build = Build::new(&plane, MemoryBackend::new()).await;
    settings(&mut build);
    let operator = build.start().await;
    plane
        .kubectl(&["create", "namespace", "team"], "")
        .await
        .ok();
    let keys = (0..count).map(|number| manifest("HsmKey", &format!("key-{number}"), EC));
    let all = manifest("ManagedHsm", "safe", "{}") + &keys.collect::<String>();
    plane
        .kubectl(&["-n", "team", "apply", "-f", "-"], &all)
        .await
        .ok();
    let mut uids = Vec::new();
    for number in 0..count {
        let name = format!("key-{number}");
        let key = until(&plane, KEY, Some("team"), &name, "Ready", "True", "").await;
        uids.push(key.metadata.uid.expect("a uid"));
    }
    plane
        .kubectl(&["-n", "team", "delete", "hsmkey", "--all"], "")
        .await
        .ok();
    for number in 0..count {
        let name = format!("team.key-{number}");
        eventually("the deletion is settled", SOON, async || {
            match get(&plane, KEY_PROXY, None, &name).await {
                Some(found) if found.data["status"]["recordGeneration"].is_i64() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    (plane, operator, uids)
}

async fn ask(plane: &Plane, purge: &str, number: usize, uid: &str, user: &str) {
    let spec = format!(
        "{{kind: DeletedHsmKey, name: team.key-{number}, uid: {uid}, requestedBy: '{user}'}}"
    );
    plane
        .kubectl(&["apply", "-f", "-"], &manifest("Purge", purge, &spec))
        .await
        .ok();
}

async fn waits(plane: &Plane, purge: &str, reason: &str) -> String {
    let found = until(plane, PURGE, None, purge, "Ready", "False", reason).await;
    condition(&found, "Ready").expect("a reason").2
}

#[tokio::test(flavor = "multi_thread")]
async fn sd24_a_purge_happens_when_enough_different_people_asked_and_service_accounts_are_no_people()
 {
    let (plane, _operator, uids) = with_deleted_keys(1, |build| build.settings.quorum = 3).await;
    ask(&plane, "by-anna", 0, &uids[0], "anna").await;
    let sentence = waits(&plane, "by-anna", "QuorumNotReached").await;
    assert!(sentence.contains("1 of 3"), "{sentence}");
    ask(&plane, "anna-again", 0, &uids[0], "anna").await;
    waits(&plane, "anna-again", "QuorumNotReached").await;
    ask(
        &plane,
        "by-robot",
        0,
        &uids[0],
        "system:serviceaccount:team:robot",
    )
    .await;
    waits(&plane, "by-robot", "QuorumNotReached").await;
    assert!(get(&plane, KEY_PROXY, None, "team.key-0").await.is_some());

    // What is withdrawn counts no more.
    ask(&plane, "by-carl", 0, &uids[0], "carl").await;
    says(&plane, "by-anna", "2 of 3").await;
    plane
        .kubectl(&["delete", "purge", "by-carl"], "")
        .await
        .ok();
    says(&plane, "by-anna", "1 of 3").await;
    ask(&plane, "by-bert", 0, &uids[0], "bert").await;
    says(&plane, "by-anna", "2 of 3").await;
    assert!(get(&plane, KEY_PROXY, None, "team.key-0").await.is_some());

    ask(&plane, "by-dora", 0, &uids[0], "dora").await;
    for purge in ["by-anna", "by-bert", "by-dora"] {
        let done = until(&plane, PURGE, None, purge, "Complete", "True", "").await;
        assert_eq!(done.data["status"]["approvals"]["needed"], 3);
    }
    gone(&plane, KEY_PROXY, None, "team.key-0").await;
}

async fn says(plane: &Plane, purge: &str, words: &str) {
    eventually(words, SOON, async || {
        let sentence = waits(plane, purge, "QuorumNotReached").await;
        sentence.contains(words).then_some(()).ok_or(sentence)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_what_is_over_the_rate_waits_and_can_still_be_withdrawn() {
    let (plane, operator, uids) =
        with_deleted_keys(13, |build| build.settings.purge_rate = 1).await;
    for (number, uid) in uids.iter().enumerate() {
        ask(&plane, &format!("purge-{number}"), number, uid, "anna").await;
    }
    // The bucket holds ten; with one an hour three of them wait.
    let (done, limited) = eventually("ten are done, three wait", SOON, async || {
        let mut done = 0;
        let mut limited = Vec::new();
        for number in 0..uids.len() {
            let name = format!("purge-{number}");
            let found = get(&plane, Watched::Purge, None, &name)
                .await
                .expect("it is there");
            match condition(&found, "Ready").map(|ready| ready.1).as_deref() {
                Some("Complete") => done += 1,
                Some("RateLimited") => limited.push((number, name)),
                _ => {}
            }
        }
        let all = done + limited.len() == uids.len();
        all.then(|| (done, limited.clone()))
            .ok_or(format!("{done} {limited:?}"))
    })
    .await;
    assert_eq!((done, limited.len()), (10, 3));
    let (number, name) = &limited[0];
    plane.kubectl(&["delete", "purge", name], "").await.ok();
    let proxy = get(&plane, KEY_PROXY, None, &format!("team.key-{number}")).await;
    assert!(proxy.is_some(), "withdrawn: nothing was purged");

    // A restart does not fill the bucket. What waits goes on by itself when there is room: at 1800 an hour, one each two seconds.
    let backend = operator.crash().await;
    let mut build = Build::new(&plane, backend).await;
    build.settings.purge_rate = 1;
    let slow = build.start().await;
    let (number, second) = &limited[1];
    let sentence = waits(&plane, second, "RateLimited").await;
    assert!(sentence.contains("an hour"), "{sentence}");
    let proxy = get(&plane, KEY_PROXY, None, &format!("team.key-{number}")).await;
    assert!(proxy.is_some_and(|found| found.data["status"]["phase"].is_null()));

    let mut build = Build::new(&plane, slow.crash().await).await;
    build.settings.purge_rate = 1800;
    let _operator = build.start().await;
    for (_, name) in &limited[1..] {
        until(&plane, PURGE, None, name, "Complete", "True", "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd23_what_was_purged_is_remembered_for_its_history_and_as_long_as_a_resource_of_it_stands()
{
    let history = |build: &mut Build| build.settings.history = chrono::Duration::seconds(3);
    let (plane, operator, uids) = with_deleted_keys(1, history).await;
    let records = || operator.backend.records().expect("the ledger").len();
    ask(&plane, "purge-key", 0, &uids[0], "anna").await;
    gone(&plane, KEY_PROXY, None, "team.key-0").await;
    // The Purge is the receipt, and goes with the tombstone when its history is over.
    gone(&plane, PURGE, None, "purge-key").await;
    eventually("only the HSM's record is left", SOON, async || {
        (records() == 1)
            .then_some(())
            .ok_or(format!("{}", records()))
    })
    .await;

    // A key that stands in a purged HSM keeps both records.
    let key = manifest("HsmKey", "stands", EC);
    plane
        .kubectl(&["-n", "team", "apply", "-f", "-"], &key)
        .await
        .ok();
    until(&plane, KEY, Some("team"), "stands", "Ready", "True", "").await;
    let hsm = until(&plane, HSM, Some("team"), "safe", "Ready", "True", "").await;
    plane
        .kubectl(&["-n", "team", "delete", "managedhsm", "safe"], "")
        .await
        .ok();
    let spec = format!(
        "{{kind: DeletedManagedHsm, name: team.safe, uid: {}, requestedBy: anna}}",
        hsm.metadata.uid.expect("a uid")
    );
    let purge = manifest("Purge", "purge-hsm", &spec);
    plane.kubectl(&["apply", "-f", "-"], &purge).await.ok();
    until(
        &plane,
        KEY,
        Some("team"),
        "stands",
        "Ready",
        "False",
        "MaterialDestroyed",
    )
    .await;
    gone(&plane, PURGE, None, "purge-hsm").await;
    assert_eq!(records(), 2, "the key's resource still stands");
    plane
        .kubectl(&["-n", "team", "delete", "hsmkey", "stands"], "")
        .await
        .ok();
    eventually("nothing is remembered", SOON, async || {
        (records() == 0)
            .then_some(())
            .ok_or(format!("{}", records()))
    })
    .await;
}
