//! Purging: shown first, never by mistake, and only what may be.

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::softdelete::Kind;
use testplane::Options;

use crate::scene::{
    DONE, NOT_ENDED, NOT_FOUND, NOT_PERMITTED, REFUSED, Scene, USAGE, at_a_terminal, hsm, roles,
    with_roles,
};

#[tokio::test(flavor = "multi_thread")]
async fn sd26_a_purge_shows_what_it_destroys_and_nothing_goes_without_a_yes() {
    let scene = Scene::new("purge").await;
    let payments = scene.made_hsm("payments", false).await;
    scene.made_key("payments", "signing").await;
    let old = scene.made_key("payments", "old").await;
    let uid = scene.delete(Kind::Key, &old).await;
    scene
        .hsm(&["purge", "mhsm/payments", "--yes"])
        .await
        .says(NOT_FOUND, "Nothing named payments is deleted");
    scene
        .hsm(&["purge", "old"])
        .await
        .says(USAGE, "there is no terminal to type the name at; say --yes");
    let other = ["purge", "old", "--yes", "--uid", "another"];
    scene.hsm(&other).await.says(
        REFUSED,
        &format!("the deleted object with uid {uid}, not another"),
    );
    let asked = scene
        .plane
        .kubectl(&["get", "purges", "-o", "name"], "")
        .await
        .ok();
    assert_eq!(asked, "", "nothing was asked for");

    scene.delete(Kind::Hsm, &payments).await;
    let told = scene
        .hsm(&["purge", "payments", "--yes", "--reason", "moved away"])
        .await
        .ended(DONE);
    for words in [
        "HsmKey signing\n",
        "HsmKey old, deleted on its own\n",
        "keys in all: 2\n",
        " complete, 2 destroyed, digest ",
    ] {
        assert!(told.contains(words), "without {words}: {told}");
    }
    scene
        .user
        .gone(Watched::Proxy(Kind::Hsm), "purge.payments")
        .await;
    let purges = scene
        .user
        .api(Watched::Purge)
        .list(&Default::default())
        .await
        .expect("a list")
        .items;
    assert_eq!(purges[0].data["spec"]["reason"], "moved away");
    assert_eq!(purges[0].data["spec"]["requestedBy"], "admin");
    let name = purges[0].metadata.name.clone().expect("a name");
    scene
        .hsm(&["explain", &format!("purge/{name}")])
        .await
        .says(DONE, "Complete=True");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_the_name_is_asked_for_and_colours_are_shown() {
    let scene = Scene::new("typed").await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "old").await;
    scene.delete(Kind::Key, &key).await;
    let at = scene.plane.kubeconfig();
    let listed = at_a_terminal(&at, &["list-deleted", "-n", "typed"], "", async {})
        .await
        .result();
    assert!(listed.contains("\u{1b}[32myes"), "{listed:?}");
    let ask = ["purge", "old", "-n", "typed"];
    let told = at_a_terminal(&at, &ask, "yes\n", async {})
        .await
        .says(REFUSED, "that is not its name");
    assert!(told.contains("Type old to have it destroyed: "), "{told}");
    let asked = scene
        .plane
        .kubectl(&["get", "purges", "-o", "name"], "")
        .await
        .ok();
    assert_eq!(asked, "", "nothing was asked for");

    // Whoever recovers it while somebody reads what would be destroyed goes before.
    let recover = async {
        hsm(&at, &["recover", "old", "-n", "typed"])
            .await
            .ended(DONE);
    };
    let gone = at_a_terminal(&at, &ask, "old\n", recover).await;
    gone.says(
        NOT_FOUND,
        "There is no DeletedHsmKey typed.old of an object with uid",
    );
    let key = scene.user.ready(Kind::Key, "old").await;
    scene.delete(Kind::Key, &key).await;
    at_a_terminal(&at, &ask, "old\n", async {})
        .await
        .says(DONE, "complete, 1 destroyed");
    scene
        .user
        .gone(Watched::Proxy(Kind::Key), "typed.old")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sd14_what_is_protected_is_refused_before_anything_is_asked() {
    let scene = Scene::new("guarded").await;
    scene.made_hsm("vault", true).await;
    let key = scene.made_key("vault", "root").await;
    scene.delete(Kind::Key, &key).await;
    let listed = scene.hsm(&["list-deleted"]).await.result();
    assert!(
        listed
            .lines()
            .any(|line| line.trim_end().ends_with("yes       protected")),
        "{listed}"
    );
    scene.hsm(&["purge", "root", "--yes"]).await.says(
        REFUSED,
        "Purge protection of the HSM vault around it forbids a purge on request",
    );
    let asked = scene
        .plane
        .kubectl(&["get", "purges", "-o", "name"], "")
        .await
        .ok();
    assert_eq!(asked, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd24_of_two_who_must_ask_the_first_is_told_how_the_other_does() {
    let scene = Scene::with("two", Options::without_controllers(), |build| {
        build.settings.quorum = 2
    })
    .await;
    roles(&scene.plane).await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "old").await;
    let uid = scene.delete(Kind::Key, &key).await;
    let mut people = Vec::new();
    for name in ["alice", "bob"] {
        people.push(with_roles(&scene.plane, name, &["hsm-deleted-viewer", "hsm-purger"]).await);
    }
    let ask = ["purge", "old", "-n", "two", "--yes"];
    let told = hsm(&people[0], &ask)
        .await
        .says(NOT_ENDED, "1 of 2 different users have asked");
    assert!(
        told.contains(&format!("kubectl hsm purge hkey/old -n two --uid {uid}")),
        "{told}"
    );
    // Asking twice is asking once.
    hsm(&people[0], &ask)
        .await
        .says(NOT_ENDED, "is asked for already, by the Purge");
    let status = hsm(&scene.plane.kubeconfig(), &["status"]).await.result();
    assert!(
        status.contains("two.old by alice (QuorumNotReached)"),
        "{status}"
    );
    hsm(
        &people[1],
        &["purge", "hkey/old", "-n", "two", "--uid", &uid, "--yes"],
    )
    .await
    .says(DONE, "complete, 1 destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd31_who_may_not_purge_is_told_which_right_he_lacks() {
    let scene = Scene::new("not-mine").await;
    roles(&scene.plane).await;
    scene.made_hsm("payments", false).await;
    let key = scene.made_key("payments", "old").await;
    scene.delete(Kind::Key, &key).await;
    let viewer = with_roles(&scene.plane, "vera", &["hsm-deleted-viewer"]).await;
    let listed = hsm(&viewer, &["list-deleted", "-n", "not-mine"])
        .await
        .result();
    assert!(
        listed
            .lines()
            .nth(1)
            .expect("a line")
            .trim_end()
            .ends_with("no        no"),
        "{listed}"
    );
    hsm(&viewer, &["purge", "old", "-n", "not-mine", "--yes"])
        .await
        .says(
            NOT_PERMITTED,
            "The user vera may not create purges in the cluster",
        );
    hsm(&viewer, &["recover", "old", "-n", "not-mine"])
        .await
        .says(
            NOT_PERMITTED,
            "The user vera may not create recovers in the namespace not-mine",
        );
    // The verb for this proxy alone is a yes for it.
    let role = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: one-proxy}
rules:
- {apiGroups: [managedhsm.dev], resources: [deletedhsmkeys], resourceNames: [not-mine.old], verbs: [purge]}
- {apiGroups: [managedhsm.dev], resources: [purges], verbs: [create, get]}
"#;
    scene.plane.kubectl(&["apply", "-f", "-"], role).await.ok();
    let viewer = with_roles(&scene.plane, "vera", &["one-proxy"]).await;
    let listed = hsm(&viewer, &["list-deleted", "-n", "not-mine"])
        .await
        .result();
    assert!(
        listed
            .lines()
            .nth(1)
            .expect("a line")
            .trim_end()
            .ends_with("no        yes"),
        "{listed}"
    );
    hsm(&viewer, &["purge", "old", "-n", "not-mine", "--yes"])
        .await
        .says(DONE, "complete");
}
