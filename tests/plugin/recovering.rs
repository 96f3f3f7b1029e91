//! What is deleted is listed, comes back, and is explained; each wrong name gets a sentence.

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use serde_json::{Value, json};
use testplane::Options;

use crate::scene::{DONE, NOT_ENDED, NOT_FOUND, REFUSED, Scene, USAGE};
use crate::user::material;

#[tokio::test(flavor = "multi_thread")]
async fn sd19_what_is_deleted_is_listed_and_comes_back_the_same_by_its_name_alone() {
    let scene = Scene::new("back").await;
    let ns = scene.namespace().to_owned();
    scene
        .hsm(&["list-deleted"])
        .await
        .says(DONE, "Nothing is deleted in the namespace back.");
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    let uid = scene.delete(Kind::Key, &key).await;

    let listed = scene.hsm(&["list-deleted"]).await.result();
    let line = listed.lines().nth(1).expect("one line");
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells[..3], ["HsmKey", "signing", "payments"], "{listed}");
    assert_eq!(cells[5..], ["29d", "yes", "yes"], "{listed}");
    assert!(
        !listed.contains('\u{1b}'),
        "colours only at a terminal: {listed:?}"
    );
    let wide = scene
        .hsm(&["list-deleted", "-A", "-o", "wide"])
        .await
        .result();
    assert!(
        wide.starts_with("NAMESPACE") && wide.contains(&uid) && wide.contains("Retained"),
        "{wide}"
    );
    let named = scene.hsm(&["list-deleted", "-o", "name"]).await.result();
    assert_eq!(
        named,
        format!("deletedhsmkey.managedhsm.dev/{ns}.signing\n")
    );
    let json: Value =
        serde_json::from_str(&scene.hsm(&["list-deleted", "-o", "json"]).await.result())
            .expect("JSON");
    assert_eq!(json["items"][0]["spec"]["origin"]["uid"], uid);
    assert_eq!(json["items"][0]["kind"], "DeletedHsmKey");
    let none = scene.hsm(&["list-deleted", "-l", "app=other"]).await;
    none.says(DONE, "Nothing with these labels");
    let chosen = scene
        .hsm(&["list-deleted", "-l", "app=signing", "-o", "name"])
        .await
        .result();
    assert_eq!(chosen, named);
    scene
        .hsm(&["list-deleted", "-l", "app in (a"])
        .await
        .says(USAGE, "write key=value");

    scene
        .hsm(&["recover", "signing", "--dry-run=server"])
        .await
        .says(DONE, "would be asked for (server dry run)");
    // For Git: what it prints is the manifest, the same each time, and nothing is asked for.
    let dry = ["recover", "signing", "--dry-run=client", "-o", "yaml"];
    let manifest = scene.hsm(&dry).await.result();
    assert_eq!(manifest, scene.hsm(&dry).await.result());
    let asked = scene
        .plane
        .kubectl(&["get", "recovers", "-n", &ns, "-o", "name"], "")
        .await
        .ok();
    assert_eq!(asked, "", "a dry run asks for nothing");
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    scene.plane.kubectl(&apply, &manifest).await.ok();

    let told = scene.hsm(&["recover", "signing"]).await.ended(DONE);
    assert!(
        told.contains("HsmKey signing comes back, with the same material:\n  version 1 "),
        "{told}"
    );
    assert!(told.contains("HsmKey   signing   Recovered"), "{told}");
    let back = scene.user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&key));
    // The manifest is the Recover that was made.
    let name = format!("signing-{}", &uid[..8]);
    assert!(manifest.contains(&format!("name: {name}\n")), "{manifest}");
    scene
        .plane
        .kubectl(&["get", "recover", "-n", &ns, &name], "")
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_name_gets_a_sentence_with_the_way_out() {
    let scene = Scene::new("names").await;
    scene.made_hsm("payments", false).await;
    let twin = scene.made_key("payments", "twin").await;
    let signing = scene.made_key("payments", "invoice-signing").await;
    let other = scene.made_hsm("twin", false).await;
    let uid = scene.delete(Kind::Key, &signing).await;
    scene.delete(Kind::Key, &twin).await;
    scene.delete(Kind::Hsm, &other).await;

    let sentences: [(&[&str], i32, &str); 12] = [
        (
            &["recover", "invoice-singing"],
            NOT_FOUND,
            "did you mean invoice-signing?",
        ),
        (
            &["recover", "nothing-like-it"],
            NOT_FOUND,
            "see what is with kubectl hsm list-deleted -A",
        ),
        (&["recover", "twin"], USAGE, "write mhsm/twin or hkey/twin"),
        (
            &["purge", "twin", "--yes"],
            USAGE,
            "write mhsm/twin or hkey/twin",
        ),
        (&["explain", "twin"], USAGE, "write mhsm/twin or hkey/twin"),
        (
            &["recover", "pod/twin"],
            USAGE,
            "write mhsm for an HSM or hkey for a key",
        ),
        (
            &["recover", "elsewhere.twin"],
            USAGE,
            "leave one of them out",
        ),
        (
            &["recover", "invoice-signing", "--with-keys"],
            USAGE,
            "leave --with-keys out",
        ),
        (
            &["recover", "invoice-signing", "--uid", "another"],
            REFUSED,
            &format!("the deleted object with uid {uid}, not another"),
        ),
        (&["recover"], USAGE, "required arguments were not provided"),
        (&["tree", "hkey/twin"], USAGE, "name its HSM"),
        (
            &["tree", "paymentz"],
            NOT_FOUND,
            "There is no ManagedHsm paymentz in the namespace names.",
        ),
    ];
    for (arguments, code, words) in sentences {
        scene.hsm(arguments).await.says(code, words);
    }
    // From another namespace the one that has it is named; a proxy's own name needs no -n.
    let at = scene.plane.kubeconfig();
    let there = crate::scene::hsm(&at, &["recover", "invoice-signing", "-n", "default"]).await;
    there.says(NOT_FOUND, "there is one in the namespace names (-n names)");
    crate::scene::hsm(&at, &["recover", "dhkey/names.invoice-signing"])
        .await
        .ended(DONE);
    // Nothing else was asked for by all that.
    let asked = scene
        .plane
        .kubectl(&["get", "recovers,purges", "-A", "-o", "name"], "")
        .await
        .ok();
    assert_eq!(asked.lines().count(), 1, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd21_everything_that_a_namespace_lost_comes_back_after_it_was_made_anew() {
    let scene = Scene::with("lost", Options::default(), |_| {}).await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    scene
        .plane
        .kubectl(&["delete", "namespace", "lost", "--timeout=120s"], "")
        .await
        .ok();
    scene
        .hsm(&["recover", "--all"])
        .await
        .says(REFUSED, "make it with kubectl create namespace lost");
    scene
        .plane
        .kubectl(&["create", "namespace", "lost"], "")
        .await
        .ok();
    scene
        .hsm(&["recover", "--all"])
        .await
        .says(REFUSED, "kubectl hsm recover --accept-namespace");
    let wrong = ["recover", "--all", "--accept-namespace=another"];
    scene
        .hsm(&wrong)
        .await
        .says(USAGE, "accept that one if it is the one that you mean");

    let told = scene
        .hsm(&["recover", "--all", "--accept-namespace"])
        .await
        .ended(DONE);
    assert!(
        told.contains("HsmKey signing, deleted on its own"),
        "{told}"
    );
    assert!(told.contains("ManagedHsm   payments   Recovered"), "{told}");
    let back = scene.user.ready(Kind::Key, "signing").await;
    assert_eq!(material(&back), material(&key));
    scene
        .hsm(&["recover", "--all"])
        .await
        .says(DONE, "Nothing is deleted in the namespace lost.");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd20_what_is_asked_for_already_is_waited_for_and_what_has_failed_is_asked_anew() {
    let scene = Scene::new("again").await;
    let hsm = scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    let uid = scene.delete(Kind::Key, &key).await;
    scene.delete(Kind::Hsm, &hsm).await;

    // Its HSM is deleted, so it waits; the operator's own sentence says why, and the exit code that it is not done.
    let told = scene
        .hsm(&["recover", "signing"])
        .await
        .says(REFUSED, "Its HSM is DeletedManagedHsm again.payments");
    assert!(
        told.contains("stands and waits for it; delete it to withdraw it"),
        "{told}"
    );
    let told = scene
        .hsm(&["recover", "signing"])
        .await
        .says(REFUSED, "is asked for already, by the Recover");
    assert!(told.contains(&uid[..8]), "{told}");
    let explained = scene
        .hsm(&["explain", &format!("recover/signing-{}", &uid[..8])])
        .await
        .result();
    for words in [
        "(HsmDeleted)",
        "SD-21",
        "docs/troubleshooting.md#hsmdeleted",
        "somebody's act",
    ] {
        assert!(explained.contains(words), "without {words}: {explained}");
    }
    scene
        .hsm(&["recover", "payments", "--wait=false"])
        .await
        .says(DONE, "asked for");
    scene.user.ready(Kind::Key, "signing").await;

    // A Recover that has failed never acts again, so another one is made beside it.
    let back = scene.user.ready(Kind::Key, "signing").await;
    let uid = scene.delete(Kind::Key, &back).await;
    let standing = json!({"spec": {"kind": "HsmKey", "name": "never-there", "uid": "never-there"}});
    let name = format!("signing-{}", &uid[..8]);
    scene.user.create(Watched::Recover, &name, standing).await;
    scene
        .user
        .until("failed", Watched::Recover, &name, |found| {
            found.is_some_and(|found| crate::user::is(found, "Failed"))
        })
        .await;
    scene
        .hsm(&["recover", "signing"])
        .await
        .says(DONE, "Recovered");
    let asked = scene
        .user
        .api(Watched::Recover)
        .list(&Default::default())
        .await
        .expect("a list");
    let names: Vec<_> = asked
        .items
        .iter()
        .filter_map(|one| one.metadata.name.clone())
        .collect();
    assert!(
        names
            .iter()
            .any(|made| made.starts_with(&format!("{name}-"))),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_waiting_ends_with_a_sentence_and_the_request_stands() {
    let scene = Scene::new("late").await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "signing").await;
    scene.delete(Kind::Key, &key).await;
    let Scene {
        user,
        operator,
        plane,
    } = scene;
    operator.crash().await;
    let at = plane.kubeconfig();
    let late = crate::scene::hsm(
        &at,
        &["recover", "signing", "-n", "late", "--timeout", "2s"],
    )
    .await;
    let told = late.says(NOT_ENDED, "has not ended within 2s");
    assert!(told.contains("kubectl hsm status"), "{told}");
    // Somebody else may withdraw it while one waits.
    let waiting = tokio::spawn(async move {
        crate::scene::hsm(
            &at,
            &["recover", "signing", "-n", "late", "--timeout", "60s"],
        )
        .await
    });
    let api = user.api(Watched::Recover);
    let standing = api.list(&Default::default()).await.expect("a list").items;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let name = standing[0].metadata.name.clone().expect("a name");
    api.delete(&name, &Default::default())
        .await
        .expect("withdrawn");
    waiting
        .await
        .expect("it ends")
        .says(NOT_FOUND, "was deleted meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_shows_what_is_in_an_hsm_and_the_explanation_the_rule() {
    let scene = Scene::new("tree").await;
    let hsm = scene.made_hsm("payments", false).await;
    scene.made_key("payments", "signing").await;
    let old = scene.made_key("payments", "old").await;
    scene.delete(Kind::Key, &old).await;
    let tree = scene.hsm(&["tree", "payments"]).await.result();
    for words in [
        "ManagedHsm/payments",
        "├─HsmKey/signing",
        "└─DeletedHsmKey/tree.old",
        "1 live and 1 deleted keys, 2 versions",
    ] {
        assert!(tree.contains(words), "without {words}: {tree}");
    }
    scene
        .hsm(&["explain", "mhsm/payments"])
        .await
        .says(DONE, "Ready=True (Ready)");
    let names = scene
        .hsm(&["tree", "payments", "-o", "name"])
        .await
        .result();
    assert_eq!(
        names,
        "managedhsm.managedhsm.dev/payments\nhsmkey.managedhsm.dev/signing\ndeletedhsmkey.managedhsm.dev/tree.old\n"
    );

    // A new key under a name that is kept waits, and both are explained.
    let spec = json!({"spec": {"hsm": "payments", "keyType": "EC", "curve": "P-256"}});
    scene
        .user
        .create(Watched::Object(Kind::Key), "old", spec)
        .await;
    let waits = |found: Option<&kube::api::DynamicObject>| {
        found.is_some_and(|found| crate::user::is(found, "Stalled"))
    };
    scene
        .user
        .until("stalled", Watched::Object(Kind::Key), "old", waits)
        .await;
    let explained = scene.hsm(&["explain", "old"]).await.result();
    for words in [
        "HsmKey tree/old",
        "This name is reserved for DeletedHsmKey tree.old",
        "(SD-17)",
        "DeletedHsmKey tree.old, Retained",
        "kubectl hsm recover hkey/old -n tree",
    ] {
        assert!(explained.contains(words), "without {words}: {explained}");
    }
    scene.delete(Kind::Hsm, &hsm).await;
    let tree = scene.hsm(&["tree", "payments"]).await.result();
    assert!(
        tree.contains("DeletedManagedHsm/tree.payments") && tree.contains("HsmDeleted"),
        "{tree}"
    );
    scene
        .hsm(&["explain", "hkey/signing"])
        .await
        .says(DONE, "back with kubectl hsm recover mhsm/payments -n tree");
    let json: Value = serde_json::from_str(
        &scene
            .hsm(&["explain", "hkey/signing", "-o", "json"])
            .await
            .result(),
    )
    .expect("JSON");
    assert_eq!(json["items"][0]["conditions"][0]["reason"], "HsmDeleted");
}
