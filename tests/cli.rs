//! The executable itself: what it prints, and what it exits with.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the executable with nothing of ours or of a cluster in its environment.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_managed-hsm-operator"));
    for (name, _) in std::env::vars() {
        if name.starts_with("MHSM_")
            || ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HOME", "RUST_LOG"]
                .contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[track_caller]
fn refused(arguments: &[&str], environment: &[(&str, &str)], code: i32) -> String {
    let output = run(arguments, environment);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn every_help_has_an_example_and_the_exit_codes() {
    let commands: [&[&str]; 9] = [
        &[],
        &["run"],
        &["check-config"],
        &["crds"],
        &["ledger"],
        &["ledger", "list"],
        &["ledger", "show"],
        &["ledger", "accept"],
        &["ledger", "abandon"],
    ];
    for command in commands {
        let arguments: Vec<_> = command.iter().copied().chain(["--help"]).collect();
        let output = run(&arguments, &[]);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(help.contains("Example"), "{help}");
        assert!(
            help.contains(&format!(
                "  managed-hsm-operator {}",
                if command.is_empty() {
                    "run".to_owned()
                } else {
                    command.join(" ")
                }
            )),
            "{help}"
        );
        assert!(help.contains("Exit codes: 0"), "{help}");
    }
}

#[test]
fn the_help_of_run_names_every_environment_twin() {
    let help = text(&run(&["run", "--help"], &[]).stdout);
    let flags = help
        .lines()
        .filter(|line| line.trim_start().starts_with("--") && !line.contains("--help"))
        .count();
    assert!(flags >= 20, "{help}");
    assert_eq!(help.matches("[env: MHSM_").count(), flags, "{help}");
}

#[test]
fn a_right_configuration_is_explained_without_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backends.yaml");
    std::fs::write(&file, "- {name: default, kind: embedded, slots: 4}\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let output = run(
        &["check-config", "--backends", file],
        &[("MHSM_PURGE_QUORUM", "2"), ("MHSM_UNDELETABLE", "false")],
    );
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        said.contains(
            "backend default: embedded, in /var/lib/managed-hsm-operator, up to 4 HSMs of 1000 keys"
        ),
        "{said}"
    );
    assert!(said.contains("each asked for by 2 user(s)"), "{said}");
}

#[test]
fn a_wrong_configuration_exits_with_2_and_one_sentence() {
    let said = refused(&["check-config", "--backends", "/nowhere.yaml"], &[], 2);
    assert!(
        said.starts_with("error: the backends file /nowhere.yaml cannot be read"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let said = refused(
        &["run", "--day-length", "1s"],
        &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
        2,
    );
    assert!(said.contains("add --allow-short-days"), "{said}");
    let said = refused(&["run"], &[("MHSM_PURGE_QUORUM", "none")], 2);
    assert!(said.contains("--purge-quorum"), "{said}");
    refused(&["fly"], &[], 2);
    refused(&[], &[], 2);
}

#[test]
fn without_a_cluster_run_says_so_and_exits_with_2() {
    let said = refused(
        &["run"],
        &[("KUBECONFIG", "/nowhere/kubeconfig"), ("RUST_LOG", "error")],
        2,
    );
    assert!(
        said.contains("there is no cluster to work for") && said.contains("set KUBECONFIG"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn log_lines_are_text_or_json() {
    let kubeconfig = ("KUBECONFIG", "/nowhere/kubeconfig");
    let plain = refused(&["run"], &[kubeconfig], 2);
    assert!(
        plain
            .lines()
            .any(|line| line.contains("INFO") && line.contains("backend default: embedded")),
        "{plain}"
    );
    let json = refused(&["run", "--log-format", "json"], &[kubeconfig], 2);
    let last: serde_json::Value =
        serde_json::from_str(json.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["level"], "ERROR");
    let first: serde_json::Value =
        serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["level"], "INFO");
    assert!(
        first["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("backend default")),
        "{json}"
    );
}

#[test]
fn crds_prints_the_six_definitions_that_are_committed() {
    let output = run(&["crds"], &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        printed
            .matches("\nkind: CustomResourceDefinition\n")
            .count(),
        6
    );
    assert_eq!(printed.lines().filter(|line| *line == "---").count(), 6);
}

#[test]
fn crds_writes_a_file_for_each_kind_into_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(
        &["crds", "--dir", folder.path().to_str().expect("UTF-8")],
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("readable") {
        let entry = entry.expect("readable");
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("crds")
            .join(entry.file_name());
        let [written, committed] =
            [entry.path(), committed].map(|path| std::fs::read_to_string(path).expect("readable"));
        assert_eq!(written, committed);
        files += 1;
    }
    assert_eq!(files, 6);
    let said = refused(&["crds", "--dir", "/nowhere"], &[], 1);
    assert!(
        said.contains("/nowhere/") && said.contains("give --dir a folder"),
        "{said}"
    );
}

#[test]
fn a_ledger_command_without_an_operator_and_without_a_cluster_says_where_to_run_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("UTF-8");
    let nowhere = [
        ("KUBECONFIG", "/nowhere/kubeconfig"),
        ("MHSM_DATA_DIR", data),
    ];
    let said = refused(&["ledger", "list"], &nowhere, 1);
    assert!(
        said.starts_with("error: no operator listens here") && said.contains("set KUBECONFIG"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn what_is_no_id_is_refused_with_2_and_where_to_take_one_from() {
    for command in ["show", "abandon"] {
        let said = refused(&["ledger", command, "safe"], &[], 2);
        assert!(said.contains("take it from ledger list"), "{said}");
    }
    let id = "0123456789abcdef0123456789abcdef";
    let said = refused(&["ledger", "accept", id], &[], 2);
    assert!(said.contains("--digest"), "{said}");
}
