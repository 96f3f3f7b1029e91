//! A certificate from files that somebody else keeps, such as cert-manager's Secret as a volume: `tls.crt` and `tls.key`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};

use super::Serve;

/// How often it is looked whether they changed.
const EVERY: Duration = Duration::from_secs(5);

/// The files' folder.
pub struct Files {
    folder: PathBuf,
    serve: Serve,
}

impl Files {
    pub fn new(folder: &Path, serve: Serve) -> Self {
        Self {
            folder: folder.to_owned(),
            serve,
        }
    }

    /// For ever: whatever can be used is served, and what cannot leaves the last one in its place.
    pub async fn keep(self) -> std::convert::Infallible {
        let mut last: Option<(Vec<u8>, SecretSlice<u8>)> = None;
        let mut told = String::new();
        loop {
            let sentence = match self.read().await {
                Ok(found) if last.as_ref().is_some_and(|last| same(last, &found)) => told.clone(),
                Ok(found) => {
                    let taken = (self.serve)(&found.0, found.1.expose_secret());
                    last = Some(found);
                    if taken.is_ok() {
                        tracing::info!(folder = %self.folder.display(), "the webhook has a certificate, from files");
                    }
                    taken.err().unwrap_or_default()
                }
                Err(sentence) => sentence,
            };
            if !sentence.is_empty() && sentence != told {
                tracing::warn!(folder = %self.folder.display(), "the files tls.crt and tls.key cannot be served, so the webhook goes on with what it had, if anything ({sentence}); they are read again until they can");
            }
            told = sentence;
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn read(&self) -> Result<(Vec<u8>, SecretSlice<u8>), String> {
        let file = async |name: &str| {
            let read = tokio::fs::read(self.folder.join(name)).await;
            read.map_err(|error| format!("{name} cannot be read: {error}"))
        };
        Ok((file("tls.crt").await?, file("tls.key").await?.into()))
    }
}

fn same(one: &(Vec<u8>, SecretSlice<u8>), other: &(Vec<u8>, SecretSlice<u8>)) -> bool {
    one.0 == other.0 && one.1.expose_secret() == other.1.expose_secret()
}
