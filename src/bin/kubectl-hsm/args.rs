//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use managed_hsm_operator::config::duration;
use managed_hsm_operator::manifests::NAMESPACE;

use crate::ending::EXIT_CODES;

/// Shows and recovers deleted HSMs and keys, purges them, and explains why something waits.
#[derive(Debug, Parser)]
#[command(name = "kubectl-hsm", bin_name = "kubectl hsm", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and as whom: as kubectl's own flags.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterArgs {
    /// The context of the kubeconfig; the current one if not said
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// The kubeconfig file; $KUBECONFIG or ~/.kube/config if not said
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace; the context's if not said
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    pub namespace: Option<String>,
    /// Ask as this user
    #[arg(
        long = "as",
        global = true,
        value_name = "USER",
        help_heading = "Cluster"
    )]
    pub as_user: Option<String>,
    /// Ask as one of this group; may be given more than once
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        help_heading = "Cluster",
        requires = "as_user"
    )]
    pub as_groups: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is deleted, until when it is kept, and whether you may recover or purge it
    ListDeleted(ListArgs),
    /// Brings a deleted HSM or key back, with the same material
    Recover(RecoverArgs),
    /// Destroys a deleted HSM or key for good, before its time
    Purge(PurgeArgs),
    /// What is in an HSM: keys, versions, states; what its deletion or its purge would mean
    Tree(NamedArgs),
    /// Why something is in the state that it is in, by which rule, and the way out
    Explain(NamedArgs),
    /// The operator: who leads, its clock, what waits for a purge, what is held
    Status(StatusArgs),
    /// Prints a completion script for the program kubectl-hsm
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Writes the man pages into a folder
    Man {
        /// An existing folder
        dir: PathBuf,
    },
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
    Name,
    Wide,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only what had these labels when it was deleted: key=value, key!=value, key in (a,b), key notin (a,b), key, !key, with commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct OutputArgs {
    /// json, yaml, name or wide; a table if not said
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait for the end and show how far it is
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub wait: bool,
    /// How long to wait, such as 30s, 5m or 1h
    #[arg(long, default_value = "5m", value_parser = duration::parse, value_name = "TIME")]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["name", "all"]))]
pub struct RecoverArgs {
    /// NAME, TYPE/NAME (mhsm/payments, hkey/signing) or a proxy's NAMESPACE.NAME
    pub name: Option<String>,
    /// Everything that the namespace lost: its HSMs with all keys, and deleted keys of HSMs that are there
    #[arg(long)]
    pub all: bool,
    /// The uid that the deleted object had; needed only where you may not list what is deleted
    #[arg(long, conflicts_with = "all")]
    pub uid: Option<String>,
    /// Of an HSM: also every key that was deleted on its own
    #[arg(long)]
    pub with_keys: bool,
    /// Recover into a namespace that was made anew since: the present one, or only that of this uid
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "UID")]
    pub accept_namespace: Option<Option<String>>,
    /// client: print the manifests and change nothing; server: let the cluster judge them and change nothing
    #[arg(long, value_enum, default_value = "none", value_name = "HOW")]
    pub dry_run: DryRun,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    None,
    Client,
    Server,
}

#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// NAME, TYPE/NAME (mhsm/payments, hkey/signing) or a proxy's NAMESPACE.NAME
    pub name: String,
    /// Only if it is still the deleted object with this uid
    #[arg(long)]
    pub uid: Option<String>,
    /// Do not ask for the name to be typed
    #[arg(short, long)]
    pub yes: bool,
    /// Why, for those who read the receipt
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct NamedArgs {
    /// NAME, TYPE/NAME (mhsm/payments, hkey/signing, dhkey/signing, recover/…, purge/…) or a proxy's NAMESPACE.NAME
    pub name: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The namespace that the operator runs in
    #[arg(long, default_value = NAMESPACE, value_name = "NAME")]
    pub operator_namespace: String,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn recovering_needs_a_name_or_all_and_not_both() {
        for wrong in [
            &["recover"][..],
            &["recover", "a", "--all"],
            &["recover", "--all", "--uid", "u"],
        ] {
            let all = [&["kubectl-hsm"], wrong].concat();
            assert!(Cli::try_parse_from(all).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn waiting_is_switched_off_and_a_namespace_accepted_as_kubectl_writes_such_flags() {
        let line = ["kubectl-hsm", "recover", "a", "--wait=false"];
        let Command::Recover(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("recover");
        };
        assert!(!args.wait.wait);
        assert_eq!(args.accept_namespace, None);
        let line = ["kubectl-hsm", "recover", "--accept-namespace", "a"];
        let Command::Recover(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("recover");
        };
        assert_eq!(
            (args.name.as_deref(), args.accept_namespace),
            (Some("a"), Some(None))
        );
    }
}
