//! One bad manifest in a commit of ten changes under Argo CD: what becomes of the rest, and where it is said.

use serde_json::{Value, json};

use crate::argo_stories::{REVERT, at_work};
use crate::argocd::{green, seen, until};
use crate::house::House;
use crate::team::{TEAM, hsm};

/// What is wrong, in which of the ten HSMs, its manifest, and what Argo CD says of that resource.
fn bad() -> [(&'static str, usize, String, &'static str); 4] {
    let protection = "  purgeProtection: false\n";
    [
        (
            "a fixed field: `retentionDays` 30 to 60",
            0,
            hsm("hsm-0", "gold", "").replace("30", "60"),
            "fixed",
        ),
        (
            "a switch: `purgeProtection` taken back",
            1,
            hsm("hsm-1", "gold", protection),
            "never be turned off again",
        ),
        (
            "a reserved name",
            2,
            hsm("hsm-2", "gold", ""),
            "This name is reserved",
        ),
        (
            "out of range: `retentionDays: 5`",
            0,
            hsm("hsm-0", "gold", "").replace("30", "5"),
            "Invalid value",
        ),
    ]
}

pub async fn one_of_ten() {
    table(&json!({})).await;
}

pub async fn one_of_ten_server_side() {
    let more = json!({"syncOptions": ["ServerSideApply=true"]});
    table(&more).await;
}

/// The same either way.
async fn table(more: &Value) {
    let house = at_work(House::new().await, "", more).await;
    let path = |number: usize| format!("payments/hsm-{number}.yaml");
    let push = |message: &str, texts: Vec<(usize, String)>| {
        let files: Vec<_> = texts
            .into_iter()
            .map(|(number, text)| (path(number), text))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        house.repository.push(message, &files);
    };
    let spec = |number: usize| {
        if number == 1 {
            "  purgeProtection: true\n"
        } else {
            ""
        }
    };
    let name = |number: usize| format!("hsm-{number}");
    push(
        "Ten",
        (0..10)
            .map(|it| (it, hsm(&name(it), "gold", spec(it))))
            .collect(),
    );
    green(&house, TEAM).await;
    house.does("git rm -q payments/hsm-2.yaml && git commit -q -m 'Nine' && git push -q");
    green(&house, TEAM).await;
    let silver = |house: &House| {
        let found = house.does("kubectl -n shop get managedhsms -l tier=silver -o name");
        found.lines().filter(|line| line.contains("hsm-")).count()
    };
    let mut rows = String::from(
        "| in a commit of ten changes | of the other changes | what stands | health | what the Application says of that resource |\n|---|---|---|---|---|\n",
    );
    for (what, number, text, words) in bad() {
        let mut change: Vec<_> = (3..10)
            .map(|it| (it, hsm(&name(it), "silver", "")))
            .collect();
        change.push((number, text));
        push(what, change);
        let app = until(&house, TEAM, ["OutOfSync", "Healthy", "Failed"]).await;
        let said = said_of(&app, &name(number));
        println!(
            "{what}: {said}\n{}",
            app["status"]["operationState"]["message"]
        );
        assert!(said.contains(words), "{app}");
        let others = silver(&house);
        let get = format!("kubectl -n shop get managedhsm {} -o name", name(number));
        let stands = match house.runs(&get) {
            Ok(_) => "the HSM as it was, ready",
            Err(_) => "nothing: it stays soft-deleted",
        };
        let sentence = said.trim().replace('|', "\\|").replace('\n', " ");
        rows += &format!(
            "| {what} | {others} of 7 applied | {stands} | {} | {sentence} |\n",
            seen(&house, TEAM)["status"]["health"]["status"]
                .as_str()
                .unwrap_or("-")
        );
        house.does(REVERT);
        green(&house, TEAM).await;
    }
    assert_eq!(silver(&house), 0);
    house.told_as("argo-bad", &rows);
}

/// Of the last sync.
fn said_of(app: &Value, name: &str) -> String {
    let all = app["status"]["operationState"]["syncResult"]["resources"].as_array();
    let its = all
        .into_iter()
        .flatten()
        .find(|resource| resource["name"] == name);
    let message = its.and_then(|resource| resource["message"].as_str());
    let message = message.unwrap_or_default();
    // The name of a file that was there for a moment.
    let said = message.strip_prefix("error when patching \"");
    let said = said.and_then(|rest| rest.split_once("\": "));
    said.map_or(message, |(_, said)| said).to_owned()
}
