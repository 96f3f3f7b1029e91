//! The committed manifests and chart are those of the code.

use std::{collections::BTreeSet, env, fs, path::Path};

use managed_hsm_operator::manifests;

#[test]
fn the_committed_manifests_are_those_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wanted = manifests::files().expect("texts");
    if env::var_os("UPDATE_MANIFESTS").is_some() {
        for (path, text) in &wanted {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("writable");
        }
    }
    for (path, text) in &wanted {
        let committed = fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(
            committed == *text,
            "{path} is stale: run `make manifests` and commit what it writes"
        );
    }
    // What is written by hand: examples, the chart's suites, what Helm says after an install, what Argo CD's health is tried on.
    let by_hand = [
        "charts/managed-hsm-operator/templates/NOTES.txt",
        "charts/managed-hsm-operator/.helmignore",
    ];
    let known: BTreeSet<&str> = wanted
        .iter()
        .map(|(path, _)| path.as_str())
        .chain(by_hand)
        .collect();
    for folder in ["deploy", "charts"] {
        for path in under(&root.join(folder)) {
            let path = path
                .strip_prefix(root)
                .expect("inside")
                .display()
                .to_string();
            let sample = [
                "deploy/samples/",
                "deploy/examples/",
                "deploy/krew/",
                "charts/managed-hsm-operator/tests/",
            ]
            .iter()
            .any(|folder| path.starts_with(folder));
            let tried = path.ends_with("/health_test.yaml") || path.contains("/testdata/");
            assert!(
                sample || tried || known.contains(&*path),
                "{path} is generated no more: remove it"
            );
        }
    }
}

fn under(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(under(&path));
        } else {
            found.push(path);
        }
    }
    found
}
