//! The flags of `run` as the manifests need them, read from the command line's own definition.

use clap::{Arg, ArgAction, CommandFactory as _};

use super::Error;
use crate::config::args::Cli;

fn flag(long: &'static str) -> Result<Arg, Error> {
    flag_of("run", long)
}

fn flag_of(command: &str, long: &'static str) -> Result<Arg, Error> {
    let cli = Cli::command();
    let command = cli.find_subcommand(command);
    let found = command.and_then(|command| {
        command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(long))
    });
    found.cloned().ok_or(Error::NoSuchFlag(long))
}

/// The value that holds where nothing is said.
pub(super) fn default(long: &'static str) -> Result<String, Error> {
    let arg = flag(long)?;
    if is_switch(&arg) {
        return Ok("false".to_owned());
    }
    let value = arg.get_default_values().first();
    Ok(value
        .map(|value| value.to_string_lossy().into_owned())
        .unwrap_or_default())
}

/// The environment variable that says the same.
pub(super) fn variable(long: &'static str) -> Result<String, Error> {
    variable_of("run", long)
}

/// The same of a flag of another command.
pub(super) fn variable_of(command: &str, long: &'static str) -> Result<String, Error> {
    let name = flag_of(command, long)?
        .get_env()
        .map(|name| name.to_string_lossy().into_owned());
    name.ok_or(Error::NoSuchFlag(long))
}

/// What `run --help` says of it.
pub(super) fn help(long: &'static str) -> Result<String, Error> {
    let help = flag(long)?.get_help().map(ToString::to_string);
    Ok(help.unwrap_or_default())
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}
