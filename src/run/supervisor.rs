//! Every task of the process, by name: none ends unseen.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

/// A task ended that should not have, or did not end when it should have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error("the {0} ended by itself; the process ends with it and is best started again")]
    ByItself(&'static str),
    #[error("the {0} failed: {1}")]
    Failed(&'static str, String),
    #[error("the {0} panicked, which is a fault of this program; the lines above say where")]
    Panicked(&'static str),
    #[error(
        "the {0} did not finish within {1:?} and is broken off; the next start goes on from what it sees"
    )]
    Late(&'static str, Duration),
}

/// The tasks that run.
#[derive(Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Starts a task under a name of its own.
    pub fn spawn<E: Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self
            .tasks
            .spawn(async move { task.await.map_err(|error| error.to_string()) });
        self.names.insert(handle.id(), name);
    }

    /// Waits for `work`, unless a task ends before.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            (name, end) = self.next_end() => Err(end.err().unwrap_or(Ended::ByItself(name))),
        }
    }

    /// Waits for the task of that name, which was told to end; no other may end meanwhile.
    pub async fn finish(&mut self, name: &'static str, limit: Duration) -> Result<(), Ended> {
        match tokio::time::timeout(limit, self.next_end()).await {
            Err(_) => Err(Ended::Late(name, limit)),
            Ok((first, end)) if first == name => end,
            Ok((other, end)) => Err(end.err().unwrap_or(Ended::ByItself(other))),
        }
    }

    /// Waits for the tasks of these names, which were told to end together.
    pub async fn finish_all(
        &mut self,
        names: impl IntoIterator<Item = &'static str>,
        limit: Duration,
    ) -> Result<(), Ended> {
        let mut names: Vec<_> = names.into_iter().collect();
        let late = tokio::time::sleep(limit);
        tokio::pin!(late);
        while let Some(next) = names.first() {
            let (name, end) = tokio::select! {
                ended = self.next_end() => ended,
                () = &mut late => return Err(Ended::Late(next, limit)),
            };
            end?;
            names.retain(|one| *one != name);
        }
        Ok(())
    }

    async fn next_end(&mut self) -> (&'static str, Result<(), Ended>) {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let id = joined
            .as_ref()
            .map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or("task");
        let end = match joined {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(error))) => Err(Ended::Failed(name, error)),
            Err(_) => Err(Ended::Panicked(name)),
        };
        (name, end)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tasks() -> Supervisor {
        let mut tasks = Supervisor::default();
        tasks.spawn("idler", pending::<Result<(), String>>());
        tasks
    }

    #[tokio::test]
    async fn work_beside_tasks_that_go_on_is_done() {
        assert_eq!(tasks().beside(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn the_first_task_that_ends_ends_the_work_and_is_named() {
        let mut quiet = tasks();
        quiet.spawn("watch", async { Ok::<(), String>(()) });
        assert_eq!(
            quiet.beside(pending::<()>()).await,
            Err(Ended::ByItself("watch"))
        );
        let mut failing = tasks();
        failing.spawn("watch", async { Err("gone") });
        assert_eq!(
            failing.beside(pending::<()>()).await,
            Err(Ended::Failed("watch", "gone".into()))
        );
        let mut panicking = tasks();
        panicking.spawn("watch", async {
            if SECOND.is_zero() {
                Ok::<(), String>(())
            } else {
                panic!("on purpose")
            }
        });
        assert_eq!(
            panicking.beside(pending::<()>()).await,
            Err(Ended::Panicked("watch"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_was_told_to_end_is_waited_for_up_to_the_limit() {
        let mut tasks = tasks();
        tasks.spawn("worker", async {
            tokio::time::sleep(SECOND).await;
            Ok::<(), String>(())
        });
        assert_eq!(tasks.finish("worker", SECOND * 2).await, Ok(()));
        assert_eq!(
            tasks.finish("idler", SECOND).await,
            Err(Ended::Late("idler", SECOND))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_were_told_to_end_together_may_end_in_any_order() {
        let mut tasks = tasks();
        for (name, seconds) in [("slow", 2), ("quick", 1)] {
            tasks.spawn(name, async move {
                tokio::time::sleep(SECOND * seconds).await;
                Ok::<(), String>(())
            });
        }
        assert_eq!(
            tasks.finish_all(["slow", "quick"], SECOND * 3).await,
            Ok(())
        );
        assert_eq!(
            tasks.finish_all(["idler"], SECOND).await,
            Err(Ended::Late("idler", SECOND))
        );
    }

    #[tokio::test]
    async fn while_one_is_waited_for_another_that_fails_is_told_instead() {
        let mut tasks = tasks();
        tasks.spawn("leader", async { Err("lost") });
        assert_eq!(
            tasks.finish("idler", SECOND).await,
            Err(Ended::Failed("leader", "lost".into()))
        );
    }
}
