//! The two shapes of an installation: the embedded store, on a volume that one pod has, or vendors' modules, where a second pod stands by.

use serde_json::{Value as Json, json};

use super::{Value, deployment, in_pod};
use crate::manifests::template::{How, Place, at};
use crate::manifests::{Error, Object, flags};

/// Under which the embedded store's own objects are there.
pub(in crate::manifests) const EMBEDDED: &str = r#"eq .Values.shape "embedded""#;

pub(super) fn values(objects: &[Object]) -> Result<Vec<Value>, Error> {
    let strategy = || Place {
        object: deployment(),
        path: "/spec/strategy".into(),
        how: How::Tree,
    };
    let recreate = serde_yaml_ng::to_string(&json!({"strategy": at(objects, &strategy())?}))?;
    let replicas = || {
        Place {
        object: deployment(),
        path: "/spec/replicas".into(),
        how: How::Scalar(
            r#"{{ if kindIs "invalid" .Values.replicas }}{{ ternary 1 2 (eq .Values.shape "embedded") }}{{ else }}{{ .Values.replicas }}{{ end }}"#.into(),
        ),
    }
    };
    let store = in_pod("volumes/name=store", How::Tree);
    let claimed = serde_yaml_ng::to_string(&[at(objects, &store)?])?;
    Ok(vec![
        Value {
            name: "shape",
            comment: "`embedded`: the keys are in the operator's own store, on a volume that one pod has at a time. `module`: they are in vendors' HSMs alone, named by `backends`; two pods, of which one leads and opens them, and no volume and no PIN Secret of the operator's own. Never changed while anything is kept in the shape that is left.".into(),
            default: json!("embedded"),
            schema: json!({"enum": ["embedded", "module"]}),
            places: vec![
                Place {
                    how: when_embedded(&recreate),
                    ..strategy()
                },
                in_pod(
                    "volumes/name=store",
                    How::Lines(format!(
                        "{{{{- if {EMBEDDED} }}}}\n{claimed}{{{{- else }}}}\n# A lock and a socket, and no key.\n- name: store\n  emptyDir:\n    sizeLimit: 16Mi\n{{{{- end }}}}"
                    )),
                ),
            ],
        },
        Value {
            name: "replicas",
            comment: "How many pods; unset: 1 where the store is embedded, 2 of modules. 0 has it stand still, such as for a restore. Of the embedded shape more could not work at the same time: the store is on a volume that one node mounts, behind a lock. So there an upgrade ends the old pod first (Recreate); deletes wait meanwhile, and nothing is lost.".into(),
            default: Json::Null,
            schema: json!({"type": ["integer", "null"], "minimum": 0, "maximum": 5}),
            places: vec![replicas()],
        },
    ])
}

/// Lines that are there only in the embedded shape.
pub(super) fn when_embedded(lines: &str) -> How {
    How::Lines(format!("{{{{- if {EMBEDDED} }}}}\n{lines}{{{{- end }}}}"))
}

/// The PINs of the embedded store, in the Secret of that name.
pub(super) fn pins(objects: &[Object]) -> Result<Vec<Place>, Error> {
    let variable = flags::variable("pin-secret")?;
    let role = |path: &str, how| Place {
        object: format!("Role/{}", crate::manifests::NAME),
        path: path.into(),
        how,
    };
    let mut rule = at(objects, &role("/rules/3", How::Tree))?;
    rule["resourceNames"][0] = json!("PINS");
    let rule =
        serde_yaml_ng::to_string(&[rule])?.replace("PINS", "{{ .Values.pinSecret | quote }}");
    Ok(vec![
        in_pod(
            &format!("containers/0/env/name={variable}"),
            when_embedded(&format!(
                "- name: {variable}\n  value: {{{{ .Values.pinSecret | quote }}}}\n"
            )),
        ),
        role("/rules/3", when_embedded(&rule)),
    ])
}

/// What one value asks of another.
pub(in crate::manifests) fn rules() -> Json {
    json!([{
        "if": {"properties": {"shape": {"const": "module"}}, "required": ["shape"]},
        "then": {"properties": {
            "backends": {
                "minItems": 1,
                "items": {"properties": {"kind": {"const": "pkcs11"}}},
            },
            "backup": {"properties": {"claim": {"const": ""}}},
        }},
        "else": {"properties": {"replicas": {"maximum": 1}}},
    }])
}
