//! The socket in the data folder: one line of JSON asks, one line answers. Whoever may read the folder as this user may ask; nobody else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::controller::ledger::{Answer, Asked, Wish};

/// A question is short, though it may name a folder.
const LONGEST: u64 = 16_384;
/// Looking into every token takes a while, and copying all of them to a slow disk a longer one.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Where a running operator listens.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("operator.sock")
}

/// Listens there, with mode 0600 before anybody can find it. The store's lock is held: what lies there is of an operator that is gone.
pub(super) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(data_dir)?;
    let draft = data_dir.join("operator.sock.new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&draft, path(data_dir))?;
    Ok(listener)
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: UnixListener, wishes: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let wishes = wishes.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, wishes).await {
                        tracing::debug!(%error, "a question on the socket was broken off");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the socket in the data folder cannot be served; it is tried again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, wishes: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LONGEST))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str::<Wish>(&line) {
        Ok(wish) => ask_inside(wish, wishes).await,
        Err(error) => Answer::Denied(format!(
            "the question is not understood ({error}); ask with the same version of this program"
        )),
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

pub(super) async fn ask_inside(wish: Wish, wishes: mpsc::Sender<Asked>) -> Answer {
    let (answers, answer) = oneshot::channel();
    let gone = || {
        Answer::Denied(
            "the operator is just ending; ask again when one runs, or when none does".to_owned(),
        )
    };
    match wishes.send((wish, answers)).await {
        Ok(()) => answer.await.unwrap_or_else(|_| gone()),
        Err(_) => gone(),
    }
}

/// Asks the operator that listens. None: nobody does.
pub(super) fn ask(data_dir: &Path, wish: &Wish) -> std::io::Result<Option<Answer>> {
    let nobody = [
        std::io::ErrorKind::NotFound,
        std::io::ErrorKind::ConnectionRefused,
    ];
    let mut stream = match Blocking::connect(path(data_dir)) {
        Err(error) if nobody.contains(&error.kind()) => return Ok(None),
        connected => connected?,
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_string(wish)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(Some(serde_json::from_str(&line)?))
}
