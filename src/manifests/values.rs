//! What an installation may choose: the chart's values, each with its comment, its default, what it may be, and where it stands.

mod backup;
pub(super) mod shape;
pub(super) mod webhook;

use serde_json::{Value as Json, json};

use super::template::{How, Place, at};
use super::trial::TRIAL;
use super::{Error, NAME, Object, PIN_SECRET, STORE, flags};

/// One value of the chart. Its default is what the objects have without it.
pub(super) struct Value {
    /// Dotted, as in `--set`.
    pub name: &'static str,
    pub comment: String,
    pub default: Json,
    /// JSON schema.
    pub schema: Json,
    pub places: Vec<Place>,
}

/// A value that sets one of the operator's own flags. How long a day lasts is none of them, and never will be.
pub(super) struct Setting {
    pub flag: &'static str,
    pub name: &'static str,
    pub bounds: Bounds,
}

/// What the flag takes; a test asks the command line whether that is so.
pub(super) enum Bounds {
    Switch,
    Between(i64, i64),
    OneOf(&'static [&'static str]),
}

const fn setting(flag: &'static str, name: &'static str, bounds: Bounds) -> Setting {
    Setting { flag, name, bounds }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting("undeletable", "undeletable", Bounds::Switch),
    setting("purge-quorum", "purgeQuorum", Bounds::Between(1, 100)),
    setting("purge-rate", "purgeRate", Bounds::Between(1, 0xffff_ffff)),
    setting(
        "mass-deletion",
        "massDeletion",
        Bounds::Between(1, 0xffff_ffff),
    ),
    setting("purge-history", "purgeHistory", Bounds::Between(1, 36_500)),
    setting("concurrency", "concurrency", Bounds::Between(1, 1000)),
    setting("log-format", "logFormat", Bounds::OneOf(&["text", "json"])),
];

/// All, in the order of `values.yaml`. `objects` are those without any value.
pub(super) fn all(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let mut all = image(objects)?;
    all.extend(settings()?);
    all.extend(shape::values(objects)?);
    all.extend(backends());
    all.extend(store(objects)?);
    all.extend(backup::values()?);
    all.extend(webhook::values(objects)?);
    all.extend(pod(objects)?);
    all.push(roles());
    all.extend(beside());
    Ok(all)
}

fn image(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let (image, policy) = ("containers/0/image", "containers/0/imagePullPolicy");
    Ok(vec![
        Value {
            name: "image.repository",
            comment: "Where the image is. `make image` makes it; push it where your nodes can pull it from.".into(),
            default: json!(NAME),
            schema: json!({"type": "string", "minLength": 1}),
            places: vec![in_pod(image, How::Scalar(IMAGE.into())), in_trial(image, How::Scalar(IMAGE.into()))],
        },
        Value {
            name: "image.tag",
            comment: "Its tag; empty: the chart's appVersion.".into(),
            default: json!(""),
            schema: json!({"type": "string"}),
            places: vec![],
        },
        Value {
            name: "image.pullPolicy",
            comment: "When it is pulled.".into(),
            default: at(objects, &in_pod(policy, How::Tree))?,
            schema: json!({"enum": ["Always", "IfNotPresent", "Never"]}),
            places: vec![in_pod(policy, How::Tree), in_trial(policy, How::Tree)],
        },
        in_trial_too(optional("imagePullSecrets", "Secrets to pull it with, such as [{name: registry}].", json!([]))),
    ])
}

fn settings() -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    for Setting { flag, name, bounds } in SETTINGS {
        let text = flags::default(flag)?;
        let (default, schema, expression) = match bounds {
            Bounds::Switch => (json!(text == "true"), json!({"type": "boolean"}), "quote"),
            Bounds::Between(least, most) => (
                text.parse::<i64>().map_or(Json::Null, Json::from),
                json!({"type": "integer", "minimum": least, "maximum": most}),
                // Helm reads numbers as floats.
                "int64 | quote",
            ),
            Bounds::OneOf(choices) => (json!(text), json!({"enum": choices}), "quote"),
        };
        all.push(Value {
            name,
            comment: format!("{}.", flags::help(flag)?),
            default,
            schema,
            places: vec![variable(
                flag,
                format!("{{{{ .Values.{name} | {expression} }}}}"),
            )?],
        });
    }
    all.push(Value {
        name: "adoptClusterId",
        comment: format!("{}.", flags::help("adopt-cluster-id")?),
        default: json!(""),
        schema: json!({"type": "string", "pattern": "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"}),
        places: vec![in_pod(
            "containers/0/env/-",
            How::Lines(format!(
                "{{{{- with .Values.adoptClusterId }}}}\n- name: {}\n  value: {{{{ . | quote }}}}\n{{{{- end }}}}",
                flags::variable("adopt-cluster-id")?
            )),
        )],
    });
    Ok(all)
}

/// Where the backends file is mounted.
pub(super) const BACKENDS_FOLDER: &str = "/etc/managed-hsm-operator";
pub(super) const BACKENDS_FILE: &str = "backends.yaml";

fn backends() -> Vec<Value> {
    let when = |lines: &str| {
        How::Lines(format!(
            "{{{{- if .Values.backends }}}}\n{lines}\n{{{{- end }}}}"
        ))
    };
    let more = |name: &str| {
        How::Lines(format!(
            "{{{{- with .Values.{name} }}}}\n{{{{- toYaml . | nindent HERE }}}}\n{{{{- end }}}}"
        ))
    };
    vec![
        Value {
            name: "backends",
            comment: "The backends, as `managed-hsm-operator run --help` shows their file; empty: one, embedded, named `default`. A PKCS#11 module and its PIN files are mounted by `volumes`.".into(),
            default: json!([]),
            schema: json!({"type": "array", "items": {"type": "object", "required": ["name", "kind"]}}),
            places: vec![
                in_pod("containers/0/env/-", when(&format!("- name: MHSM_BACKENDS\n  value: {BACKENDS_FOLDER}/{BACKENDS_FILE}"))),
                in_pod("containers/0/volumeMounts/-", when(&format!("- name: backends\n  mountPath: {BACKENDS_FOLDER}\n  readOnly: true"))),
                in_pod("volumes/-", when(&format!("- name: backends\n  configMap:\n    name: {NAME}-backends"))),
                // The file is read at the start only: another one is another pod.
                Place {
                    object: deployment(),
                    path: "/spec/template/metadata/annotations".into(),
                    how: when("annotations:\n  managedhsm.dev/backends: {{ toYaml .Values.backends | sha256sum }}"),
                },
                Place {
                    object: format!("ConfigMap/{NAME}-backends"),
                    path: format!("/data/{BACKENDS_FILE}"),
                    how: How::Scalar("|{{- toYaml .Values.backends | nindent 4 }}".into()),
                },
            ],
        },
        Value {
            name: "volumes",
            comment: "Further volumes of the pod: a vendor's PKCS#11 library, a Secret with its PIN files.".into(),
            default: json!([]),
            schema: json!({"type": "array", "items": {"type": "object", "required": ["name"]}}),
            places: vec![in_pod("volumes/-", more("volumes"))],
        },
        Value {
            name: "volumeMounts",
            comment: "Where they are mounted.".into(),
            default: json!([]),
            schema: json!({"type": "array", "items": {"type": "object", "required": ["name", "mountPath"]}}),
            places: vec![in_pod("containers/0/volumeMounts/-", more("volumeMounts"))],
        },
        Value {
            name: "env",
            comment: "Environment variables of the container besides, by which a vendor's library finds its configuration and what it is linked to: names and values. The operator's own settings are the values here, not variables.".into(),
            default: json!([]),
            schema: json!({"type": "array", "items": {
                "type": "object", "required": ["name"], "additionalProperties": false,
                "properties": {"name": {"type": "string", "minLength": 1, "not": {"pattern": "^(MHSM_|POD_NAME$)"}}, "value": {"type": "string"}, "valueFrom": {"type": "object"}},
            }}),
            places: vec![in_pod("containers/0/env/-", more("env"))],
        },
    ]
}

fn store(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let claim = |path: &str, how| Place {
        object: format!("PersistentVolumeClaim/{STORE}"),
        path: path.into(),
        how,
    };
    let size = || claim("/spec/resources/requests/storage", How::Tree);
    Ok(vec![
        Value {
            name: "pinSecret",
            comment: "The Secret that keeps the embedded store's PINs. The operator makes it at its first start, once; it is not part of the release. Back it up apart from the volume: without it every key is lost.".into(),
            default: json!(PIN_SECRET),
            schema: json!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}),
            places: std::iter::once(pins_are_guarded(objects)?).chain(shape::pins(objects)?).collect(),
        },
        Value {
            name: "storage.size",
            comment: "The embedded store's volume: a SQLite file for each HSM, and the ledger. It is kept when the release is uninstalled.".into(),
            default: at(objects, &size())?,
            schema: json!({"type": "string", "pattern": "^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"}),
            places: vec![size()],
        },
        Value {
            name: "storage.className",
            comment: "Its storage class; empty: the cluster's default. Take one that fsyncs, and whose volumes are retained.".into(),
            default: json!(""),
            schema: json!({"type": "string"}),
            places: vec![claim("/spec/storageClassName", How::Lines(with("storage.className", "storageClassName")))],
        },
    ])
}

/// The policy's CEL with the Secret's name in it.
fn pins_are_guarded(objects: &[Object]) -> Result<Place, Error> {
    let guard = |how| Place {
        object: "ValidatingAdmissionPolicy/store.managedhsm.dev".into(),
        path: "/spec/matchConditions/0/expression".into(),
        how,
    };
    let cel = at(objects, &guard(How::Tree))?;
    let cel = cel.as_str().unwrap_or_default();
    let cel = cel.replace(PIN_SECRET, "{{ .Values.pinSecret }}");
    // CEL of ours has neither a double quote nor a backslash there.
    Ok(guard(How::Scalar(format!("\"{cel}\""))))
}

fn pod(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let resources = || in_pod("containers/0/resources", How::Tree);
    Ok(vec![
        Value {
            name: "resources",
            comment: "What the pod asks for, and may take. Measured (docs/figures.md): 24 MiB with nothing, 59 MiB with 1000 keys, so some 35 KiB a key, by which the limit has room for about 25 000; a thousandth of a core at rest, and for each key a tenth of a second of CPU to make it and a quarter to soft-delete it. A module's library takes its own besides. No limit of CPU: a process that is held up renews no Lease.".into(),
            default: at(objects, &resources())?,
            schema: json!({"type": "object"}),
            places: vec![resources()],
        },
        in_trial_too(optional("nodeSelector", "On which nodes.", json!({}))),
        in_trial_too(optional(
            "tolerations",
            "And on which tainted ones.",
            json!([]),
        )),
        optional("affinity", "Rules beside that.", json!({})),
        optional(
            "priorityClassName",
            "The pod's priority: while it is not there deletes wait, and with them namespaces. `system-cluster-critical` is not too high.",
            json!(""),
        ),
    ])
}

fn roles() -> Value {
    Value {
        name: "roles.create",
        comment: "The ClusterRoles for people: hsm-viewer (added to `view`), hsm-user (added to `edit` and `admin`), and, to be bound by you, hsm-deleted-viewer, hsm-recoverer, hsm-purger, hsm-admin.".into(),
        default: json!(true),
        schema: json!({"type": "boolean"}),
        // Around the whole objects.
        places: vec![],
    }
}

/// Objects of their own.
fn beside() -> Vec<Value> {
    let switch = |name, comment: &str| Value {
        name,
        comment: comment.to_owned(),
        default: json!(false),
        schema: json!({"type": "boolean"}),
        places: vec![],
    };
    let of = |kind: &str, path: &str, how| Place {
        object: format!("{kind}/{NAME}"),
        path: path.into(),
        how,
    };
    let labels = |name: &'static str, kind: &str, comment: &str| Value {
        name,
        comment: comment.to_owned(),
        default: json!({}),
        schema: json!({"type": "object", "additionalProperties": {"type": "string"}}),
        places: vec![of(
            kind,
            "/metadata/labels/-",
            How::Lines(format!(
                "{{{{- with .Values.{name} }}}}\n{{{{- toYaml . | nindent HERE }}}}\n{{{{- end }}}}"
            )),
        )],
    };
    vec![
        switch(
            "networkPolicy.enabled",
            "A NetworkPolicy: only the metrics and the webhook are reached. It says nothing of where the operator goes.",
        ),
        switch(
            "serviceMonitor.enabled",
            "A ServiceMonitor, by which a Prometheus Operator finds the metrics; its definitions must be there.",
        ),
        Value {
            name: "serviceMonitor.interval",
            comment: "How often they are read.".into(),
            default: json!("30s"),
            schema: json!({"type": "string", "pattern": "^[0-9]+(s|m)$"}),
            places: vec![of(
                "ServiceMonitor",
                "/spec/endpoints/0/interval",
                How::Scalar("{{ .Values.serviceMonitor.interval }}".into()),
            )],
        },
        labels(
            "serviceMonitor.labels",
            "ServiceMonitor",
            "Labels that your Prometheus chooses its ServiceMonitors by.",
        ),
        switch(
            "prometheusRule.enabled",
            "A PrometheusRule: alerts for whoever is on call (a purge ahead, held or overdue, material missing, a backend away, a flood of deletions).",
        ),
        labels(
            "prometheusRule.labels",
            "PrometheusRule",
            "Labels that your Prometheus chooses its rules by.",
        ),
        switch(
            "dashboard.enabled",
            "A Grafana dashboard, in a ConfigMap with the label that Grafana's sidecar looks for.",
        ),
    ]
}

/// A field of the pod that is there only where it is chosen.
fn optional(name: &'static str, comment: &str, default: Json) -> Value {
    let kind = match default {
        Json::Array(_) => "array",
        Json::Object(_) => "object",
        _ => "string",
    };
    Value {
        name,
        comment: comment.to_owned(),
        default,
        schema: json!({ "type": kind }),
        places: vec![in_pod(name, How::Lines(with(name, name)))],
    }
}

/// `helm test`'s pod is chosen for like the operator's.
fn in_trial_too(mut value: Value) -> Value {
    let lines = How::Lines(with(value.name, value.name));
    value.places.push(in_trial(value.name, lines));
    value
}

fn with(value: &str, field: &str) -> String {
    format!(
        "{{{{- with .Values.{value} }}}}\n{field}: {{{{- toYaml . | nindent DEEPER }}}}\n{{{{- end }}}}"
    )
}

const IMAGE: &str =
    r#""{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}""#;

const IN_POD: &str = "/spec/template/spec/";

fn deployment() -> String {
    format!("Deployment/{NAME}")
}

fn in_pod(path: &str, how: How) -> Place {
    Place {
        object: deployment(),
        path: format!("{IN_POD}{path}"),
        how,
    }
}

fn in_trial(path: &str, how: How) -> Place {
    Place {
        object: format!("Pod/{TRIAL}"),
        path: format!("/spec/{path}"),
        how,
    }
}

fn variable(flag: &'static str, expression: String) -> Result<Place, Error> {
    let name = flags::variable(flag)?;
    let path = format!("containers/0/env/name={name}/value");
    Ok(in_pod(&path, How::Scalar(expression)))
}
