//! A backup of the embedded store: all tokens and the ledger as they are at one moment.

use std::path::{Path, PathBuf};

use super::Answer;
use crate::backend::store::{About, Manifest, StoreError};
use crate::controller::{Context, Failure};
use crate::plan::ids;

/// Backs up what is embedded, and says what is not.
pub(super) async fn make(context: &Context, folder: PathBuf) -> Result<Answer, Failure> {
    let (mut made, mut elsewhere) = (None, Vec::new());
    for (backend, module) in &context.backends {
        let about = About {
            taken: context.time.now(),
            pins: context.pins_kept.clone(),
            needed: ids::tokens_needed,
        };
        let into = folder.clone();
        let backed_up = context
            .pool
            .run(module.clone(), move |module| {
                Ok(module.back_up(&into, &about))
            })
            .await?;
        match backed_up {
            Ok(manifest) => made = Some(manifest),
            Err(StoreError::NotEmbedded) => elsewhere.push(backend.as_str()),
            Err(error) => return Ok(Answer::Denied(error.to_string())),
        }
    }
    Ok(match made {
        Some(manifest) => Answer::Done(sentence(&manifest, &folder, &elsewhere)),
        None => Answer::Denied(StoreError::NotEmbedded.to_string()),
    })
}

/// What is in a backup, and what is not. `elsewhere` are the backends that are modules.
pub fn sentence(manifest: &Manifest, folder: &Path, elsewhere: &[&str]) -> String {
    let mut text = format!(
        "{} holds {} HSMs and {} records as they were at {}; no PIN is in it, and without the PINs it is no key: keep {} apart from it",
        folder.display(),
        manifest.tokens,
        manifest.records,
        manifest
            .taken
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        manifest.pins,
    );
    if !manifest.lacking.is_empty() {
        text += &format!(
            "; it lacks the tokens {}, which records need and the store has not whole: keep older backups, which may have them",
            manifest.lacking.join(", ")
        );
    }
    if !elsewhere.is_empty() {
        text += &format!(
            "; not in it: {}, backed up with the vendor's tool",
            elsewhere.join(", ")
        );
    }
    text
}
