//! Backups that the operator makes by itself, one after the other. It asks for each as a person would, over the same way in.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::{Shared, socket};
use crate::backend::store;
use crate::config::Backups;
use crate::controller::ledger::{Answer, Asked, Wish};

/// One that failed is tried again after this, or after the usual time where that is shorter.
const AGAIN: Duration = Duration::from_secs(600);
/// No timer is longer: the clock is looked at again.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Backs up whenever it is time, for as long as it is led. It never ends.
pub(super) async fn keep(shared: &Shared, wishes: mpsc::Sender<Asked>) {
    let Some(backups) = &shared.config.backups else {
        // Kept, so that nobody takes its end for the end of all questions.
        let _wishes = wishes;
        return std::future::pending().await;
    };
    loop {
        let pause = match newest(shared, backups).await {
            Ok(newest) => due_in(newest, shared.time.now(), backups.every),
            Err(why) => {
                failed(shared, &why);
                backups.every.min(AGAIN)
            }
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause.min(LONGEST)).await;
            continue;
        }
        if let Err(why) = one(shared, backups, &wishes).await {
            failed(shared, &why);
            tokio::time::sleep(backups.every.min(AGAIN)).await;
        }
    }
}

/// One from the future was named by a wrong clock, and is no reason to wait for it.
fn due_in(newest: Option<DateTime<Utc>>, now: DateTime<Utc>, every: Duration) -> Duration {
    let age = newest.and_then(|newest| (now - newest).to_std().ok());
    age.map_or(Duration::ZERO, |age| every.saturating_sub(age))
}

/// When the newest whole one was made; also of an earlier run, so that a restart makes none too many.
async fn newest(shared: &Shared, backups: &Backups) -> Result<Option<DateTime<Utc>>, String> {
    let to = backups.to.clone();
    let kept = blocking(move || store::kept(&to)).await?;
    let past = |(time, _): &(DateTime<Utc>, PathBuf)| *time <= shared.time.now();
    let newest = kept.into_iter().rfind(past).map(|(time, _)| time);
    newest
        .iter()
        .for_each(|time| shared.metrics.backed_up(*time));
    Ok(newest)
}

async fn one(
    shared: &Shared,
    backups: &Backups,
    wishes: &mpsc::Sender<Asked>,
) -> Result<(), String> {
    let folder = backups.to.join(store::name(shared.time.now()));
    let wish = Wish::BackUp {
        folder: folder.clone(),
    };
    match socket::ask_inside(wish, wishes.clone()).await {
        Answer::Done(sentence) => tracing::info!("{sentence}"),
        Answer::Denied(sentence) => return Err(sentence),
        Answer::Rows(..) | Answer::Records(_) => {
            return Err("something else was answered".to_owned());
        }
    }
    let (to, keep) = (backups.to.clone(), backups.keep);
    let removed = blocking(move || store::prune(&to, &folder, keep)).await?;
    if removed > 0 {
        tracing::info!(removed, "older backups were removed");
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> store::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(panicked.to_string()),
    }
}

fn failed(shared: &Shared, why: &str) {
    shared.metrics.backup_failed();
    tracing::warn!("a backup was not made, and is tried again: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::seconds(seconds)
    }

    #[test]
    fn the_next_one_is_due_by_the_age_of_the_last() {
        assert_eq!(due_in(None, at(5), DAY), Duration::ZERO);
        assert_eq!(due_in(Some(at(0)), at(86_400), DAY), Duration::ZERO);
        assert_eq!(due_in(Some(at(0)), at(900_000), DAY), Duration::ZERO);
        assert_eq!(due_in(Some(at(0)), at(86_399), DAY), Duration::from_secs(1));
    }

    #[test]
    fn one_that_a_wrong_clock_named_is_not_waited_for() {
        assert_eq!(due_in(Some(at(900_000)), at(0), DAY), Duration::ZERO);
    }
}
