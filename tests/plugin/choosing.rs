//! `-l` chooses what is deleted as kubectl chooses what is live: both are asked the same.

use std::collections::BTreeSet;

use managed_hsm_operator::softdelete::Kind;

use crate::scene::{Scene, USAGE};

/// Of each key, beside `app`, which is its name.
const LABELED: [(&str, &[&str]); 4] = [
    ("alpha", &["tier=gold", "team.example.com/owner=pay"]),
    ("beta", &["tier=silver", "legacy="]),
    ("gamma", &["tier=gold", "legacy=yes"]),
    ("delta", &[]),
];

const CHOICES: [&str; 26] = [
    "",
    "tier",
    "!tier",
    "! tier",
    "tier=gold",
    "tier == gold",
    "tier!=gold",
    "tier in (gold)",
    "tier in (gold, silver)",
    "tier notin (gold)",
    "tier notin(gold,silver)",
    "legacy=",
    "legacy!=",
    "legacy in ()",
    "legacy in (,yes)",
    "legacy notin (no,)",
    "team.example.com/owner=pay",
    "app in (alpha,beta),tier=gold",
    "app in (alpha,beta),!legacy",
    "app notin (alpha),tier,legacy",
    "in notin (in)",
    // None of these is a choice.
    "tier in gold",
    "tier in (gold",
    "tier=gold,",
    "tier=go/ld",
    "tier-",
];

#[tokio::test(flavor = "multi_thread")]
async fn sd07_labels_choose_what_is_deleted_as_kubectl_chooses_what_is_live() {
    let scene = Scene::new("choices").await;
    scene.made_hsm("payments", false).await;
    let mut made = Vec::new();
    for (name, labels) in LABELED {
        scene.made_key("payments", name).await;
        let label = [&["label", "hsmkey", name, "-n", "choices"], labels].concat();
        if !labels.is_empty() {
            scene.plane.kubectl(&label, "").await.ok();
        }
        made.push(scene.user.ready(Kind::Key, name).await);
    }
    let mut live = Vec::new();
    for choice in CHOICES {
        let get = [
            "get", "hsmkeys", "-n", "choices", "-o", "name", "-l", choice,
        ];
        let got = scene.plane.kubectl(&get, "").await;
        live.push(got.success.then(|| names(&got.stdout, "/")));
    }
    for key in &made {
        scene.delete(Kind::Key, key).await;
    }
    for (choice, live) in CHOICES.iter().zip(live) {
        let listed = scene
            .hsm(&["list-deleted", "-o", "name", "-l", choice])
            .await;
        match live {
            Some(live) => assert_eq!(names(&listed.result(), "/choices."), live, "{choice}"),
            None => {
                listed.says(USAGE, "is no choice of labels");
            }
        }
    }
}

fn names(lines: &str, after: &str) -> BTreeSet<String> {
    let names = lines.lines().filter_map(|line| line.split_once(after));
    names.map(|(_, name)| name.to_owned()).collect()
}
