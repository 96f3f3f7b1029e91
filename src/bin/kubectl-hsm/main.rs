//! `kubectl hsm`: shows and recovers what is deleted, purges it, and explains why something waits. It is nothing but a client of the
//! cluster, with the rights of whoever calls it; every decision is the operator's.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

mod args;
mod cluster;
mod complete;
mod contents;
mod deleted;
mod ending;
mod explain;
mod list;
mod output;
mod purge;
mod recover;
mod rights;
#[cfg(test)]
mod samples;
mod selector;
mod status;
mod table;
mod target;
mod tree;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};
use cluster::Cluster;
use ending::{Exit, Failure};

fn main() -> ExitCode {
    // Before anything can speak TLS. It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut words = std::env::args_os();
    if words
        .next()
        .is_some_and(|program| complete::is_asked(program.as_ref()))
    {
        complete::run(words.collect());
        return ExitCode::from(Exit::Done as u8);
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(failure) => {
            output::tell(&format!("error: {}", failure.sentence));
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Completion { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "kubectl-hsm", &mut out);
            output::print(&String::from_utf8_lossy(&out));
            Ok(())
        }
        Command::Man { dir } => clap_mangen::generate_to(Cli::command(), dir).map_err(|error| {
            Failure::usage(format!(
                "The man pages cannot be written into {} ({error}); name a folder that is there and writable.",
                dir.display()
            ))
        }),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::new(Exit::Refused, format!("It cannot start: {error}.")))?;
            runtime.block_on(ask(cli))
        }
    }
}

async fn ask(cli: Cli) -> Result<(), Failure> {
    let cluster = Cluster::connect(&cli.cluster).await?;
    match &cli.command {
        Command::ListDeleted(args) => list::run(&cluster, args).await,
        Command::Recover(args) => recover::run(&cluster, args).await,
        Command::Purge(args) => purge::run(&cluster, args).await,
        Command::Tree(args) => tree::run(&cluster, args).await,
        Command::Explain(args) => explain::run(&cluster, args).await,
        Command::Status(args) => status::run(&cluster, args).await,
        // Those that need no cluster are done by then.
        Command::Completion { .. } | Command::Man { .. } => Ok(()),
    }
}
