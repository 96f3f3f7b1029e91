//! What a NAME on the command line means, and the deleted object that it names.

use managed_hsm_operator::api::GROUP;
use managed_hsm_operator::softdelete::Kind;
use managed_hsm_operator::softdelete::names::{origin_of_proxy, proxy_name};

use crate::cluster::{Cluster, KINDS};
use crate::deleted::Deleted;
use crate::ending::{Exit, Failure};

/// How like one name must be to another to be offered instead: of 0 to 1.
const LIKE: f64 = 0.65;
const OFFERED: usize = 3;

/// What sort of thing a type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An HSM or key, live or deleted.
    Object(Kind),
    /// A deleted one only.
    Proxy(Kind),
    Recover,
    Purge,
}

impl Sort {
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Object(kind) | Self::Proxy(kind) => Some(kind),
            Self::Recover | Self::Purge => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub sort: Option<Sort>,
    pub namespace: String,
    pub name: String,
}

impl Target {
    /// Reads NAME, TYPE/NAME, or NAMESPACE.NAME; `namespace` is -n's or the context's, `said` whether it is -n's.
    pub fn parse(text: &str, namespace: &str, said: bool) -> Result<Self, Failure> {
        let (sort, name) = match text.split_once('/') {
            None => (None, text),
            Some((sort, name)) => (Some(sort_of(sort)?), name),
        };
        if name.is_empty() || name.contains('/') {
            return Err(Failure::usage(format!(
                "{text:?} is no name; write NAME, TYPE/NAME or NAMESPACE.NAME."
            )));
        }
        let is_request = matches!(sort, Some(Sort::Recover | Sort::Purge));
        let (own, name) = match origin_of_proxy(name).filter(|_| !is_request) {
            Some((own, name)) => (Some(own), name),
            None if name.contains('.') && !is_request => {
                return Err(Failure::usage(format!(
                    "{name:?} is no name of an HSM or key, nor a proxy's, which is NAMESPACE.NAME; write one of these."
                )));
            }
            None => (None, name),
        };
        if let Some(own) = own.filter(|own| said && *own != namespace) {
            return Err(Failure::usage(format!(
                "{text} is of the namespace {own}, and -n says {namespace}; leave one of them out."
            )));
        }
        Ok(Self {
            sort,
            namespace: own.unwrap_or(namespace).to_owned(),
            name: name.to_owned(),
        })
    }

    pub fn of(cluster: &Cluster, text: &str) -> Result<Self, Failure> {
        Self::parse(text, &cluster.namespace, cluster.namespace_said)
    }

    /// Only HSMs and keys can be recovered or purged.
    pub fn kind(&self) -> Result<Option<Kind>, Failure> {
        match self.sort {
            None => Ok(None),
            Some(sort) => sort.kind().map(Some).ok_or_else(|| {
                Failure::usage(format!(
                    "{} is a request, and no HSM or key; name what it is about.",
                    self.name
                ))
            }),
        }
    }

    pub fn proxy(&self) -> String {
        proxy_name(&self.namespace, &self.name)
    }
}

/// The type that a person would write.
pub const fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::Hsm => "mhsm",
        Kind::Key => "hkey",
    }
}

fn sort_of(text: &str) -> Result<Sort, Failure> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_suffix(&format!(".{GROUP}")).unwrap_or(&lower);
    Ok(match short {
        "hsm" | "mhsm" | "managedhsm" | "managedhsms" => Sort::Object(Kind::Hsm),
        "key" | "hkey" | "hsmkey" | "hsmkeys" => Sort::Object(Kind::Key),
        "dmhsm" | "deletedmanagedhsm" | "deletedmanagedhsms" => Sort::Proxy(Kind::Hsm),
        "dhkey" | "deletedhsmkey" | "deletedhsmkeys" => Sort::Proxy(Kind::Key),
        "recover" | "recovers" => Sort::Recover,
        "purge" | "purges" => Sort::Purge,
        _ => {
            return Err(Failure::usage(format!(
                "{text:?} is no type; write mhsm for an HSM or hkey for a key."
            )));
        }
    })
}

/// The deleted object that a target names.
pub async fn find(cluster: &Cluster, target: &Target) -> Result<Deleted, Failure> {
    let mut found = Vec::new();
    let mut refused = None;
    for kind in kinds(target.kind()?) {
        match cluster.deleted_named(kind, &target.proxy()).await {
            Ok(more) => found.extend(more),
            Err(failure) if failure.exit == Exit::NotPermitted => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    match (found.len(), refused) {
        // Another of that name may be there, and the wrong one must not be taken for it.
        (1, Some(_)) if target.sort.is_none() => Err(unsure(target)),
        (1, _) => Ok(found.remove(0)),
        (0, Some(refused)) => Err(refused),
        (0, None) => Err(not_deleted(cluster, target).await),
        _ => Err(which(target)),
    }
}

pub fn kinds(one: Option<Kind>) -> Vec<Kind> {
    one.map_or_else(|| KINDS.to_vec(), |kind| vec![kind])
}

/// The user may see one kind only.
pub fn unsure(target: &Target) -> Failure {
    let name = &target.name;
    Failure::usage(format!(
        "You may not see whether {name} is an HSM, a key or both; write mhsm/{name} or hkey/{name}."
    ))
}

/// An HSM and a key have that name.
pub fn which(target: &Target) -> Failure {
    let name = &target.name;
    Failure::usage(format!(
        "Both an HSM and a key are named {name} in the namespace {}; write mhsm/{name} or hkey/{name}.",
        target.namespace
    ))
}

async fn not_deleted(cluster: &Cluster, target: &Target) -> Failure {
    let mut all = Vec::new();
    for kind in KINDS {
        // What cannot be read is not offered.
        all.extend(cluster.deleted(kind, "").await.unwrap_or_default());
    }
    let names: Vec<_> = all
        .iter()
        .map(|deleted| {
            (
                deleted.origin.namespace.as_str(),
                deleted.origin.name.as_str(),
            )
        })
        .collect();
    let Target {
        namespace, name, ..
    } = target;
    let hint = hint(namespace, name, &names);
    Failure::missing(format!(
        "Nothing named {name} is deleted in the namespace {namespace}; {hint}"
    ))
}

/// The way out: that name elsewhere, or names like it here.
fn hint(namespace: &str, name: &str, deleted: &[(&str, &str)]) -> String {
    let elsewhere = deleted
        .iter()
        .find(|(other, same)| *same == name && *other != namespace);
    if let Some((other, _)) = elsewhere {
        return format!("there is one in the namespace {other} (-n {other}).");
    }
    let here = deleted
        .iter()
        .filter(|(other, _)| *other == namespace)
        .map(|(_, name)| *name);
    match nearest(name, here) {
        names if names.is_empty() => "see what is with kubectl hsm list-deleted -A.".to_owned(),
        names => format!("did you mean {}?", names.join(" or ")),
    }
}

/// The names that are most like it, the likest first.
pub fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut like: Vec<_> = among
        .into_iter()
        .map(|other| {
            (
                strsim::normalized_damerau_levenshtein(name, other).max(prefix(name, other)),
                other,
            )
        })
        .filter(|(like, _)| *like >= LIKE)
        .collect();
    like.sort_by(|(one, a), (other, b)| other.total_cmp(one).then(a.cmp(b)));
    like.dedup();
    like.truncate(OFFERED);
    like.into_iter().map(|(_, name)| name).collect()
}

/// Somebody who typed the beginning meant the whole.
fn prefix(name: &str, other: &str) -> f64 {
    if other.starts_with(name) { LIKE } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Sort>, String, String) {
        let target = Target::parse(text, "here", false).unwrap();
        (target.sort, target.namespace, target.name)
    }

    #[test]
    fn a_name_is_read_in_each_of_its_forms() {
        let said = |sort, namespace: &str, name: &str| (sort, namespace.into(), name.into());
        assert_eq!(parsed("signing"), said(None, "here", "signing"));
        let key = Some(Sort::Object(Kind::Key));
        for text in [
            "hkey/a",
            "hsmkey/a",
            "HsmKey/a",
            "key/a",
            "hsmkeys.managedhsm.dev/a",
        ] {
            assert_eq!(parsed(text), said(key, "here", "a"), "{text}");
        }
        let hsm = Some(Sort::Proxy(Kind::Hsm));
        assert_eq!(parsed("dmhsm/there.a"), said(hsm, "there", "a"));
        assert_eq!(parsed("there.a"), said(None, "there", "a"));
        assert_eq!(
            parsed("recover/a.b"),
            said(Some(Sort::Recover), "here", "a.b")
        );
    }

    #[test]
    fn what_is_no_name_gets_a_sentence_with_the_way_out() {
        for (text, words) in [
            ("", "write NAME"),
            ("hkey/", "write NAME"),
            ("pod/a", "write mhsm for an HSM or hkey for a key"),
            ("a.b.c", "NAMESPACE.NAME"),
        ] {
            let failure = Target::parse(text, "here", false).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{text}");
            assert!(failure.sentence.contains(words), "{}", failure.sentence);
        }
        let failure = Target::parse("there.a", "here", true).unwrap_err();
        assert!(
            failure.sentence.contains("leave one of them out"),
            "{}",
            failure.sentence
        );
        Target::parse("here.a", "here", true).unwrap();
    }

    #[test]
    fn names_that_are_like_it_are_offered_and_others_are_not() {
        let all = ["invoice-signing", "archive-wrapping", "invoice-sealing"];
        assert_eq!(
            nearest("invoice-singing", all),
            ["invoice-signing", "invoice-sealing"]
        );
        assert_eq!(nearest("archive", all), ["archive-wrapping"]);
        assert!(nearest("root-ca", all).is_empty());
    }

    #[test]
    fn the_same_name_in_another_namespace_comes_before_names_like_it() {
        let deleted = [("there", "a-key"), ("here", "a-kay")];
        assert!(hint("here", "a-key", &deleted).contains("(-n there)"));
        assert_eq!(hint("here", "a-kax", &deleted), "did you mean a-kay?");
        assert!(hint("here", "z", &deleted).contains("list-deleted -A"));
    }
}
