//! The `ledger` commands: what is asked, and how the answer is shown.

use std::time::Duration;

use managed_hsm_operator::backend::pkcs11;
use managed_hsm_operator::config::args::{LedgerCommand, Output, RunArgs};
use managed_hsm_operator::controller::ledger::{Answer, Row, Shown, Wish};
use managed_hsm_operator::run;

use super::{FAILED, FINE, Failure, config};

/// Asks, shows the answer, and says how it went.
pub fn run(command: LedgerCommand) -> Result<u8, Failure> {
    let (wish, output, flags) = wish(command);
    tell(asked(wish, flags)?, output)
}

/// Shows an answer, and says how it went.
pub fn tell(answer: Answer, output: Output) -> Result<u8, Failure> {
    match answer {
        Answer::Rows(rows, away) => {
            print!("{}", shown(&rows, output, table)?);
            away.iter().for_each(|sentence| eprintln!("{sentence}"));
            Ok(if away.is_empty() { FINE } else { FAILED })
        }
        Answer::Records(records) => {
            print!("{}", shown(&records, output, documents)?);
            Ok(FINE)
        }
        Answer::Done(sentence) => {
            println!("{sentence}");
            Ok(FINE)
        }
        Answer::Denied(sentence) => Err((FAILED, sentence)),
    }
}

fn wish(command: LedgerCommand) -> (Wish, Output, Box<RunArgs>) {
    match command {
        LedgerCommand::List(args) => (Wish::List, args.output, args.place.run),
        LedgerCommand::Show(args) => {
            let wish = Wish::Show { id: args.id };
            (wish, args.more.output, args.more.place.run)
        }
        LedgerCommand::Accept(args) => {
            let (id, digest) = (args.id, args.digest);
            (Wish::Accept { id, digest }, Output::Text, args.place.run)
        }
        LedgerCommand::Abandon(args) => {
            (Wish::Abandon { id: args.id }, Output::Text, args.more.run)
        }
    }
}

fn asked(wish: Wish, flags: Box<RunArgs>) -> Result<Answer, Failure> {
    let failed = |error: &dyn std::error::Error| (FAILED, error.to_string());
    let config = config(*flags)?;
    // Where no operator runs the PINs are in this process's memory.
    pkcs11::harden().map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(&error))?;
    let answer = runtime.block_on(run::ask(config, wish));
    runtime.shutdown_timeout(Duration::ZERO);
    answer.map_err(|error| failed(&error))
}

fn shown<T: serde::Serialize>(
    all: &[T],
    output: Output,
    text: impl Fn(&[T]) -> Result<String, String>,
) -> Result<String, Failure> {
    let text = match output {
        Output::Text => text(all),
        Output::Json => serde_json::to_string_pretty(all)
            .map(|text| text + "\n")
            .map_err(|error| error.to_string()),
    };
    text.map_err(|error| (FAILED, error))
}

/// Columns as wide as what is in them.
fn table(rows: &[Row]) -> Result<String, String> {
    const HEAD: [&str; 8] = [
        "ID",
        "KIND",
        "NAMESPACE",
        "NAME",
        "STATE",
        "GENERATION",
        "DELETED",
        "PURGE AT",
    ];
    let or_dash = |text: Option<&str>| {
        text.filter(|text| !text.is_empty())
            .unwrap_or("-")
            .to_owned()
    };
    let cells = |row: &Row| {
        [
            row.id.clone(),
            or_dash(Some(&row.kind)),
            or_dash(Some(&row.namespace)),
            or_dash(Some(&row.name)),
            row.state.clone(),
            row.generation.to_string(),
            or_dash(row.deleted.as_deref()),
            or_dash(row.purge.as_deref()),
        ]
    };
    let lines: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<_> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    for row in rows {
        if let Some(note) = &row.note {
            text.push_str(&format!("{}: {note}\n", row.id));
        }
    }
    Ok(text)
}

/// YAML documents, one a record.
fn documents(records: &[Shown]) -> Result<String, String> {
    let document = |record: &Shown| {
        serde_yaml_ng::to_string(record)
            .map(|text| format!("---\n{text}"))
            .map_err(|error| error.to_string())
    };
    records.iter().map(document).collect()
}
