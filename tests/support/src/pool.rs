//! Planes are dear (four seconds, 400 MB): one for a whole test binary, and a few exclusive ones at a time.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Options, Plane};

/// How many exclusive planes a test binary runs at a time: what two cores and a small machine bear.
pub const AT_ONCE: usize = 2;

/// The plane of this test binary, with the usual controllers and the project's CRDs. Everybody uses it at once:
/// each test keeps to a [`Plane::namespace`] of its own, and stops no server.
pub async fn shared() -> &'static Plane {
    static SHARED: OnceLock<Plane> = OnceLock::new();
    let start = || {
        SHARED.get_or_init(|| {
            Plane::start(Options::default()).unwrap_or_else(|failure| panic!("{failure}"))
        })
    };
    tokio::task::spawn_blocking(start)
        .await
        .expect("the shared plane starts")
}

/// A plane for one test alone, fresh, ended with the guard. Waits while [`AT_ONCE`] others are out.
pub async fn borrow(options: Options) -> Borrowed {
    static SLOTS: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let slots = SLOTS
        .get_or_init(|| Arc::new(Semaphore::new(AT_ONCE)))
        .clone();
    let slot = slots
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let started = tokio::task::spawn_blocking(move || Plane::start(options))
        .await
        .expect("starting does not panic");
    Borrowed {
        plane: started.unwrap_or_else(|failure| panic!("{failure}")),
        _slot: slot,
    }
}

/// An exclusive plane: see [`borrow`].
pub struct Borrowed {
    // Before the slot: the plane must be gone when the next one starts.
    plane: Plane,
    _slot: OwnedSemaphorePermit,
}

impl Deref for Borrowed {
    type Target = Plane;

    fn deref(&self) -> &Plane {
        &self.plane
    }
}
