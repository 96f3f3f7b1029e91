//! `deploy/`: a kustomize base with a file for each subject, and all of it in one file.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Error, GENERATED, NAMESPACE, Object, definitions, labels, named, objects, text};

pub(super) fn files() -> Result<Vec<(String, String)>, Error> {
    let mut all = vec![namespace()?];
    all.extend(objects(NAMESPACE)?);
    let mut subjects: Vec<_> = all.iter().map(|object| object.subject).collect();
    subjects.dedup();
    let mut parts = vec![("crds", definitions()?)];
    for subject in subjects {
        let its = all.iter().filter(|object| object.subject == subject);
        parts.push((subject, text(its.map(|object| &object.value))?));
    }
    let mut kustomization = format!(
        "{GENERATED}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
    );
    let mut files = Vec::new();
    for (subject, text) in &parts {
        kustomization += &format!("- {subject}.yaml\n");
        files.push((
            format!("deploy/base/{subject}.yaml"),
            format!("{GENERATED}{text}"),
        ));
    }
    let whole: Vec<_> = parts.into_iter().map(|(_, text)| text).collect();
    files.push(("deploy/base/kustomization.yaml".to_owned(), kustomization));
    files.push((
        "deploy/install.yaml".to_owned(),
        format!("{GENERATED}{}", whole.join("---\n")),
    ));
    Ok(files)
}

/// Where only restricted pods run.
fn namespace() -> Result<Object, Error> {
    let mut labels = labels();
    for mode in ["enforce", "warn", "audit"] {
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            "restricted".to_owned(),
        );
    }
    let namespace = Namespace {
        metadata: ObjectMeta {
            labels: Some(labels),
            ..named(NAMESPACE)
        },
        ..Namespace::default()
    };
    Object::new("namespace", &namespace)
}
