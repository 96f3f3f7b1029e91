//! A namespace that was made anew since is another one: recovering into it takes a word more (SD-19).

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use managed_hsm_operator::softdelete::Refusal;

use crate::args::RecoverArgs;
use crate::cluster::Cluster;
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};

/// The uid of the namespace to accept, where it is not the one of then (SD-19).
pub async fn acceptance(
    cluster: &Cluster,
    args: &RecoverArgs,
    namespace: &str,
    deleted: Option<&Deleted>,
) -> Result<Option<String>, Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let present = match namespaces.get(namespace).await.map_err(Failure::from) {
        Ok(found) if found.metadata.deletion_timestamp.is_some() => {
            let namespace = namespace.to_owned();
            return Err(Refusal::NamespaceTerminating { namespace }.into());
        }
        Ok(found) => found.uid(),
        Err(failure) if failure.exit == Exit::NotFound => {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "There is no namespace {namespace} any more; make it with kubectl create namespace {namespace}, and ask again with --accept-namespace."
                ),
            ));
        }
        Err(failure) if failure.exit == Exit::NotPermitted => None,
        Err(failure) => return Err(failure),
    };
    accepted(args.accept_namespace.as_ref(), present, namespace, deleted)
}

pub fn accepted(
    said: Option<&Option<String>>,
    present: Option<String>,
    namespace: &str,
    deleted: Option<&Deleted>,
) -> Result<Option<String>, Failure> {
    let Some(present) = present else {
        // Whether it is the one of then the operator finds out.
        return match said {
            Some(None) => Err(Failure::new(
                Exit::NotPermitted,
                format!(
                    "You may not read the namespace {namespace}; say which one you accept with --accept-namespace=UID."
                ),
            )),
            Some(Some(uid)) => Ok(Some(uid.clone())),
            None => Ok(None),
        };
    };
    if deleted.is_some_and(|deleted| deleted.origin.namespace_uid == present) {
        return Ok(None);
    }
    match (said, deleted) {
        (Some(Some(uid)), _) if *uid != present => Err(Failure::usage(format!(
            "The namespace {namespace} has the uid {present}, not {uid}; accept that one if it is the one that you mean."
        ))),
        (Some(_), _) => Ok(Some(present)),
        (None, None) => Ok(None),
        (None, Some(deleted)) => Err(Failure::from(Refusal::NamespaceChanged {
            kind: deleted.kind,
            origin: deleted.spec_origin(),
            present: present.as_str().into(),
        })
        .or("Here that is: kubectl hsm recover --accept-namespace, and the name.")),
    }
}
