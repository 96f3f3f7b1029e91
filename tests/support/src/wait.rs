//! Waiting that says what it saw last.

use std::panic::Location;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `look` again and again until it answers `Ok`; panics with its last `Err` when `timeout` has passed.
/// `look` tells in its `Err` what it saw instead.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    // An async fn would forget who called it.
    let caller = Location::caller();
    async move {
        let began = Instant::now();
        loop {
            match look().await {
                Ok(value) => return value,
                Err(seen) => give_up_after(what, timeout, began, &seen, caller),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The same for code that blocks. Not inside an async test: it would hold the runtime.
#[track_caller]
pub fn eventually_blocking<T>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let (began, caller) = (Instant::now(), Location::caller());
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) => give_up_after(what, timeout, began, &seen, caller),
        }
        std::thread::sleep(PAUSE);
    }
}

fn give_up_after(what: &str, timeout: Duration, began: Instant, seen: &str, caller: &Location<'_>) {
    assert!(
        began.elapsed() < timeout,
        "not within {timeout:?}: {what} ({caller})\nlast seen: {seen}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_what_the_look_found() {
        let mut looks = 0;
        let found = eventually_blocking("three looks", Duration::from_secs(5), || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err(format!("{looks} looks"))
            }
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "last seen: only rain")]
    fn giving_up_tells_what_was_seen_last() {
        eventually_blocking::<()>("sunshine", Duration::ZERO, || Err("only rain".to_owned()));
    }
}
