use clap::Parser as _;
use serde_json::{Value as Json, json};

use super::values::{Bounds, SETTINGS};
use super::*;
use crate::config::args::{Cli, Command};
use crate::config::{Config, GRACE, Surroundings};

fn found(kind: &str) -> Json {
    let objects = objects(NAMESPACE).expect("objects");
    let object = objects
        .iter()
        .find(|object| object.id().starts_with(&format!("{kind}/")));
    serde_json::to_value(&object.expect("it is there").value).expect("json")
}

/// The flags that the container's environment stands for.
fn flags_of_the_pod() -> Vec<String> {
    let cli = <Cli as clap::CommandFactory>::command();
    let run = cli.find_subcommand("run").expect("run");
    let container = &found("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let mut words = vec![NAME.to_owned()];
    words.extend(
        container["args"]
            .as_array()
            .expect("args")
            .iter()
            .map(|arg| arg.as_str().expect("text").to_owned()),
    );
    for variable in container["env"].as_array().expect("env") {
        let name = variable["name"].as_str().expect("a name");
        let arg = run
            .get_arguments()
            .find(|arg| arg.get_env().is_some_and(|env| env == name));
        let Some(arg) = arg else {
            assert_eq!(name, "POD_NAME");
            continue;
        };
        let (long, value) = (
            arg.get_long().expect("a flag"),
            variable["value"].as_str().expect("a value"),
        );
        match (arg.get_action(), value) {
            (clap::ArgAction::SetTrue, "false") => {}
            (clap::ArgAction::SetTrue, _) => words.push(format!("--{long}")),
            _ => words.push(format!("--{long}={value}")),
        }
    }
    words
}

#[test]
fn the_pod_runs_by_the_defaults_with_its_pins_in_the_secret() {
    let Command::Run(args) = Cli::try_parse_from(flags_of_the_pod())
        .expect("flags")
        .command
    else {
        panic!("it runs");
    };
    let surroundings = Surroundings {
        in_pod: true,
        pod_name: Some("it".into()),
        namespace: Some(NAMESPACE.into()),
        variables: Vec::new(),
    };
    let config = Config::new(*args, surroundings.clone()).expect("right");
    let Command::Run(defaults) = Cli::try_parse_from([NAME, "run"]).expect("flags").command else {
        panic!("it runs");
    };
    let defaults = Config::new(*defaults, surroundings).expect("right");
    assert_eq!(
        config,
        Config {
            pin_secret: Some(PIN_SECRET.into()),
            webhook: Some(crate::config::Webhook {
                address: "0.0.0.0:8443".parse().expect("an address"),
                certificate: crate::config::Certificate::Own {
                    configuration: NAME.into(),
                    secret: format!("{NAME}-webhook"),
                    life: std::time::Duration::from_secs(90 * 86_400),
                },
            }),
            ..defaults
        }
    );

    let pod = &found("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["volumeMounts"][0]["mountPath"],
        json!(config.data_dir)
    );
    assert_eq!(
        container["ports"][0]["containerPort"],
        json!(config.metrics_addr.port())
    );
    assert_eq!(container["ports"][1]["containerPort"], json!(8443));
    let longest = GRACE + crate::config::HEALTH_GRACE + config.lease_times.deadline;
    let grace = pod["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("seconds");
    assert!(
        grace > longest.as_secs(),
        "{grace} s for what may take {longest:?}"
    );
}

#[test]
fn a_day_is_never_short_in_a_chart() {
    for (path, text) in files().expect("files") {
        assert!(
            !text.contains("DAY_LENGTH") && !text.contains("SHORT_DAYS"),
            "{path}"
        );
    }
}

#[test]
fn the_schema_takes_what_the_command_line_takes() {
    let takes = |flag: &str, value: &str| {
        Cli::try_parse_from([NAME, "run", &format!("--{flag}={value}")]).is_ok()
    };
    for setting in SETTINGS {
        match setting.bounds {
            Bounds::Switch => {
                assert!(Cli::try_parse_from([NAME, "run", &format!("--{}", setting.flag)]).is_ok())
            }
            Bounds::Between(least, most) => {
                for (value, expected) in [
                    (least - 1, false),
                    (least, true),
                    (most, true),
                    (most + 1, false),
                ] {
                    assert_eq!(
                        takes(setting.flag, &value.to_string()),
                        expected,
                        "--{} {value}",
                        setting.flag
                    );
                }
            }
            Bounds::OneOf(choices) => {
                assert!(choices.iter().all(|choice| takes(setting.flag, choice)));
                assert!(!takes(setting.flag, "another"));
            }
        }
    }
}

#[test]
fn a_template_that_an_objects_own_text_looks_like_is_none() {
    let value = serde_yaml_ng::from_str("{kind: ConfigMap, data: {text: 'so {{ it }} stays'}}");
    let object = Object {
        subject: "x",
        value: value.expect("YAML"),
    };
    let text = super::template::template(&object, &[]).expect("a template");
    assert!(text.contains(r#"so {{ "{{" }} it }} stays"#), "{text}");
}

#[test]
fn a_value_without_its_place_is_no_chart() {
    let objects = objects(NAMESPACE).expect("objects");
    let mut values = super::values::all(&objects).expect("values");
    let moved = values.iter_mut().find(|value| value.name == "replicas");
    moved.expect("it is there").places[0].path = "/spec/replica/s".to_owned();
    let deployment = objects
        .iter()
        .find(|object| object.id().starts_with("Deployment/"));
    let refused = super::template::template(deployment.expect("it is there"), &values);
    let others: Vec<_> = objects
        .iter()
        .filter(|it| !it.id().starts_with("Role/"))
        .collect();
    assert!(super::template::all_found(&others, &values).is_err());
    assert_eq!(
        refused.expect_err("no such place").to_string(),
        "the chart wants to replace Deployment/managed-hsm-operator /spec/replica/s, and no object has it"
    );
}

#[test]
fn no_role_has_a_wildcard() {
    for kind in ["ClusterRole", "Role"] {
        let text = found(kind).to_string();
        assert!(
            !text.contains('*') && !text.contains("escalate") && !text.contains("bind\""),
            "{text}"
        );
    }
}

#[test]
fn what_holds_the_keys_is_kept() {
    let keep = "helm.sh/resource-policy";
    assert_eq!(
        found("PersistentVolumeClaim")["metadata"]["annotations"][keep],
        "keep"
    );
    for crd in api::crds() {
        assert_eq!(crd.metadata.annotations.expect("annotations")[keep], "keep");
    }
}
