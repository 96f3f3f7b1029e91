//! `kubectl hsm <TAB>`: kubectl asks the executable `kubectl_complete-hsm` what may follow, with the words so far as arguments, the last being the one
//! that is typed (`pluginCompletion` in k8s.io/kubectl). That is this program under a second name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};

use crate::args::Cli;
use crate::output::print;

mod offered;

use offered::values;

/// The second name.
pub const NAME: &str = "kubectl_complete-hsm";
/// Cobra's ShellCompDirective, as its last line says it: no files in place of what is not there, or files.
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

/// What may stand there, and a word about it.
type Choices = BTreeMap<String, String>;

/// What the word is, as far as those before it say.
enum Place<'a> {
    Subcommand,
    Flag,
    ValueOf(&'a Arg),
    Nothing,
}

pub fn is_asked(program: &Path) -> bool {
    program.file_stem().is_some_and(|name| name == NAME)
}

/// Prints what may follow. Whatever goes wrong, nothing is offered, and nothing is said into somebody's prompt.
pub fn run(words: Vec<OsString>) {
    let words: Vec<_> = words
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (word, before) = words
        .split_last()
        .map_or(("", &[][..]), |(word, before)| (word.as_str(), before));
    let mut root = Cli::command();
    root.build();
    let (command, place) = place(&root, before, word);
    let (start, typed) = match (&place, word.split_once('=')) {
        (Place::ValueOf(_), Some((flag, value))) if word.starts_with("--") => {
            (format!("{flag}="), value)
        }
        _ => (String::new(), word),
    };
    let (choices, end) = match place {
        Place::Subcommand => (subcommands(command), NO_FILES),
        Place::Flag => (flags(command), NO_FILES),
        Place::ValueOf(arg) if is_file(arg) => (Choices::new(), FILES),
        Place::ValueOf(arg) => (values(command, arg, before, typed), NO_FILES),
        Place::Nothing => (Choices::new(), NO_FILES),
    };
    let fitting = choices.iter().filter(|(name, _)| name.starts_with(typed));
    let lines = fitting.map(|(name, about)| match about.is_empty() {
        true => format!("{start}{name}\n"),
        false => format!("{start}{name}\t{about}\n"),
    });
    print(&format!("{}{end}\n", lines.collect::<String>()));
}

fn place<'a>(root: &'a Command, before: &[String], word: &str) -> (&'a Command, Place<'a>) {
    let mut command = root;
    let mut positionals = 0;
    let mut awaited = None;
    for said in before {
        if awaited.take().is_some() {
            continue;
        } else if said.starts_with('-') {
            awaited = option(command, said).filter(|arg| takes_next(arg) && !has_value(said));
        } else if let Some(found) = command.find_subcommand(said) {
            command = found;
        } else {
            positionals += 1;
        }
    }
    let place = if let Some(arg) = awaited {
        Place::ValueOf(arg)
    } else if word.starts_with("--") && word.contains('=') {
        option(command, word).map_or(Place::Nothing, Place::ValueOf)
    } else if word.starts_with('-') {
        Place::Flag
    } else if command.has_subcommands() {
        Place::Subcommand
    } else {
        let next = command.get_positionals().nth(positionals);
        next.map_or(Place::Nothing, Place::ValueOf)
    };
    (command, place)
}

fn option<'a>(command: &'a Command, said: &str) -> Option<&'a Arg> {
    let long = said.strip_prefix("--");
    let long = long.map(|long| long.split('=').next().unwrap_or(long));
    let short = said
        .strip_prefix('-')
        .and_then(|short| short.chars().next());
    command.get_arguments().find(|arg| match long {
        Some(_) => arg.get_long() == long && long.is_some(),
        None => arg.get_short() == short && short.is_some(),
    })
}

/// As `--namespace=shop` and `-nshop` have it.
fn has_value(said: &str) -> bool {
    said.contains('=') || (!said.starts_with("--") && said.len() > "-n".len())
}

/// Its value is the next word, and not one after `=`.
fn takes_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn subcommands(command: &Command) -> Choices {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let about = |one: &Command| one.get_about().map(ToString::to_string);
    shown
        .map(|one| (one.get_name().to_owned(), about(one).unwrap_or_default()))
        .collect()
}

fn flags(command: &Command) -> Choices {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let named = shown.filter_map(|arg| Some((arg.get_long()?, arg.get_help())));
    named
        .map(|(long, help)| {
            let help = help.map(ToString::to_string).unwrap_or_default();
            (format!("--{long}"), help)
        })
        .collect()
}

fn is_file(arg: &Arg) -> bool {
    ["kubeconfig", "dir"].contains(&arg.get_id().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &[&str], word: &str) -> String {
        let mut root = Cli::command();
        root.build();
        let before: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
        match place(&root, &before, word) {
            (_, Place::Subcommand) => "a subcommand".to_owned(),
            (of, Place::Flag) => format!("a flag of {}", of.get_name()),
            (of, Place::ValueOf(arg)) => format!("{} of {}", arg.get_id(), of.get_name()),
            (_, Place::Nothing) => "nothing".to_owned(),
        }
    }

    #[test]
    fn what_a_word_is_the_ones_before_it_say() {
        for (line, word, is) in [
            (&[][..], "re", "a subcommand"),
            (&["-n", "recover"], "", "a subcommand"),
            (&["recover"], "", "name of recover"),
            (&["recover", "-n", "shop"], "", "name of recover"),
            (&["recover", "--namespace=shop"], "", "name of recover"),
            (&["recover", "-nshop"], "", "name of recover"),
            (&["recover", "--wait=false"], "", "name of recover"),
            (&["recover", "--accept-namespace"], "", "name of recover"),
            (&["recover"], "--w", "a flag of recover"),
            (&["recover", "signing"], "", "nothing"),
            (&["recover", "-n"], "", "namespace of recover"),
            (&["recover"], "--dry-run=c", "dry_run of recover"),
            (&["list-deleted", "-o"], "", "output of list-deleted"),
            (&["list-deleted"], "", "nothing"),
            (&["list-deleted"], "--other=x", "nothing"),
            (&["completion"], "", "shell of completion"),
            (&["man"], "", "dir of man"),
        ] {
            assert_eq!(at(line, word), is, "{line:?} {word:?}");
        }
    }

    #[test]
    fn it_is_asked_under_its_second_name() {
        assert!(is_asked(Path::new("/usr/bin/kubectl_complete-hsm")));
        assert!(!is_asked(Path::new("kubectl-hsm")));
    }
}
