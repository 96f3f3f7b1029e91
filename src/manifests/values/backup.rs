//! What an installation may choose of backups: the claim is its own, since a copy of the store belongs on another disk.

use serde_json::{Value as Json, json};

use super::{Value, in_pod};
use crate::manifests::template::How;
use crate::manifests::{Error, flags};

/// Where the claim is mounted.
const FOLDER: &str = "/var/backups/managed-hsm-operator";

pub(super) fn values() -> Result<Vec<Value>, Error> {
    let where_wanted = |lines: &str| {
        How::Lines(format!(
            "{{{{- if .Values.backup.claim }}}}\n{lines}\n{{{{- end }}}}"
        ))
    };
    let [to, every, keep] = ["backup-to", "backup-every", "backup-keep"].map(flags::variable);
    let variables = format!(
        "- name: {}\n  value: {FOLDER}\n- name: {}\n  value: {{{{ .Values.backup.every | quote }}}}\n- name: {}\n  value: {{{{ .Values.backup.keep | int64 | quote }}}}",
        to?, every?, keep?
    );
    let volume = "- name: backups\n  persistentVolumeClaim:\n    claimName: {{ .Values.backup.claim | quote }}";
    let kept = flags::default("backup-keep")?.parse::<i64>();
    Ok(vec![
        Value {
            name: "backup.claim",
            comment: "A PersistentVolumeClaim of yours, on another disk than the store's, into which the operator backs the embedded store up by itself; empty: it does not. No PIN is in a backup.".into(),
            default: json!(""),
            schema: json!({"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}),
            places: vec![
                in_pod("containers/0/env/-", where_wanted(&variables)),
                in_pod("containers/0/volumeMounts/-", where_wanted(&format!("- name: backups\n  mountPath: {FOLDER}"))),
                in_pod("volumes/-", where_wanted(volume)),
            ],
        },
        Value {
            name: "backup.every",
            comment: format!("{}.", flags::help("backup-every")?),
            default: json!(flags::default("backup-every")?),
            schema: json!({"type": "string", "pattern": "^[1-9][0-9]*(s|m|h|d)$"}),
            places: vec![],
        },
        Value {
            name: "backup.keep",
            comment: format!("{}.", flags::help("backup-keep")?),
            default: kept.map_or(Json::Null, Json::from),
            schema: json!({"type": "integer", "minimum": 1, "maximum": 65_535}),
            places: vec![],
        },
    ])
}
