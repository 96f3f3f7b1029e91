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
    let commands: [&[&str]; 13] = [
        &[],
        &["run"],
        &["check-config"],
        &["crds"],
        &["ledger"],
        &["ledger", "list"],
        &["ledger", "show"],
        &["ledger", "accept"],
        &["ledger", "abandon"],
        &["store"],
        &["store", "backup"],
        &["store", "restore"],
        &["store", "check"],
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

/// A kubeconfig that leads nowhere, in a folder of its own.
fn kubeconfig(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

const NOWHERE: &str = "
apiVersion: v1
kind: Config
current-context: it
clusters: [{name: it, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: it, user: {token: it}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
";

#[test]
fn a_kubeconfig_that_is_no_such_thing_or_names_no_cluster_is_told_in_one_sentence() {
    for text in [
        "{token: secret-of-mine",
        "a: [",
        "",
        &NOWHERE.replace("current-context: it", "current-context: other"),
    ] {
        let (_folder, path) = kubeconfig(text);
        let said = refused(&["run"], &[("KUBECONFIG", &path), ("RUST_LOG", "error")], 2);
        assert!(
            said.contains("there is no cluster to work for (") && said.contains("set KUBECONFIG"),
            "{text:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{text:?}: {said}");
        assert!(!said.contains("secret-of-mine"), "{said}");
    }
}

#[test]
fn an_address_that_is_taken_is_named_with_the_flag_that_chooses_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let (_folder, path) = kubeconfig(NOWHERE);
    for (metrics, webhook, flag) in [
        (address.as_str(), "127.0.0.1:0", "--metrics-addr"),
        ("127.0.0.1:0", address.as_str(), "--webhook-addr"),
    ] {
        let said = refused(
            &["run", "--metrics-addr", metrics, "--webhook-addr", webhook],
            &[("KUBECONFIG", &path), ("RUST_LOG", "error")],
            1,
        );
        assert!(
            said.contains(&format!("cannot listen on {address} ("))
                && said.contains(&format!("choose another {flag}")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_webhook_is_explained_and_a_certificate_without_one_is_a_mistake() {
    let explained = |flags: &[&str]| {
        let all: Vec<&str> = ["check-config"].iter().chain(flags).copied().collect();
        let output = run(&all, &[]);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    assert!(!explained(&[]).contains("webhook"));
    let own = explained(&["--webhook-addr", "0.0.0.0:8443"]);
    assert!(own.contains("webhook: https://0.0.0.0:8443, certificate of its own in the Secret managed-hsm-operator-webhook"), "{own}");
    let files = explained(&[
        "--webhook-addr",
        "0.0.0.0:8443",
        "--webhook-cert-dir",
        "/tls",
    ]);
    assert!(
        files.contains("webhook: https://0.0.0.0:8443, certificate from the files in /tls"),
        "{files}"
    );
    let said = refused(&["check-config", "--webhook-cert-dir", "/tls"], &[], 2);
    assert!(
        said.contains("without --webhook-addr no webhook is served"),
        "{said}"
    );
}

#[test]
fn a_bad_value_is_the_same_mistake_by_flag_and_by_environment() {
    for (flag, variable, bad) in [
        ("--backends", "MHSM_BACKENDS", "/nowhere.yaml"),
        ("--purge-quorum", "MHSM_PURGE_QUORUM", "0"),
        ("--purge-rate", "MHSM_PURGE_RATE", "many"),
        ("--purge-history", "MHSM_PURGE_HISTORY", "-1"),
        ("--cluster-domain", "MHSM_CLUSTER_DOMAIN", "Here."),
        ("--adopt-cluster-id", "MHSM_ADOPT_CLUSTER_ID", "old"),
        ("--metrics-addr", "MHSM_METRICS_ADDR", "8080"),
        ("--webhook-addr", "MHSM_WEBHOOK_ADDR", "8443"),
        (
            "--webhook-configuration",
            "MHSM_WEBHOOK_CONFIGURATION",
            "Mine",
        ),
        ("--webhook-secret", "MHSM_WEBHOOK_SECRET", "my secret"),
        ("--webhook-cert-life", "MHSM_WEBHOOK_CERT_LIFE", "1s"),
        ("--backup-every", "MHSM_BACKUP_EVERY", "daily"),
        ("--backup-keep", "MHSM_BACKUP_KEEP", "0"),
        (
            "--backup-to",
            "MHSM_BACKUP_TO",
            "/var/lib/managed-hsm-operator/backups",
        ),
        ("--log-format", "MHSM_LOG_FORMAT", "xml"),
        ("--day-length", "MHSM_DAY_LENGTH", "2 years"),
        ("--clock-tolerance", "MHSM_CLOCK_TOLERANCE", "1"),
        ("--concurrency", "MHSM_CONCURRENCY", "0"),
        ("--namespace", "MHSM_NAMESPACE", "Mine"),
        ("--lease-name", "MHSM_LEASE_NAME", "my lease"),
        ("--lease-duration", "MHSM_LEASE_DURATION", "0s"),
        ("--lease-renew-deadline", "MHSM_LEASE_RENEW_DEADLINE", "1h"),
        ("--lease-retry", "MHSM_LEASE_RETRY", "soon"),
        ("--undeletable", "MHSM_UNDELETABLE", "perhaps"),
        ("--allow-short-days", "MHSM_ALLOW_SHORT_DAYS", "perhaps"),
    ] {
        let by_flag = refused(&["check-config", &format!("{flag}={bad}")], &[], 2);
        let by_variable = refused(&["check-config"], &[(variable, bad)], 2);
        for said in [by_flag, by_variable] {
            assert!(said.starts_with("error: "), "{said}");
            assert!(
                said.contains(flag) || flag == "--backends",
                "{flag}: {said}"
            );
            assert!(
                said.contains(bad)
                    || said.contains(&format!("{:?}", bad))
                    || flag.starts_with("--lease"),
                "{flag}: {said}"
            );
        }
    }
}

#[test]
fn a_misspelt_variable_is_told_where_the_configuration_is_explained() {
    let output = run(&["check-config"], &[("MHSM_PURGE_QUORM", "2")]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert!(
        said.contains("the environment variable MHSM_PURGE_QUORM is the twin of no flag"),
        "{said}"
    );
}

#[test]
fn a_backends_file_that_cannot_be_used_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backends.yaml");
    let file = path.to_str().expect("UTF-8");
    let is_refused = |expected: &str| {
        let said = refused(&["check-config", "--backends", file], &[], 2);
        assert!(
            said.starts_with(&format!("error: the backends file {file} ")),
            "{said}"
        );
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    is_refused("cannot be read");
    for (text, expected) in [
        (&b""[..], "it lists no backend"),
        (b"name: default", "it is a YAML list of backends"),
        (b"- [", "it is a YAML list of backends"),
        (b"- {name: a}", "missing field `kind`"),
        (
            b"- {name: a, kind: embedded, slots: -1}",
            "it is a YAML list of backends",
        ),
        (b"\xff\xfe", "cannot be read"),
    ] {
        std::fs::write(&path, text).expect("written");
        is_refused(expected);
    }
    std::fs::remove_file(&path).expect("it was there");
    std::fs::create_dir(&path).expect("a folder");
    is_refused("cannot be read");
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

#[test]
fn backups_by_itself_are_explained_and_what_could_not_be_one_is_refused() {
    let explained = run(&["check-config", "--backup-to", "/backups"], &[]);
    let said = text(&explained.stdout);
    assert!(
        said.contains("backups: into /backups, every 86400s, 7 stay; the PINs are in none"),
        "{said}"
    );
    let said = refused(
        &[
            "check-config",
            "--data-dir",
            "/data",
            "--backup-to",
            "/data/b",
        ],
        &[],
        2,
    );
    assert!(
        said.contains("is in the data folder, and would be lost with it"),
        "{said}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backends.yaml");
    let module = "[{name: a, kind: pkcs11, module: /m.so, pins: {soPinFile: /so, userPinFile: /user}, ledgerToken: records}]";
    std::fs::write(&file, module).expect("written");
    let file = file.to_str().expect("UTF-8");
    let modules_only = ["check-config", "--backends", file, "--backup-to", "/b"];
    let said = refused(&modules_only, &[], 2);
    assert!(
        said.contains("back the modules up with their vendors' tools"),
        "{said}"
    );
    let said = refused(&["store", "backup", "/b", "--backends", file], &[], 1);
    assert!(
        said.contains("is backed up with its vendor's tool"),
        "{said}"
    );
}

#[test]
fn a_store_that_is_not_there_is_neither_backed_up_nor_whole_nor_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, other) = (path("data"), path("other"));
    for (arguments, expected) in [
        (
            ["store", "backup", &other, "--data-dir", &data],
            "holds no store and no backup",
        ),
        (
            ["store", "check", &other, "--data-dir", &data],
            "holds no store and no backup",
        ),
        (
            ["store", "restore", &other, "--data-dir", &data],
            "is no whole backup",
        ),
    ] {
        let said = refused(&arguments, &[], 1);
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!folder.path().join("data").exists() && !folder.path().join("other").exists());
    refused(&["store", "backup"], &[], 2);
}
