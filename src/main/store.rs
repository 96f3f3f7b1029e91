//! The `store` commands: what is done, and how it is told.

use std::path::{Path, PathBuf};

use managed_hsm_operator::backend::store::Checked;
use managed_hsm_operator::config::args::{Output, StoreCommand};
use managed_hsm_operator::run;

use super::{FAILED, FINE, Failure, WRONG, config, ledger};

/// Does it, and says how it went.
pub fn run(command: StoreCommand) -> Result<u8, Failure> {
    let failed = |error: &dyn std::error::Error| (FAILED, error.to_string());
    match command {
        StoreCommand::Backup(args) => {
            // The operator has a working folder of its own.
            let folder = absolute(&args.folder)?;
            let answer = run::back_up(&config(*args.place.run)?, &folder);
            ledger::tell(answer.map_err(|error| failed(&error))?, Output::Text)
        }
        StoreCommand::Restore(args) => {
            let config = config(*args.place.run)?;
            let backup = run::restore(&config, &args.folder).map_err(|error| failed(&error))?;
            println!(
                "{} holds {} HSMs and {} records as they were at {}; have the operator use the PINs of then ({}), and look with ledger list for what was changed since: it stands with RecordDisagrees or MaterialMissing until a person decides",
                config.data_dir.display(),
                backup.tokens,
                backup.records,
                backup.taken.to_rfc3339(),
                backup.pins,
            );
            Ok(FINE)
        }
        StoreCommand::Check(args) => {
            let config = config(*args.place.run)?;
            let folder = args.folder.unwrap_or(config.data_dir);
            let checked = run::check(&folder).map_err(|error| failed(&error))?;
            show(&folder, &checked)
        }
    }
}

fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    let shown = folder.display();
    std::path::absolute(folder).map_err(|error| {
        (
            WRONG,
            format!("{shown} is no path ({error}); name a folder"),
        )
    })
}

fn show(folder: &Path, checked: &Checked) -> Result<u8, Failure> {
    let what = match &checked.manifest {
        Some(manifest) => format!("backup of {}", manifest.taken.to_rfc3339()),
        None => "store".to_owned(),
    };
    println!(
        "{}: {what}, {} HSMs, {} records",
        folder.display(),
        checked.tokens,
        checked.records
    );
    if checked.faults.is_empty() {
        println!("it is whole");
        return Ok(FINE);
    }
    checked.faults.iter().for_each(|fault| println!("{fault}"));
    Err((
        FAILED,
        format!(
            "{} is not whole: take another backup, or put what is damaged back from one",
            folder.display()
        ),
    ))
}
