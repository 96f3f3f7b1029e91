//! The operator's executable.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

#[path = "main/ledger.rs"]
mod ledger;
#[path = "main/store.rs"]
mod store;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use managed_hsm_operator::api;
use managed_hsm_operator::backend::pkcs11;
use managed_hsm_operator::config::args::{Cli, Command, RunArgs, TrialArgs};
use managed_hsm_operator::config::{Config, Surroundings};
use managed_hsm_operator::{run, telemetry};

const FINE: u8 = 0;
const FAILED: u8 = 1;
const WRONG: u8 = 2;

fn main() -> ExitCode {
    // Before anything can speak TLS. It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = match Cli::parse().command {
        Command::Run(args) => operate(*args),
        Command::CheckConfig(args) => check_config(*args),
        Command::Crds(args) => crds(args.dir.as_deref()),
        Command::Trial(args) => trial(args),
        Command::Ledger(command) => ledger::run(command),
        Command::Store(command) => store::run(command),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err((code, sentence)) => {
            eprintln!("error: {sentence}");
            ExitCode::from(code)
        }
    }
}

/// How a command ended that did not go well: exit code and sentence.
type Failure = (u8, String);

fn config(args: RunArgs) -> Result<Config, Failure> {
    Config::new(args, Surroundings::look()).map_err(|error| (WRONG, error.to_string()))
}

fn operate(args: RunArgs) -> Result<u8, Failure> {
    let config = config(args)?;
    let failed = |error: &dyn std::error::Error| (FAILED, error.to_string());
    telemetry::init(config.log_format).map_err(|error| failed(&error))?;
    pkcs11::harden().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(&error))?;
    let ended = runtime.block_on(run::run(config));
    // Whatever still hangs in a module must not keep the process from ending.
    runtime.shutdown_timeout(Duration::ZERO);
    let Err(error) = ended else { return Ok(FINE) };
    // Told like all else while it runs, so that collectors of JSON can read it.
    tracing::error!("{error}");
    Ok(error.exit_code())
}

fn check_config(args: RunArgs) -> Result<u8, Failure> {
    let config = config(args)?;
    println!("The configuration is right; `run` would go by:");
    config
        .explain()
        .iter()
        .for_each(|line| println!("  {line}"));
    Ok(FINE)
}

fn crds(dir: Option<&Path>) -> Result<u8, Failure> {
    let files = api::crds_yaml().map_err(|error| (FAILED, error.to_string()))?;
    for (name, text) in files {
        match dir {
            None => print!("---\n{text}"),
            Some(dir) => write(&dir.join(name), &text)?,
        }
    }
    Ok(FINE)
}

fn trial(args: TrialArgs) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| (FAILED, error.to_string()))?;
    let ended = runtime.block_on(run::trial(args.namespace, args.timeout));
    ended
        .map(|()| FINE)
        .map_err(|error| (error.exit_code(), error.to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let shown = path.display();
    std::fs::write(path, text)
        .map_err(|error| (FAILED, format!("{shown} cannot be written ({error}); give --dir a folder that is there and writable")))
}
