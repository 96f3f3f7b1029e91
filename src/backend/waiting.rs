//! A backend that may not be there yet: a module that is not installed, a network HSM that is down. Until it opens every call
//! is answered with the reason, and what is in it waits; the others go on.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use super::{
    Algorithm, Assurance, BackendError, Depth, Handle, HsmBackend, Mark, MaterialId, ObjectFacts,
    Result, Stored, TokenFacts, TokenLabel, TokenRef, Use,
};

/// How often it is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Why it did not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpen {
    pub why: String,
    /// Trying again would do harm, such as a wrong PIN, of which each try counts.
    pub is_final: bool,
}

type Open = Box<dyn Fn() -> std::result::Result<Box<dyn HsmBackend>, NotOpen> + Send + Sync>;

pub struct Waiting {
    open: Open,
    opened: OnceLock<Box<dyn HsmBackend>>,
    opening: Mutex<()>,
    last: Mutex<Option<(NotOpen, Instant)>>,
}

impl Waiting {
    /// Nothing is opened before the first call.
    pub fn new(
        open: impl Fn() -> std::result::Result<Box<dyn HsmBackend>, NotOpen> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            opened: OnceLock::new(),
            opening: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Tries, unless that was just done.
    pub fn opened(&self) -> Result<&dyn HsmBackend> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.as_ref());
        }
        self.failed_just_now()?;
        let _opening = match self.opening.try_lock() {
            Ok(opening) => opening,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            // It may hang, and whoever else asks is not to hang with it.
            Err(TryLockError::WouldBlock) => {
                return Err(BackendError::Unavailable("it is being opened".to_owned()));
            }
        };
        // By somebody who had begun before.
        if let Some(opened) = self.opened.get() {
            return Ok(opened.as_ref());
        }
        self.failed_just_now()?;
        match (self.open)() {
            Ok(opened) => Ok(self.opened.get_or_init(|| opened).as_ref()),
            Err(error) => {
                let why = error.why.clone();
                *self.last() = Some((error, Instant::now()));
                Err(BackendError::Unavailable(why))
            }
        }
    }

    fn failed_just_now(&self) -> Result<()> {
        match self.last().as_ref() {
            Some((error, at)) if error.is_final || at.elapsed() < AGAIN => {
                Err(BackendError::Unavailable(error.why.clone()))
            }
            _ => Ok(()),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(NotOpen, Instant)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each call goes to the one that is open.
macro_rules! hand_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl HsmBackend for Waiting {
            fn assurance(&self) -> Option<Assurance> {
                self.opened.get().and_then(|opened| opened.assurance())
            }

            $(fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.opened()?.$name($($argument),*)
            })*
        }
    };
}

hand_on! {
    records() -> Vec<Stored>;
    read(id: &str) -> Vec<Stored>;
    write(stored: &Stored) -> ();
    restore(stored: &Stored) -> ();
    forget(id: &str, generation: u64) -> ();
    revision() -> u64;
    note_revision(revision: u64) -> ();
    token(label: &TokenLabel) -> Option<TokenFacts>;
    tokens() -> Vec<TokenLabel>;
    create_token(label: &TokenLabel) -> TokenFacts;
    seal_token(token: &TokenRef) -> ();
    unseal_token(token: &TokenRef) -> ();
    open_for_destruction(token: &TokenRef) -> ();
    release_token(token: &TokenRef) -> ();
    objects(token: &TokenRef, ids: &[MaterialId], depth: Depth) -> Vec<ObjectFacts>;
    inventory(token: &TokenRef) -> Vec<ObjectFacts>;
    generate(token: &TokenRef, id: MaterialId, algorithm: Algorithm) -> ();
    publish(token: &TokenRef, handle: Handle) -> ();
    copy(token: &TokenRef, original: Handle, mark: Mark) -> Handle;
    destroy(token: &TokenRef, handle: Handle) -> ();
    use_key(token: &TokenRef, id: MaterialId, what: &Use) -> Vec<u8>;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::backend::memory::MemoryBackend;

    fn failing(is_final: bool, tried: &'static AtomicUsize) -> Waiting {
        Waiting::new(move || {
            if tried.fetch_add(1, Ordering::SeqCst) > 0 {
                return Ok(Box::new(MemoryBackend::new()));
            }
            let why = "it is not installed".to_owned();
            Err(NotOpen { why, is_final })
        })
    }

    #[test]
    fn what_does_not_open_answers_why_and_is_tried_again_after_a_while() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        let waiting = failing(false, &TRIED);
        let why = Err(BackendError::Unavailable("it is not installed".to_owned()));
        assert_eq!(waiting.assurance(), None);
        assert_eq!(waiting.revision(), why);
        assert_eq!(waiting.revision(), why);
        assert_eq!(TRIED.load(Ordering::SeqCst), 1);
        std::thread::sleep(AGAIN);
        assert_eq!(waiting.revision(), Ok(0));
        assert_eq!(waiting.assurance(), Some(Assurance::FULL));
    }

    #[test]
    fn whoever_asks_while_it_opens_is_answered_at_once() {
        let (begin, begun) = std::sync::mpsc::channel();
        let (say, said) = std::sync::mpsc::channel();
        let said = Mutex::new(said);
        let waiting = Waiting::new(move || {
            begin.send(()).unwrap();
            said.lock().unwrap().recv().unwrap();
            Ok(Box::new(MemoryBackend::new()))
        });
        std::thread::scope(|threads| {
            let first = threads.spawn(|| waiting.revision());
            begun.recv().unwrap();
            let why = "it is being opened".to_owned();
            assert_eq!(waiting.revision(), Err(BackendError::Unavailable(why)));
            say.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(0));
        });
        assert_eq!(waiting.revision(), Ok(0));
    }

    #[test]
    fn what_would_do_harm_is_not_tried_again() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        let waiting = failing(true, &TRIED);
        assert!(waiting.revision().is_err());
        std::thread::sleep(AGAIN);
        assert!(waiting.revision().is_err());
        assert_eq!(TRIED.load(Ordering::SeqCst), 1);
    }
}
