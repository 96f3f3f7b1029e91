//! `docs/use.md`: its commands, word by word and in its order, on a real control plane with the operator's process and its policies.
#![cfg(feature = "embedded")]

mod operator;
mod process;
mod user;

use std::path::Path;

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::manifests::NAMESPACE;
use managed_hsm_operator::softdelete::Kind;
use process::Process;
use serde_json::Value;
use testplane::{Borrowed, Options, blocks, borrow};
use user::{User, material, uid};

const PAGE: &str = "docs/use.md";

/// Somebody at the page.
struct Reader {
    plane: Borrowed,
    /// Where files are that the page names.
    desk: tempfile::TempDir,
    shop: User,
    bank: User,
}

type Materials = Vec<[Value; 4]>;

impl Reader {
    async fn new() -> Self {
        let plane = borrow(Options::default()).await;
        let client = plane.client().await;
        let desk = tempfile::tempdir().expect("a folder");
        Self {
            shop: User::of(&client, "shop"),
            bank: User::of(&client, "bank"),
            plane,
            desk,
        }
    }

    /// Does all that the section says; answers what each of its commands printed.
    fn follow(&self, section: &str) -> Vec<String> {
        let all = blocks(PAGE, &format!("\n## {section}\n"));
        let mut said = Vec::new();
        for block in &all {
            match block
                .strip_prefix("# ")
                .and_then(|rest| rest.split_once('\n'))
            {
                Some((file, text)) => written(&self.desk.path().join(file), text),
                None => said.push(self.done(block)),
            }
        }
        assert!(!said.is_empty(), "{section}: no commands");
        said
    }

    #[track_caller]
    fn done(&self, commands: &str) -> String {
        let said = self.plane.shell(self.desk.path(), commands);
        said.unwrap_or_else(|said| panic!("{commands}\n{said}"))
    }

    async fn key(&self, name: &str) -> (String, Materials) {
        let found = self.shop.ready(Kind::Key, name).await;
        (uid(&found), material(&found))
    }
}

fn written(file: &Path, text: &str) {
    let folder = file.parent().expect("a folder");
    std::fs::create_dir_all(folder).expect("made");
    std::fs::write(file, text).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_says_can_be_done_and_comes_out_as_it_says() {
    let reader = Reader::new().await;
    let account = process::installed(&reader.plane).await;
    let roles = ["apply", "--server-side", "-f", "deploy/base/roles.yaml"];
    reader.plane.kubectl(&roles, "").await.ok();
    let store = tempfile::tempdir().expect("a folder");
    let flags = ["--namespace", NAMESPACE];
    let _operator = Process::start_in(&account, store.path(), &flags, &[]);
    made_and_rotated(&reader).await;
    deleted_and_back(&reader).await;
    protected_and_purged(&reader).await;
    namespace_gone_and_back(&reader).await;
    let said = reader.follow("Let others do it");
    assert!(said[0].ends_with("yes\n"), "{said:?}");
    back_by_itself(&reader).await;
    released(&reader).await;
}

async fn made_and_rotated(reader: &Reader) {
    let said = reader.follow("Make an HSM and keys");
    assert!(
        said[0].contains("hsmkey.managedhsm.dev/archive-wrapping condition met"),
        "{said:?}"
    );
    let (_, made) = reader.key("invoice-signing").await;
    let thumbprint = made[0][2].as_str().expect("a thumbprint");
    assert!(
        said[1].contains("\"crv\":\"P-256\"") && said[1].contains(thumbprint),
        "{said:?}"
    );

    reader.follow("Rotate a key");
    let (_, rotated) = reader.key("invoice-signing").await;
    assert_eq!((rotated.len(), &rotated[0]), (2, &made[0]));

    let said = reader.follow("See what deleting would mean").concat();
    assert!(
        said.ends_with("CustomizedRecoverable+Purgeable\n"),
        "{said}"
    );
}

async fn deleted_and_back(reader: &Reader) {
    let (was, made) = reader.key("invoice-signing").await;
    let (_, other) = reader.key("archive-wrapping").await;
    let said = reader.follow("Delete").concat();
    // In its place stands one without material.
    assert!(said.contains("invoice-signing created"), "{said}");
    let said = reader.follow("Look, and get it back");
    assert!(
        said[0].contains("shop.invoice-signing") && said[0].contains("Purgeable"),
        "{said:?}"
    );
    let (now, back) = reader.key("invoice-signing").await;
    assert_ne!(now, was);
    assert_eq!(back, made);
    assert_eq!(reader.key("archive-wrapping").await.1, other);
}

async fn protected_and_purged(reader: &Reader) {
    reader.follow("Protect");
    let (was, made) = reader.key("invoice-signing").await;
    let said = reader.follow("Purge");
    // Both versions.
    let receipt: Value =
        serde_json::from_str(said[0].lines().last().expect("a line")).expect("JSON");
    assert_eq!(receipt["count"], 2, "{said:?}");
    let gone: Vec<_> = receipt["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["thumbprint"].clone())
        .collect();
    assert!(
        made.iter().all(|version| gone.contains(&version[2])),
        "{said:?}"
    );
    let (now, another) = reader.key("invoice-signing").await;
    assert_ne!(now, was);
    assert!(
        made.iter().all(|version| version[2] != another[0][2]),
        "another key"
    );
}

async fn namespace_gone_and_back(reader: &Reader) {
    let (_, signing) = reader.key("invoice-signing").await;
    let (_, wrapping) = reader.key("archive-wrapping").await;
    reader.follow("A namespace goes, and comes back");
    assert_eq!(reader.key("invoice-signing").await.1, signing);
    let back = reader.shop.ready(Kind::Key, "archive-wrapping").await;
    assert_eq!(material(&back), wrapping);
    assert_eq!(back.data["spec"]["purgeProtection"], true);
}

async fn back_by_itself(reader: &Reader) {
    let section = "What comes back by itself";
    let all = blocks(PAGE, &format!("\n## {section}\n"));
    let commands = all.last().expect("commands");
    let (before, after) = commands.split_once("kubectl delete").expect("a delete");
    let text = all[0].split_once('\n').expect("lines").1;
    written(&reader.desk.path().join("ledger.yaml"), text);
    reader.done(before);
    let (was, made) = reader.key("seal").await;
    reader.done(&format!("kubectl delete{after}"));
    let (now, back) = reader.key("seal").await;
    assert_ne!(now, was);
    assert_eq!(back, made);
}

async fn released(reader: &Reader) {
    let all = blocks(PAGE, "\n## With Helm\n");
    let [chart, templates, install, uninstall, again, upgrade, force] = &all[..] else {
        panic!("seven blocks: {all:#?}");
    };
    for file in [chart, templates] {
        let (name, text) = file.split_once('\n').expect("lines");
        written(
            &reader.desk.path().join(name.trim_start_matches("# ")),
            text,
        );
    }
    reader.done(install);
    let made = material(&reader.bank.ready(Kind::Key, "transfers").await);
    let said = reader.done(uninstall);
    assert!(said.contains("bank.vault"), "{said}");
    let refused = reader
        .plane
        .shell(reader.desk.path(), install)
        .expect_err("reserved");
    assert!(
        refused.contains("This name is reserved for Deleted"),
        "{refused}"
    );
    // What was installed is away again, and what is deleted stays.
    reader.done("helm uninstall bank -n bank --wait");
    reader.done(again);
    let back = reader.bank.ready(Kind::Key, "transfers").await;
    assert_eq!(material(&back), made);
    reader
        .bank
        .gone(Watched::Proxy(Kind::Key), "bank.transfers")
        .await;
    let refused = reader
        .plane
        .shell(reader.desk.path(), upgrade)
        .expect_err("fixed");
    assert!(refused.contains("was fixed at creation"), "{refused}");
    let refused = reader
        .plane
        .shell(reader.desk.path(), force)
        .expect_err("the finalizer");
    assert!(refused.contains("keep metadata.finalizers"), "{refused}");
    let days = &reader.bank.ready(Kind::Hsm, "vault").await.data["spec"]["retentionDays"];
    assert_eq!(*days, 90);
}
