//! The only place that reads a clock, and the judgement whether the clock can be trusted with a purge.
//!
//! A purge needs the local clock and the API server's to agree, and both to be past the date. So what
//! may destroy something asks [`Timekeeper::trusted_now`], which answers the earlier of the two, or the doubt.

mod skew;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

pub use skew::{Doubt, Limits, Skew};

/// One look at both clocks: what time it is, and how long this process has been running (monotonic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub wall: DateTime<Utc>,
    pub monotonic: Duration,
}

/// Where the time comes from. Clones of a settable clock show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real(Instant),
    Set(Arc<Mutex<Reading>>),
}

impl Clock {
    /// The machine's clock.
    pub fn real() -> Self {
        Self(Source::Real(instant()))
    }

    /// A clock that stands still until it is moved: for tests.
    pub fn set_to(wall: DateTime<Utc>) -> Self {
        Self(Source::Set(Arc::new(Mutex::new(Reading {
            wall,
            monotonic: Duration::ZERO,
        }))))
    }

    pub fn read(&self) -> Reading {
        match &self.0 {
            #[allow(
                clippy::disallowed_methods,
                reason = "the one place that everything else gets its time from"
            )]
            Source::Real(start) => Reading {
                wall: Utc::now(),
                monotonic: instant().saturating_duration_since(*start),
            },
            Source::Set(reading) => *lock(reading),
        }
    }

    /// The time of day, as precise as the clock is.
    pub fn now(&self) -> DateTime<Utc> {
        self.read().wall
    }

    /// How long the process has been running: never goes back, whatever is done to the time of day.
    pub fn monotonic(&self) -> Duration {
        self.read().monotonic
    }

    /// Lets time pass on a settable clock; the real one passes by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Set(reading) = &self.0 {
            let mut reading = lock(reading);
            reading.monotonic += by;
            reading.wall += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        }
    }

    /// Sets the time of day of a settable clock without letting time pass: a jump.
    pub fn jump_to(&self, wall: DateTime<Utc>) {
        if let Source::Set(reading) = &self.0 {
            lock(reading).wall = wall;
        }
    }
}

/// Tokio's monotonic clock, for timers. Tests pause it.
pub fn instant() -> Instant {
    Instant::now()
}

/// The clock and what is known of its honesty, shared by all who need a date that destroys.
#[derive(Debug)]
pub struct Timekeeper {
    clock: Clock,
    skew: Mutex<Skew>,
}

impl Timekeeper {
    pub fn new(clock: Clock, limits: Limits) -> Self {
        let skew = Mutex::new(Skew::new(limits, clock.read()));
        Self { clock, skew }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time of day, trusted or not: for what destroys nothing.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The earlier of the local time and the API server's, or why neither may be gone by. Looks for a jump at each call,
    /// so one that happened a moment ago is found too.
    pub fn trusted_now(&self) -> Result<DateTime<Utc>, Doubt> {
        let reading = self.clock.read();
        let mut skew = lock(&self.skew);
        skew.tick(reading);
        skew.judge(reading)
    }

    /// The later of the local time and the API server's, as far as that is known: nothing that the server dates later was made before now.
    pub fn latest_now(&self) -> DateTime<Utc> {
        let reading = self.clock.read();
        lock(&self.skew).latest(reading)
    }

    /// Takes note of what time the API server said it was in an answer to a request that was sent at `sent`.
    pub fn compare(&self, sent: Reading, server: DateTime<Utc>) {
        let received = self.clock.read();
        let mut skew = lock(&self.skew);
        skew.tick(received);
        skew.compare(sent, received, server);
    }

    /// Asks the API server for the time, by the `Date` of its answer to a request that everybody may make.
    pub async fn ask(&self, client: &kube::Client) -> Result<(), AskError> {
        let request = http::Request::get("/version").body(kube::client::Body::empty())?;
        let sent = self.clock.read();
        let response = client.send(request).await?;
        let date = response
            .headers()
            .get(http::header::DATE)
            .and_then(|date| date.to_str().ok());
        self.compare(sent, date.and_then(server_date).ok_or(AskError::NoDate)?);
        Ok(())
    }
}

/// Why the API server's time is not known.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("the API server could not be asked for the time: {0}")]
    Request(#[from] http::Error),
    #[error("the API server did not say what time it is: {0}")]
    Answer(#[from] kube::Error),
    #[error(
        "the API server's answer has no Date header that can be read; is there a proxy in between that strips it?"
    )]
    NoDate,
}

/// The time in a `Date` header (RFC 9110 section 5.6.7), whole seconds.
fn server_date(header: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(header)
        .ok()
        .map(|date| date.with_timezone(&Utc))
}

/// A reading is whole at any moment, so a lock that a panic left behind is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        server_date(text).expect("a date")
    }

    #[test]
    fn the_date_header_of_an_api_server_can_be_read() {
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT").timestamp(), 784_111_777);
        assert_eq!(server_date("yesterday"), None);
    }

    #[test]
    fn clones_of_a_settable_clock_show_the_same_time() {
        let clock = Clock::set_to(at("Sun, 06 Nov 1994 08:49:37 GMT"));
        let clone = clock.clone();
        clock.advance(Duration::from_secs(3));
        assert_eq!(clone.now(), at("Sun, 06 Nov 1994 08:49:40 GMT"));
        assert_eq!(clone.monotonic(), Duration::from_secs(3));
        clock.jump_to(at("Sun, 06 Nov 1994 09:00:00 GMT"));
        assert_eq!(
            clone.read(),
            Reading {
                wall: at("Sun, 06 Nov 1994 09:00:00 GMT"),
                monotonic: Duration::from_secs(3)
            }
        );
    }

    #[test]
    fn the_real_clock_moves_forward_and_cannot_be_set() {
        let clock = Clock::real();
        let before = clock.read();
        clock.jump_to(DateTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(1_000_000));
        let after = clock.read();
        assert!(after.monotonic >= before.monotonic && after.monotonic < Duration::from_secs(1000));
        assert!(after.wall > DateTime::UNIX_EPOCH);
    }

    #[test]
    fn a_jump_is_found_by_the_very_call_that_needs_the_time() {
        let clock = Clock::set_to(at("Sun, 06 Nov 1994 08:49:37 GMT"));
        let keeper = Timekeeper::new(clock.clone(), Limits::default());
        keeper.compare(clock.read(), clock.now());
        assert_eq!(keeper.trusted_now(), Ok(clock.now()));
        clock.jump_to(at("Sat, 06 Nov 2004 08:49:37 GMT"));
        assert!(matches!(keeper.trusted_now(), Err(Doubt::Jumped { .. })));
    }

    async fn asked_of_a_server_that_says(
        date: Option<&'static str>,
    ) -> (Clock, Timekeeper, Result<(), AskError>) {
        let (service, mut server) = tower_test::mock::pair::<
            http::Request<kube::client::Body>,
            http::Response<kube::client::Body>,
        >();
        let clock = Clock::set_to(at("Sun, 06 Nov 1994 08:49:37 GMT"));
        let keeper = Timekeeper::new(clock.clone(), Limits::default());
        let answer = tokio::spawn(async move {
            let (request, respond) = server.next_request().await.expect("a request");
            assert_eq!(
                (request.method().as_str(), request.uri().path()),
                ("GET", "/version")
            );
            let mut response = http::Response::builder().status(200);
            if let Some(date) = date {
                response = response.header("Date", date);
            }
            respond.send_response(
                response
                    .body(kube::client::Body::empty())
                    .expect("a response"),
            );
        });
        let asked = keeper.ask(&kube::Client::new(service, "default")).await;
        answer.await.expect("the server's checks");
        (clock, keeper, asked)
    }

    #[tokio::test]
    async fn the_api_servers_date_makes_the_clock_trusted() {
        let (clock, keeper, asked) =
            asked_of_a_server_that_says(Some("Sun, 06 Nov 1994 08:49:20 GMT")).await;
        assert!(asked.is_ok());
        assert_eq!(
            keeper.trusted_now(),
            Ok(at("Sun, 06 Nov 1994 08:49:20 GMT")),
            "the earlier of the two counts"
        );
        assert_eq!(keeper.now(), clock.now());
    }

    #[tokio::test]
    async fn an_answer_without_a_date_leaves_the_clock_untrusted() {
        let (_, keeper, asked) = asked_of_a_server_that_says(None).await;
        assert!(matches!(asked, Err(AskError::NoDate)));
        assert_eq!(keeper.trusted_now(), Err(Doubt::NeverCompared));
    }
}
