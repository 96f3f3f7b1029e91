//! The backend's own threads. A module blocks (a key generation takes seconds), so nothing of it runs on the async runtime.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::{BackendError, HsmBackend, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that serve calls in the order they came. They end when the last clone is dropped.
#[derive(Clone)]
pub struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    /// Starts `threads` threads (at least one).
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("backend-{number}"))
                .spawn(move || serve(&queue))?;
        }
        Ok(Pool { jobs })
    }

    /// Runs `call` on one of the threads. A panic in it is `Unavailable`: it may have worked. If the caller stops waiting, the call goes on all the same.
    pub async fn run<T, F>(&self, backend: Arc<dyn HsmBackend>, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn HsmBackend) -> Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| call(backend.as_ref())));
            // Nobody waits any more: the outcome is found at the next look.
            let _ = answer.send(outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))));
        });
        let gone = || BackendError::Unavailable("the backend's threads are gone".to_owned());
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(mpsc::RecvError) => return,
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> BackendError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or(panic.downcast_ref::<String>().map(String::as_str));
    BackendError::Unavailable(format!(
        "the backend panicked: {}",
        text.unwrap_or("without a word")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::MemoryBackend;

    fn backend() -> Arc<dyn HsmBackend> {
        Arc::new(MemoryBackend::new())
    }

    #[tokio::test]
    async fn a_call_runs_on_a_thread_of_the_pool() {
        let pool = Pool::new(2).unwrap();
        let name = pool
            .run(backend(), |_| {
                Ok(thread::current().name().map(str::to_owned))
            })
            .await
            .unwrap()
            .unwrap();
        assert!(name.starts_with("backend-"), "{name}");
    }

    #[tokio::test]
    async fn a_panic_is_unavailable_and_the_thread_goes_on() {
        let pool = Pool::new(1).unwrap();
        let lost: Result<()> = pool.run(backend(), |_| panic!("oh")).await;
        assert_eq!(
            lost,
            Err(BackendError::Unavailable(
                "the backend panicked: oh".to_owned()
            ))
        );
        assert_eq!(pool.run(backend(), |it| it.revision()).await, Ok(0));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_finished() {
        let pool = Pool::new(1).unwrap();
        let backend = backend();
        let write = |it: &dyn HsmBackend| it.note_revision(9);
        // Polled once, so that it is sent, then dropped.
        let mut call = Box::pin(pool.run(Arc::clone(&backend), write));
        assert!(futures::poll!(&mut call).is_pending() || backend.revision() == Ok(9));
        drop(call);
        assert_eq!(pool.run(backend, |it| it.revision()).await, Ok(9));
    }
}
