//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::duration::parse as duration;
use crate::telemetry::LogFormat;

const EXIT_CODES: &str = "Exit codes: 0 it went well; 1 it failed while running; 2 the flags or the configuration are not right; 130 a second signal ended it at once.";

const EXAMPLE: &str = "Examples:
  managed-hsm-operator run
  managed-hsm-operator check-config --backends backends.yaml

Exit codes: 0 it went well; 1 it failed while running; 2 the flags or the configuration are not right.";

const RUN_EXAMPLE: &str = "Examples:
  managed-hsm-operator run
  managed-hsm-operator run --backends backends.yaml --purge-quorum 2 --log-format json
  MHSM_UNDELETABLE=true managed-hsm-operator run

The backends file is a YAML list:
  - name: default
    kind: embedded
  - name: rack
    kind: pkcs11
    module: /usr/lib/softhsm/libsofthsm2.so
    pins: {soPinFile: /pins/so, userPinFile: /pins/user}
    ledgerToken: managed-hsm-records
    allowedNamespaces: {names: [payments]}
    maxHsmsPerNamespace: 2
    maxKeysPerHsm: 1000

The cluster is that of the pod, or of the kubeconfig (KUBECONFIG). RUST_LOG says how much is logged.
SIGTERM and SIGINT finish what is under way and release the Lease; a second one ends at once (130).
Exit codes: 0 it went well; 1 it failed while running; 2 the flags or the configuration are not right.";

const CHECK_EXAMPLE: &str = "Example:
  managed-hsm-operator check-config --backends backends.yaml --purge-quorum 2

It takes the flags of `run`, needs no cluster, opens no backend, and prints what `run` would go by.
Exit codes: 0 all is right; 2 something is not, and one sentence says what.";

const CRDS_EXAMPLE: &str = "Examples:
  managed-hsm-operator crds | kubectl apply --server-side -f -
  managed-hsm-operator crds --dir crds/

Exit codes: 0 it went well; 1 a file cannot be written; 2 the flags are not right.";

const TRIAL_EXAMPLE: &str = "Examples:
  managed-hsm-operator trial --namespace default
  helm test hsm

It makes an HSM and a key named trial-…, deletes the key, recovers it, compares the thumbprints, deletes all of it and asks for its purge; where nobody may purge
at once it goes by itself after 7 days. It needs the rights to do so in that namespace.
Exit codes: 0 the key came back as the same; 1 it did not, and one sentence says where it stands; 2 the flags are not right.";

const LEDGER_EXAMPLE: &str = "Examples:
  managed-hsm-operator ledger list
  managed-hsm-operator ledger show 0123456789abcdef0123456789abcdef

It asks the operator that runs, over a socket in the data folder; in a cluster that is
  kubectl -n managed-hsm-operator exec deploy/managed-hsm-operator -- managed-hsm-operator ledger list
Where none runs it takes the Lease and the store itself; then give it the flags that `run` has.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const LIST_EXAMPLE: &str = "Examples:
  managed-hsm-operator ledger list
  managed-hsm-operator ledger list -o json

Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const SHOW_EXAMPLE: &str = "Example:
  managed-hsm-operator ledger show 0123456789abcdef0123456789abcdef

Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const ACCEPT_EXAMPLE: &str = "Example:
  managed-hsm-operator ledger accept 0123456789abcdef0123456789abcdef --digest DIGEST

Look at both with `ledger show` first: what the other one says is forgotten. It ends RecordDisagrees.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const ABANDON_EXAMPLE: &str = "Example:
  managed-hsm-operator ledger abandon 0123456789abcdef0123456789abcdef

Only after the purge date, and only where the backend answers and the material is not there. It ends MaterialMissing.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const STORE_EXAMPLE: &str = "Examples:
  managed-hsm-operator store backup /backups/before-the-upgrade
  managed-hsm-operator store check /backups/before-the-upgrade
  managed-hsm-operator store restore /backups/before-the-upgrade --data-dir /var/lib/managed-hsm-operator

They are about the embedded backend; what is in a PKCS#11 module is backed up with its vendor's tool. No PIN is in a backup.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const BACKUP_EXAMPLE: &str = "Examples:
  managed-hsm-operator store backup /backups/before-the-upgrade
  kubectl -n managed-hsm-operator exec deploy/managed-hsm-operator -- managed-hsm-operator store backup /var/backups/managed-hsm-operator/before-the-upgrade

The operator that runs makes it, over a socket in the data folder, into a folder that it sees and that is empty or not there
yet. Where none runs the files are copied as they lie. It is whole once its manifest.json is there. No PIN is in it, and
without the PINs it is no key: what it prints names where they are, to be kept apart.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const RESTORE_EXAMPLE: &str = "Example:
  managed-hsm-operator store restore /backups/before-the-upgrade --data-dir /var/lib/managed-hsm-operator

Nothing is overwritten, and a backup that is not as it was made is refused. The PINs have to be those of then. What was
changed since then stands with RecordDisagrees or MaterialMissing until a person decides.
Exit codes: 0 it went well; 1 it could not be done, and one sentence says why; 2 the flags are not right.";

const CHECK_STORE_EXAMPLE: &str = "Examples:
  managed-hsm-operator store check /backups/before-the-upgrade
  managed-hsm-operator store check --data-dir /var/lib/managed-hsm-operator

It needs no PIN: it says whether all is there and undamaged, by hashes and SQLite's own check, not what a key can do.
Exit codes: 0 it is whole; 1 it is not, or cannot be looked into, and it says why; 2 the flags are not right.";

/// Soft-delete, recovery and purge protection for HSMs and keys that Kubernetes declares.
#[derive(Clone, Debug, Parser)]
#[command(name = "managed-hsm-operator", version, after_help = EXIT_CODES, after_long_help = EXAMPLE, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the operator until it is told to stop
    #[command(after_long_help = RUN_EXAMPLE)]
    Run(Box<RunArgs>),
    /// Check the flags and the backends file of `run`, without a cluster
    #[command(after_long_help = CHECK_EXAMPLE)]
    CheckConfig(Box<RunArgs>),
    /// Print the definitions of the six kinds, as they are applied to a cluster
    #[command(after_long_help = CRDS_EXAMPLE)]
    Crds(CrdsArgs),
    /// Try an installation: make a key, delete it, recover it, and see that it is the same
    #[command(after_long_help = TRIAL_EXAMPLE)]
    Trial(TrialArgs),
    /// Look at the records beside the material, and decide what only a person can
    #[command(subcommand, after_long_help = LEDGER_EXAMPLE)]
    Ledger(LedgerCommand),
    /// Back up the embedded store, look whether it is whole, or put a backup back
    #[command(subcommand, after_long_help = STORE_EXAMPLE)]
    Store(StoreCommand),
}

/// What is done with the store as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Copy all HSMs and records, as they are at one moment, into a folder; the operator goes on
    #[command(after_long_help = BACKUP_EXAMPLE)]
    Backup(OfFolder),
    /// Put a backup into the empty data folder of an operator that does not run
    #[command(after_long_help = RESTORE_EXAMPLE)]
    Restore(OfFolder),
    /// Look whether a backup, or the store of an operator that does not run, is whole
    #[command(after_long_help = CHECK_STORE_EXAMPLE)]
    Check(CheckArgs),
}

/// A backup's folder.
#[derive(Args, Clone, Debug)]
pub struct OfFolder {
    /// The backup's folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    #[command(flatten)]
    pub place: WhereArgs,
}

/// A backup's folder, or none.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// A backup's folder [default: the data folder]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    #[command(flatten)]
    pub place: WhereArgs,
}

/// What is asked of the records.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    /// List all records, what is deleted without one, and material that no record explains
    #[command(after_long_help = LIST_EXAMPLE)]
    List(ShowArgs),
    /// Show a whole record; where several disagree, each with its digest
    #[command(after_long_help = SHOW_EXAMPLE)]
    Show(OfOne<ShowArgs>),
    /// Say which of different records holds, or that a record of an old store does
    #[command(after_long_help = ACCEPT_EXAMPLE)]
    Accept(AcceptArgs),
    /// Give a deletion up whose material is lost for good: its name becomes free, its id stays barred, nothing is destroyed
    #[command(after_long_help = ABANDON_EXAMPLE)]
    Abandon(OfOne<WhereArgs>),
}

/// One record by its id, as `ledger list` shows it.
#[derive(Args, Clone, Debug)]
pub struct OfOne<T: Args> {
    /// The record's id, 32 hex digits
    #[arg(value_name = "ID", value_parser = id)]
    pub id: String,
    #[command(flatten)]
    pub more: T,
}

/// Which of the records of one id.
#[derive(Args, Clone, Debug)]
pub struct AcceptArgs {
    /// The record's id, 32 hex digits
    #[arg(value_name = "ID", value_parser = id)]
    pub id: String,
    /// The digest of the one that is to hold, as `ledger show` names it
    #[arg(long, env = "MHSM_DIGEST", value_name = "DIGEST")]
    pub digest: String,
    #[command(flatten)]
    pub place: WhereArgs,
}

/// How something is shown.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// How it is shown
    #[arg(
        short,
        long,
        env = "MHSM_OUTPUT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = Output::Text
    )]
    pub output: Output,
    #[command(flatten)]
    pub place: WhereArgs,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// Where the records are: the flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct WhereArgs {
    #[command(
        flatten,
        next_help_heading = "The flags of `run`, of which a running operator needs --data-dir only"
    )]
    pub run: Box<RunArgs>,
}

/// Of these variables those that begin like a flag's twin and are none, such as a misspelt one.
pub fn strange(variables: Vec<String>) -> Vec<String> {
    fn twins(command: &clap::Command) -> Vec<String> {
        let own = command
            .get_arguments()
            .filter_map(|flag| flag.get_env()?.to_str());
        let own: Vec<_> = own.map(str::to_owned).collect();
        let below = command.get_subcommands().flat_map(twins);
        own.into_iter().chain(below).collect()
    }
    let twins = twins(&Cli::command());
    let strange = |name: &String| name.starts_with("MHSM_") && !twins.contains(name);
    let mut names: Vec<_> = variables.into_iter().filter(strange).collect();
    names.sort();
    names
}

fn id(text: &str) -> Result<String, String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 32 && text.bytes().all(hex) {
        return Ok(text.to_owned());
    }
    Err(
        "an id has 32 hex digits; take it from ledger list, or from the message that names it"
            .to_owned(),
    )
}

/// Where a trial is made.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct TrialArgs {
    /// The namespace to make the HSM and the key in
    #[arg(short, long, env = "MHSM_TRIAL_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: String,
    /// How long each step may take
    #[arg(long, env = "MHSM_TRIAL_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
}

/// Where the definitions go.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct CrdsArgs {
    /// Write one file for each kind into this folder, instead of printing them
    #[arg(long, env = "MHSM_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// How the operator runs.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct RunArgs {
    /// The YAML file that lists the backends; without it there is one, embedded, named `default`, with room for 256 HSMs
    #[arg(long, env = "MHSM_BACKENDS", value_name = "FILE")]
    pub backends: Option<PathBuf>,

    /// Refuse every purge on request: what is deleted stays until its retention ends. New HSMs without soft-delete are
    /// refused too, and existing ones keep theirs on for good
    #[arg(long, env = "MHSM_UNDELETABLE")]
    pub undeletable: bool,

    /// How many different users must ask for a purge
    #[arg(long, env = "MHSM_PURGE_QUORUM", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub purge_quorum: u32,

    /// How many purges on request are carried out an hour; what is over waits
    #[arg(long, env = "MHSM_PURGE_RATE", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub purge_rate: u32,

    /// How many soft-deletions within a minute are usual; more are told as a warning Event on the Lease, and held up by nothing
    #[arg(long, env = "MHSM_MASS_DELETION", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub mass_deletion: u32,

    /// How many days finished Purges and the records of what was destroyed stay
    #[arg(long, env = "MHSM_PURGE_HISTORY", value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub purge_history: u32,

    /// The cluster's DNS domain, in the addresses of endpoints
    #[arg(
        long,
        env = "MHSM_CLUSTER_DOMAIN",
        value_name = "NAME",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,

    /// Take over the material of a cluster that is gone: the uid that its namespace kube-system had
    #[arg(long, env = "MHSM_ADOPT_CLUSTER_ID", value_name = "UID")]
    pub adopt_cluster_id: Option<String>,

    /// Where the embedded backend and its ledger keep their files
    #[arg(
        long,
        env = "MHSM_DATA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/managed-hsm-operator"
    )]
    pub data_dir: PathBuf,

    /// Where the embedded backend's PIN files are, `so-pin` and `user-pin`; made at the first start [default: the folder `pins` in the data folder]
    #[arg(long, env = "MHSM_PIN_DIR", value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,

    /// The Secret, in the namespace of the Lease, that keeps the embedded backend's PINs instead of PIN files, as `so-pin` and
    /// `user-pin`; made at the first start
    #[arg(long, env = "MHSM_PIN_SECRET", value_name = "NAME")]
    pub pin_secret: Option<String>,

    /// Where health and metrics are served; port 0 takes a free one and logs it
    #[arg(
        long,
        env = "MHSM_METRICS_ADDR",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub metrics_addr: SocketAddr,

    #[command(flatten)]
    pub webhook: WebhookArgs,

    #[command(flatten)]
    pub backup: BackupArgs,

    /// How log lines look
    #[arg(long, env = "MHSM_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// For demonstrations and tests only: how long a "day" of retention and announcement lasts, such as 1s
    #[arg(long, env = "MHSM_DAY_LENGTH", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub day_length: Duration,

    /// Allow --day-length inside a pod, where it is refused otherwise
    #[arg(long, env = "MHSM_ALLOW_SHORT_DAYS")]
    pub allow_short_days: bool,

    /// How far the local clock and the API server's may be apart before nothing is purged
    #[arg(long, env = "MHSM_CLOCK_TOLERANCE", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub clock_tolerance: Duration,

    /// How many objects are worked on at a time
    #[arg(long, env = "MHSM_CONCURRENCY", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    /// The namespace of the Lease [default: the pod's, else `default`]
    #[arg(long, env = "MHSM_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// The name of the Lease by which one of several operators leads
    #[arg(
        long,
        env = "MHSM_LEASE_NAME",
        value_name = "NAME",
        default_value = "managed-hsm-operator"
    )]
    pub lease_name: String,

    /// How long the Lease lasts: how long others wait for a leader that is gone
    #[arg(long, env = "MHSM_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,

    /// How long a leader goes on without a renewal that worked, before it ends itself
    #[arg(long, env = "MHSM_LEASE_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub lease_renew_deadline: Duration,

    /// How often the Lease is renewed or looked at
    #[arg(long, env = "MHSM_LEASE_RETRY", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub lease_retry: Duration,
}

/// Backups that the operator makes by itself.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct BackupArgs {
    /// The folder into which the embedded store is backed up again and again, each time into a folder of its own that is named by
    /// the time, as `store backup` does; without it nobody does by himself
    #[arg(long, env = "MHSM_BACKUP_TO", value_name = "DIR")]
    pub backup_to: Option<PathBuf>,

    /// How often it is backed up
    #[arg(long, env = "MHSM_BACKUP_EVERY", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub backup_every: Duration,

    /// How many of these backups stay; older ones are removed once a newer one is whole
    #[arg(long, env = "MHSM_BACKUP_KEEP", value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub backup_keep: u16,
}

/// The webhook, and its certificate.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct WebhookArgs {
    /// Where the webhook is served, over TLS, by which people are told early what becomes of what they ask; without it
    /// there is none. Port 0 takes a free one and logs it
    #[arg(long, env = "MHSM_WEBHOOK_ADDR", value_name = "ADDRESS:PORT")]
    pub webhook_addr: Option<SocketAddr>,

    /// The ValidatingWebhookConfiguration that names the webhook, and is told which certificate to trust
    #[arg(
        long,
        env = "MHSM_WEBHOOK_CONFIGURATION",
        value_name = "NAME",
        default_value = "managed-hsm-operator"
    )]
    pub webhook_configuration: String,

    /// The Secret, in the namespace of the Lease, that keeps the webhook's certificate; made at the first start
    #[arg(
        long,
        env = "MHSM_WEBHOOK_SECRET",
        value_name = "NAME",
        default_value = "managed-hsm-operator-webhook"
    )]
    pub webhook_secret: String,

    /// How long the webhook's certificate lasts; at two thirds of it the next one is made
    #[arg(long, env = "MHSM_WEBHOOK_CERT_LIFE", value_name = "DURATION", default_value = "90d", value_parser = duration)]
    pub webhook_cert_life: Duration,

    /// The folder with the webhook's certificate, `tls.crt` and `tls.key`, where somebody else keeps it, such as
    /// cert-manager; read again when it changes. Then neither the Secret nor the configuration is written
    #[arg(long, env = "MHSM_WEBHOOK_CERT_DIR", value_name = "DIR")]
    pub webhook_cert_dir: Option<PathBuf>,
}
