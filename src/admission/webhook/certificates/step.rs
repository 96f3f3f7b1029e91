//! What to do next about the certificates: one look, one step.

use chrono::{DateTime, Utc};

use super::kept::Kept;

/// One look at all that matters.
pub(super) struct Seen<'a> {
    /// None: there is no Secret, or none that can be read.
    pub kept: Option<&'a Kept>,
    /// What the configuration trusts, if all its webhooks trust the same.
    pub trusted: Option<&'a [u8]>,
    /// It has trusted that for long enough that every API server does.
    pub settled: bool,
    /// What the API server calls the webhook by.
    pub names: &'a [String],
    pub now: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is kept: make a certificate, and keep it.
    Make,
    /// Let the configuration trust every authority that is kept.
    Trust,
    /// Make the next one, with its authority beside the present one's.
    MakeNext,
    /// Serve the next one, which is trusted everywhere, or the only one that can be.
    TakeNext,
    /// Leave out the authorities that are past their life.
    Forget,
    Rest,
}

/// First what is kept, then that it is trusted, and only then what is served: so nothing is ever served that is not trusted.
pub(super) fn step(seen: &Seen<'_>) -> Step {
    let Some(kept) = seen.kept else {
        return Step::Make;
    };
    if seen.trusted != Some(kept.bundle().as_bytes()) {
        return Step::Trust;
    }
    let fits = |pair: &super::kept::Pair| {
        pair.is_for(seen.names) && pair.due().is_some_and(|due| seen.now < due)
    };
    match &kept.next {
        Some(next) if !fits(next) => Step::MakeNext,
        Some(_) if seen.settled || kept.current.is_over(seen.now) => Step::TakeNext,
        Some(_) => Step::Rest,
        None if !fits(&kept.current) => Step::MakeNext,
        None if kept.valid_authorities(seen.now).len() < kept.authorities.len() => Step::Forget,
        None => Step::Rest,
    }
}

#[cfg(test)]
mod tests;
