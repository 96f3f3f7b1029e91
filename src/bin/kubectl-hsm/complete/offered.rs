//! What may stand in the place of a value: names from the cluster, as far as the user may see them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::config::Kubeconfig;
use kube::{Resource, ResourceExt};
use managed_hsm_operator::api::{HsmKey, ManagedHsm};
use managed_hsm_operator::softdelete::Kind;
use serde::de::DeserializeOwned;

use super::Choices;
use crate::args::{Cli, ClusterArgs};
use crate::cluster::{Cluster, KINDS};
use crate::target::short;

/// Somebody waits at the keyboard.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn values(command: &Command, arg: &Arg, before: &[String], typed: &str) -> Choices {
    let known = arg.get_possible_values();
    if !known.is_empty() {
        let about = |help: Option<&StyledStr>| help.map(ToString::to_string).unwrap_or_default();
        return known
            .iter()
            .map(|value| (value.get_name().to_owned(), about(value.get_help())))
            .collect();
    }
    let cluster = cluster_args(before);
    match (command.get_name(), arg.get_id().as_str()) {
        (_, "context") => contexts(&cluster),
        (_, "namespace" | "operator_namespace") => asked(&cluster, namespaces),
        ("tree", "name") => asked(&cluster, async |cluster| {
            names(cluster, &[Kind::Hsm], true, typed).await
        }),
        ("explain", "name") => asked(&cluster, async |cluster| {
            names(cluster, &KINDS, true, typed).await
        }),
        (_, "name") => asked(&cluster, async |cluster| {
            names(cluster, &KINDS, false, typed).await
        }),
        _ => Choices::new(),
    }
}

/// Which cluster the words so far mean; the line is not whole yet.
fn cluster_args(before: &[String]) -> ClusterArgs {
    let line = ["kubectl-hsm".to_owned()];
    let line = line.iter().chain(before);
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(line)
        .ok();
    let of = |matches: &ArgMatches| ClusterArgs::from_arg_matches(matches).ok();
    let inner = matches.as_ref().and_then(|all| all.subcommand());
    inner
        .map(|(_, inner)| inner)
        .or(matches.as_ref())
        .and_then(of)
        .unwrap_or_default()
}

fn contexts(args: &ClusterArgs) -> Choices {
    let file = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let all = file.map(|file| file.contexts).unwrap_or_default();
    all.into_iter()
        .map(|context| (context.name, String::new()))
        .collect()
}

/// What the cluster answers in time.
fn asked(args: &ClusterArgs, ask: impl AsyncFnOnce(&Cluster) -> Choices) -> Choices {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Choices::new();
    };
    let answer = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let cluster = Cluster::connect(args).await.ok()?;
            Some(ask(&cluster).await)
        })
        .await
    });
    answer.ok().flatten().unwrap_or_default()
}

async fn namespaces(cluster: &Cluster) -> Choices {
    let all: Api<Namespace> = Api::all(cluster.client.clone());
    named(all)
        .await
        .into_iter()
        .map(|name| (name, String::new()))
        .collect()
}

/// What is deleted in the namespace, and with `live` what is there. TYPE/NAME where that was begun, or where one name is of two.
async fn names(cluster: &Cluster, kinds: &[Kind], live: bool, typed: &str) -> Choices {
    let mut all: BTreeMap<String, Vec<(Kind, String)>> = BTreeMap::new();
    for kind in kinds.iter().copied() {
        let fields = format!("spec.origin.namespace={}", cluster.namespace);
        for deleted in cluster.deleted(kind, &fields).await.unwrap_or_default() {
            let until = deleted
                .purge_time
                .map(|time| format!(", kept until {time}"));
            let about = format!("deleted {}{}", kind.object(), until.unwrap_or_default());
            all.entry(deleted.origin.name)
                .or_default()
                .push((kind, about));
        }
        let there = match kind {
            _ if !live => Vec::new(),
            Kind::Hsm => named(namespaced::<ManagedHsm>(cluster)).await,
            Kind::Key => named(namespaced::<HsmKey>(cluster)).await,
        };
        for name in there {
            all.entry(name)
                .or_default()
                .push((kind, kind.object().to_owned()));
        }
    }
    let typed = typed.split_once('/').map(|(of, _)| of);
    let one = |(name, of): (String, Vec<(Kind, String)>)| {
        let two = of.iter().any(|(kind, _)| *kind != of[0].0);
        of.into_iter().map(move |(kind, about)| match typed {
            Some(said) => (format!("{said}/{name}"), about),
            None if two => (format!("{}/{name}", short(kind)), about),
            None => (name.clone(), about),
        })
    };
    all.into_iter().flat_map(one).collect()
}

fn namespaced<K>(cluster: &Cluster) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

async fn named<K>(api: Api<K>) -> Vec<String>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let found = api.list(&ListParams::default()).await;
    let found = found.map(|found| found.items).unwrap_or_default();
    found.iter().map(ResourceExt::name_any).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_that_of_the_unfinished_line() {
        let line = ["recover", "-n", "shop", "--context", "east", "--dry-run"];
        let args = cluster_args(&line.map(str::to_owned));
        assert_eq!(args.namespace.as_deref(), Some("shop"));
        assert_eq!(args.context.as_deref(), Some("east"));
    }
}
