//! What the user may do, asked of the cluster itself (SelfSubjectAccessReview).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use managed_hsm_operator::api::GROUP;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::permission::{self, Ask, Permission};

use crate::ending::Failure;

const AT_ONCE: usize = 16;

/// The answers so far.
#[derive(Default)]
pub struct Rights(HashMap<Ask, bool>);

/// What a permission needs for that kind in that namespace, all of it. Proxies and Purges are of the cluster, but the verb on a proxy is asked
/// in its origin's namespace; `name`: asked for that object alone.
pub fn asks(permission: Permission, kind: Kind, namespace: &str, name: Option<&str>) -> Vec<Ask> {
    permission::needs(permission, kind)
        .into_iter()
        .map(|right| {
            let purge = permission::purge_needs(kind, namespace, name.unwrap_or_default());
            if purge.right() == right {
                let name = name.map(|_| purge.name.clone()).unwrap_or_default();
                return Ask { name, ..purge };
            }
            let (verb, resource) = right;
            let of_cluster = resource == "purges" || resource == kind.proxies();
            let namespace = if of_cluster { "" } else { namespace };
            Ask {
                verb,
                resource,
                namespace: namespace.to_owned(),
                name: String::new(),
            }
        })
        .collect()
}

impl Rights {
    /// Whether all of it was answered with yes.
    pub fn granted(&self, asks: &[Ask]) -> bool {
        asks.iter().all(|ask| self.0.get(ask) == Some(&true))
    }

    /// Asks what is not known yet.
    pub async fn learn(&mut self, client: &Client, asks: Vec<Ask>) -> Result<(), Failure> {
        let new: HashSet<Ask> = asks
            .into_iter()
            .filter(|ask| !self.0.contains_key(ask))
            .collect();
        let answers: Vec<(Ask, bool)> = stream::iter(new)
            .map(|ask| async {
                let yes = may(client, &ask).await?;
                Ok::<_, Failure>((ask, yes))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.0.extend(answers);
        Ok(())
    }
}

async fn may(client: &Client, ask: &Ask) -> Result<bool, Failure> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                verb: Some(ask.verb.to_owned()),
                resource: Some(ask.resource.to_owned()),
                namespace: some(&ask.namespace),
                name: some(&ask.name),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(permission: Permission, name: Option<&str>) -> Vec<(String, String, String)> {
        let asks = asks(permission, Kind::Key, "demo", name);
        asks.into_iter()
            .map(|ask| {
                (
                    format!("{} {}", ask.verb, ask.resource),
                    ask.namespace,
                    ask.name,
                )
            })
            .collect()
    }

    fn one(what: &str, namespace: &str, name: &str) -> (String, String, String) {
        (what.into(), namespace.into(), name.into())
    }

    #[test]
    fn sd31_the_verb_purge_is_asked_in_the_origins_namespace_and_purges_in_the_cluster() {
        assert_eq!(
            all(Permission::Purge, None),
            [
                one("create purges", "", ""),
                one("purge deletedhsmkeys", "demo", "")
            ]
        );
        assert_eq!(
            all(Permission::Purge, Some("signing"))[1],
            one("purge deletedhsmkeys", "demo", "demo.signing")
        );
    }

    #[test]
    fn sd30_recovering_is_asked_in_the_namespace() {
        assert_eq!(
            all(Permission::Recover, None),
            [
                one("create recovers", "demo", ""),
                one("create hsmkeys", "demo", "")
            ]
        );
    }

    #[test]
    fn what_was_not_asked_is_not_granted() {
        let asks = asks(Permission::Purge, Kind::Hsm, "demo", None);
        assert!(!Rights::default().granted(&asks));
        let half = Rights(HashMap::from([(asks[0].clone(), true)]));
        assert!(!half.granted(&asks));
        let whole = Rights(asks.iter().map(|ask| (ask.clone(), true)).collect());
        assert!(whole.granted(&asks));
    }
}
