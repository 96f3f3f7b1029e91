use clap::{CommandFactory as _, Parser as _};

use super::args::{Cli, Command};
use super::*;

/// The validated configuration of these flags, outside a pod.
fn run(flags: &str) -> Result<Config, String> {
    run_in(flags, Surroundings::default())
}

fn run_in(flags: &str, surroundings: Surroundings) -> Result<Config, String> {
    let words = ["managed-hsm-operator", "run"]
        .into_iter()
        .chain(flags.split_whitespace());
    match Cli::try_parse_from(words)
        .map_err(|error| error.to_string())?
        .command
    {
        Command::Crds(_) | Command::Ledger(_) | Command::Trial(_) => {
            unreachable!("the words begin with run")
        }
        Command::Run(args) | Command::CheckConfig(args) => {
            Config::new(*args, surroundings).map_err(|error| error.to_string())
        }
    }
}

fn pod() -> Surroundings {
    Surroundings {
        in_pod: true,
        pod_name: Some("operator-0".into()),
        namespace: Some("hsm-system".into()),
        variables: Vec::new(),
    }
}

#[test]
fn without_flags_the_defaults_hold() {
    let config = run("").expect("good");
    assert_eq!(config.backends, backends::built_in());
    assert_eq!(
        (
            config.purge_quorum,
            config.purge_rate,
            config.purge_history_days
        ),
        (1, 10, 365)
    );
    assert_eq!(
        (config.day_length, config.undeletable, config.concurrency),
        (REAL_DAY, false, 16)
    );
    assert_eq!(
        (config.namespace.as_str(), config.lease_name.as_str()),
        ("default", "managed-hsm-operator")
    );
    assert_eq!(
        config.pin_dir,
        PathBuf::from("/var/lib/managed-hsm-operator/pins")
    );
    assert_eq!(config.metrics_addr.to_string(), "0.0.0.0:8080");
}

#[test]
fn in_a_pod_the_namespace_is_its_own_unless_a_flag_says_otherwise() {
    let config = run_in("", pod()).expect("good");
    assert_eq!(
        (config.namespace.as_str(), config.pod_name.as_deref()),
        ("hsm-system", Some("operator-0"))
    );
    assert_eq!(
        run_in("--namespace other", pod()).expect("good").namespace,
        "other"
    );
}

#[test]
fn short_days_are_refused_in_a_pod_unless_allowed_on_purpose() {
    assert_eq!(
        run("--day-length 1s").expect("good").day_length,
        Duration::from_secs(1)
    );
    let refused = run_in("--day-length 1s", pod()).expect_err("refused");
    assert!(
        refused.contains("this is a pod; leave it out, or add --allow-short-days"),
        "{refused}"
    );
    assert!(run_in("--day-length 1s --allow-short-days", pod()).is_ok());
    assert!(run_in("--day-length 24h", pod()).is_ok());
}

#[test]
fn every_bad_value_is_told_with_its_cause_and_a_way_out() {
    for (flags, expected) in [
        ("--day-length 25h", "longer than a day; leave it out"),
        (
            "--day-length soon",
            "write a number and a unit (ms, s, m, h, d), such as 90s",
        ),
        ("--cluster-domain Cluster.Local", "is no DNS name; write"),
        (
            "--cluster-domain cluster.local.",
            "without a dot at the end",
        ),
        (
            "--adopt-cluster-id old",
            "is no uid; take the one that ForeignMaterial names",
        ),
        (
            "--lease-duration 10s",
            "must grow in this order, or two could lead; the defaults are",
        ),
        ("--lease-retry 10s", "must grow in this order"),
        ("--lease-retry 0s", "write a number and a unit"),
        ("--clock-tolerance 5", "write a number and a unit"),
        (
            "--lease-name A.b",
            "--lease-name \"A.b\" is no DNS label; use",
        ),
        ("--namespace -", "--namespace \"-\" is no DNS label; use"),
        ("--log-format xml", "[possible values: text, json]"),
        ("--purge-history 0", "0 is not in 1..=36500"),
        ("--undeletable=no", "unexpected value 'no'"),
        ("--purge-quorum 0", "0 is not in 1..=100"),
        ("--purge-rate 0", "0 is not in 1.."),
        ("--concurrency 0", "0 is not in 1..=1000"),
        (
            "--metrics-addr here",
            "invalid value 'here' for '--metrics-addr",
        ),
        (
            "--backends /nowhere.yaml",
            "give --backends a readable YAML file",
        ),
    ] {
        let error = run(flags).expect_err(flags);
        assert!(error.contains(expected), "{flags}: {error}");
    }
}

#[test]
fn a_uid_of_a_cluster_is_taken_as_it_is() {
    let uid = "6f1c2ad4-9d3b-4a53-8a5c-0d2f8a1b2c3d";
    assert_eq!(
        run(&format!("--adopt-cluster-id {uid}"))
            .expect("good")
            .adopt_cluster_id
            .as_deref(),
        Some(uid)
    );
}

#[test]
fn every_flag_has_its_environment_twin_and_a_help_text() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("run");
    for flag in run
        .get_arguments()
        .filter(|flag| flag.get_long().is_some_and(|name| name != "help"))
    {
        let long = flag.get_long().expect("filtered");
        let twin = format!("MHSM_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(
            flag.get_env().and_then(|name| name.to_str()),
            Some(twin.as_str())
        );
        assert!(flag.get_help().is_some(), "--{long}");
    }
    Cli::command().debug_assert();
}

#[test]
fn a_variable_that_is_no_flags_twin_is_named() {
    let names = [
        "PATH",
        "MHSM_PURGE_QUORUM",
        "MHSM_DIGEST",
        "MHSM_PURGE_QUORM",
    ];
    let surroundings = Surroundings {
        variables: names.map(str::to_owned).to_vec(),
        ..Surroundings::default()
    };
    let config = run_in("", surroundings).expect("good");
    assert_eq!(config.strange_variables, ["MHSM_PURGE_QUORM"]);
    let told = "the environment variable MHSM_PURGE_QUORM is the twin of no flag";
    assert!(config.explain().join("\n").contains(told));
}

#[test]
fn the_explanation_says_what_matters() {
    let text = |flags: &str| run(flags).expect("good").explain().join("\n");
    let plain = text("");
    assert!(plain.contains("backend default: embedded, in /var/lib/managed-hsm-operator, up to 256 HSMs of 1000 keys"), "{plain}");
    assert!(
        plain.contains("purges on request: at most 10 an hour, each asked for by 1 user(s)"),
        "{plain}"
    );
    assert!(
        plain.contains(
            "Lease default/managed-hsm-operator: 15s, renewed every 2s, given up after 10s"
        ),
        "{plain}"
    );
    assert!(!plain.contains("demonstrations"));
    let odd = text("--undeletable --day-length 2s");
    assert!(
        odd.contains("none, the cluster is undeletable")
            && odd.contains("lasts 2s: for demonstrations"),
        "{odd}"
    );
}

#[test]
fn pins_are_kept_in_one_place() {
    let config = run("--pin-secret operator-pins").expect("good");
    assert_eq!(config.pin_secret.as_deref(), Some("operator-pins"));
    let both = run("--pin-secret operator-pins --pin-dir /pins").expect_err("two places");
    assert_eq!(
        both,
        "--pin-dir and --pin-secret both say where the PINs are kept; give one of them"
    );
    let odd = run("--pin-secret Operator_Pins").expect_err("no name");
    assert!(
        odd.starts_with("--pin-secret \"Operator_Pins\" is no name of a Secret; use"),
        "{odd}"
    );
}
