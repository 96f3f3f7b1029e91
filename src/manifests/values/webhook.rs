//! What an installation may choose of the webhook.

use serde_json::json;

use super::{IN_POD, Value, deployment, in_pod, with};
use crate::manifests::template::{How, Place, at};
use crate::manifests::{Error, NAME, Object, flags};

/// Where the webhook's certificate is mounted.
pub(in crate::manifests) const CERTIFICATE_FOLDER: &str = "/etc/managed-hsm-operator-webhook";

pub(super) fn values(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let configuration = format!("ValidatingWebhookConfiguration/{NAME}");
    let folder = flags::variable("webhook-cert-dir")?;
    let with_secret = |lines: &str| {
        How::Lines(format!(
            "{{{{- if and .Values.webhook.enabled .Values.webhook.certSecret }}}}\n{lines}\n{{{{- end }}}}"
        ))
    };
    let address = flags::variable("webhook-addr")?;
    let item = |object: &str, path: &str| where_enabled(objects, object, path);
    Ok(vec![
        Value {
            name: "webhook.enabled",
            comment: "Whether people are told early: a create under a reserved name or a purge that must fail is refused at once, and a delete says until when it can be taken back, and how. Advice only: without it nothing is less safe.".into(),
            default: json!(true),
            schema: json!({"type": "boolean"}),
            places: vec![
                item(&deployment(), &format!("{IN_POD}containers/0/env/name={address}"))?,
                item(&deployment(), &format!("{IN_POD}containers/0/ports/name=webhook"))?,
                item(&format!("Service/{NAME}"), "/spec/ports/name=webhook")?,
                item(&format!("ClusterRole/{NAME}"), "/rules/9")?,
                item(&format!("Role/{NAME}"), "/rules/4")?,
            ],
        },
        Value {
            name: "webhook.certSecret",
            comment: "A Secret with the webhook's certificate, `tls.crt` and `tls.key`, for the Service's name, such as cert-manager fills; empty: the operator makes its own, and changes it in time.".into(),
            default: json!(""),
            schema: json!({"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}),
            places: vec![
                in_pod("containers/0/env/-", with_secret(&format!("- name: {folder}\n  value: {CERTIFICATE_FOLDER}"))),
                in_pod("containers/0/volumeMounts/-", with_secret(&format!("- name: webhook\n  mountPath: {CERTIFICATE_FOLDER}\n  readOnly: true"))),
                in_pod("volumes/-", with_secret("- name: webhook\n  secret:\n    secretName: {{ .Values.webhook.certSecret | quote }}\n    # The operator does not wait for advice.\n    optional: true")),
            ],
        },
        Value {
            name: "webhook.annotations",
            comment: "Annotations of its ValidatingWebhookConfiguration, such as cert-manager.io/inject-ca-from: namespace/certificate, by which cert-manager says which certificate to trust.".into(),
            default: json!({}),
            schema: json!({"type": "object", "additionalProperties": {"type": "string"}}),
            places: vec![Place {
                object: configuration,
                path: "/metadata/annotations".into(),
                how: How::Lines(with("webhook.annotations", "annotations")),
            }],
        },
    ])
}

/// A list's item as it is, but only where the webhook is wanted.
fn where_enabled(objects: &[Object], object: &str, path: &str) -> Result<Place, Error> {
    let place = |how| Place {
        object: object.to_owned(),
        path: path.to_owned(),
        how,
    };
    let item = at(objects, &place(How::Tree))?;
    let item = serde_yaml_ng::to_string(&[item])?;
    Ok(place(How::Lines(format!(
        "{{{{- if .Values.webhook.enabled }}}}\n{item}{{{{- end }}}}"
    ))))
}
