//! `docs/plugin.md`: the plugin's own output, from a run against the executable with its policies. `make docs` writes it, and a stale one
//! fails; dates, uids and other chance are not compared.

use std::ffi::OsStr;
use std::path::PathBuf;

use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::manifests::NAMESPACE;
use managed_hsm_operator::softdelete::Kind;
use testplane::{Options, Plane, borrow, is_as_before, project_dir};

use crate::process::{Process, installed};
use crate::scene::{DONE, REFUSED, USAGE, hsm, roles};
use crate::user::User;

const HEAD: &str = "# The kubectl plugin

`kubectl hsm` shows what is deleted, brings it back, purges it, and explains why something waits. It is nothing but a client: it writes the Recovers and
Purges that you could write yourself, with your rights and no others, and every decision is the operator's.

Nothing has been released yet, so you build it, with Rust and a C compiler, into a folder of your `PATH`, where kubectl finds it. Under a second name the same program
completes `kubectl hsm <TAB>` (commands, flags, and the names of what is deleted), wherever kubectl's own completion is set up:

```sh
cargo install --locked --no-default-features --bin kubectl-hsm --path . --root ~/.local
ln -s kubectl-hsm ~/.local/bin/kubectl_complete-hsm
```

To try it without that, `make play` opens a shell with a cluster and the plugin. [deploy/krew/hsm.yaml](../deploy/krew/hsm.yaml) is the manifest for krew, for a release to fill in.

The output below is that of a run, written anew by `make docs`; lines of progress (they begin with `...`) are left out, since no two runs have the same.

";

const TAIL: &str = "## For scripts

- Results go to standard output, all else to standard error. `-o json`, `-o yaml` and `-o name` give the proxies, Recovers, Purges and
  resources themselves, as kubectl does; of `explain` and `status` what the text says. Colours are shown at a terminal only, and never with `NO_COLOR`.
- `recover` never asks. `purge` asks for the name to be typed at a terminal; without one it does nothing unless you say `--yes`.
- `--wait=false` ends as soon as the request stands; `--timeout` (5 minutes if not said) gives up waiting, and never what was asked for.
- `recover` makes a Recover named after the object and the start of its uid, so the manifest of `--dry-run=client -o yaml` is the same each time.
- Where you may not list what is deleted, `recover TYPE/NAME --uid UID` does without: whoever deleted it has the uid from kubectl's warning, or from its events.
  Who may `get` it by its proxy's name (NAMESPACE.NAME) and not list it needs no uid.
- `-l` of `list-deleted` takes what kubectl's does, by the labels that the object had: `-l 'tier in (gold,silver),!legacy'`.
- `kubectl hsm completion bash` (zsh, fish, …) prints completions for the program `kubectl-hsm` as it stands, without names of the cluster; `kubectl hsm man FOLDER` writes man pages.
";

struct Page {
    kubeconfig: PathBuf,
    text: String,
}

impl Page {
    fn say(&mut self, words: &str) {
        self.text.push_str(words);
        self.text.push_str("\n\n");
    }

    /// What that prints.
    async fn show(&mut self, arguments: &[&str], code: i32) {
        let ran = hsm(&self.kubeconfig, arguments).await;
        let command = ran.command.clone();
        let printed = ran.ended(code);
        let lines = printed.lines().filter(|line| !line.starts_with("..."));
        let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
        let exit = if code == DONE {
            String::new()
        } else {
            format!("(exit code {code})\n")
        };
        self.text
            .push_str(&format!("```console\n$ {command}\n{lines}{exit}```\n\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_plugin_prints() {
    let plane = borrow(Options::default()).await;
    let account = installed(&plane).await;
    roles(&plane).await;
    let store = tempfile::tempdir().expect("a folder");
    let pod = [(
        "POD_NAME",
        OsStr::new("managed-hsm-operator-5d8f6c7b9d-x2x5k"),
    )];
    let flags = ["--namespace", NAMESPACE];
    let _operator = Process::start_in(&account, store.path(), &flags, &pod);
    let user = User::new(&plane.client().await, "demo").await;
    set_up(&plane, &user).await;

    let mut page = Page {
        kubeconfig: plane.kubeconfig(),
        text: HEAD.to_owned(),
    };
    page.show(&["--help"], DONE).await;
    deleted_and_back(&mut page).await;
    looked_at(&mut page, &user).await;
    destroyed(&mut page, &user).await;
    page.text.push_str(TAIL);
    is_as_before("plugin.md", &page.text);
}

async fn set_up(plane: &Plane, user: &User) {
    for file in ["payments", "protected"] {
        let path = project_dir().join(format!("hack/demo/{file}.yaml"));
        let path = path.display().to_string();
        plane
            .kubectl(&["apply", "-n", "demo", "-f", &path], "")
            .await
            .ok();
    }
    for (kind, name) in [
        (Kind::Hsm, "payments"),
        (Kind::Key, "archive-wrapping"),
        (Kind::Key, "invoice-signing"),
        (Kind::Key, "root-ca"),
    ] {
        user.ready(kind, name).await;
    }
    delete(user, Kind::Key, "invoice-signing").await;
    delete(user, Kind::Key, "root-ca").await;
}

async fn delete(user: &User, kind: Kind, name: &str) {
    let uid = crate::user::uid(&user.ready(kind, name).await);
    user.delete(Watched::Object(kind), name).await;
    user.deleted(kind, name, &uid).await;
}

async fn deleted_and_back(page: &mut Page) {
    page.say("## What is deleted, and back");
    page.say("Two keys were deleted, of which one is protected from purge. The last columns say what you yourself may do.");
    page.show(&["list-deleted", "-n", "demo"], DONE).await;
    page.say("A name is enough: the plugin fills in the uid. It shows first what comes back.");
    page.show(&["recover", "invoice-signing", "-n", "demo"], DONE)
        .await;
    page.say("For Git the same as a manifest, and nothing is asked for:");
    page.show(
        &[
            "recover",
            "root-ca",
            "-n",
            "demo",
            "--dry-run=client",
            "-o",
            "yaml",
        ],
        DONE,
    )
    .await;
    page.say("A name that is not quite right:");
    page.show(
        &["recover", "root-cs", "-n", "demo"],
        crate::scene::NOT_FOUND,
    )
    .await;
}

async fn looked_at(page: &mut Page, user: &User) {
    page.say("## What is in an HSM, and why something waits");
    page.show(&["tree", "payments", "-n", "demo"], DONE).await;
    delete(user, Kind::Hsm, "payments").await;
    let waits = |found: Option<&kube::api::DynamicObject>| {
        found.is_some_and(|found| crate::user::is(found, "Stalled"))
    };
    user.until(
        "waiting",
        Watched::Object(Kind::Key),
        "archive-wrapping",
        waits,
    )
    .await;
    page.say("The HSM was deleted since. Its keys share its fate, and say so:");
    page.show(&["explain", "archive-wrapping", "-n", "demo"], DONE)
        .await;
    page.say("A Recover of the HSM brings back what was live in it, and with `--with-keys` what was deleted on its own. `--all` does that for everything that a namespace lost; after the namespace was made anew, with `--accept-namespace`.");
    page.show(&["recover", "payments", "-n", "demo", "--with-keys"], DONE)
        .await;
    page.say("The operator, as far as you may look at it. Here it runs without a pod, so that its metrics cannot be reached. Where they can (it takes the right to `get` `pods/proxy` in its namespace), it also shows whether \
              clock and policies are as they should be, how many backends are away, how many objects are in which [state](metrics.md#states), orphans, the next purge and the last backup:");
    page.show(&["status"], DONE).await;
}

async fn destroyed(page: &mut Page, user: &User) {
    user.ready(Kind::Key, "root-ca").await;
    delete(user, Kind::Key, "root-ca").await;
    delete(user, Kind::Key, "archive-wrapping").await;
    page.say("## What is destroyed for good");
    page.say("What is protected stays, and without a terminal nothing is destroyed by mistake:");
    page.show(&["purge", "root-ca", "-n", "demo"], REFUSED)
        .await;
    page.show(&["purge", "archive-wrapping", "-n", "demo"], USAGE)
        .await;
    page.say("It shows what goes, and the receipt stays. At a terminal it asks for the name instead of `--yes`.");
    page.show(&["purge", "archive-wrapping", "-n", "demo", "--yes"], DONE)
        .await;
}
