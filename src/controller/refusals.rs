//! Recoveries that the API server refused a moment ago. The proxy goes back each time, and that write alone would wake the next try at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Lineage;
use crate::plan::observed::{Refused, Tried};

/// So long the answer counts as the one that would be given again; shorter than the planner's own pause, after which it is asked anew.
const COUNTS: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Lineage, (Instant, Refused)>>);

impl Refusals {
    /// Takes note, if it is one that a look alone would try again.
    pub fn note(&self, lineage: &Lineage, refused: &Refused, now: Instant) {
        if refused.what == Tried::CreateObject {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, (at, _)| *at + COUNTS > now);
            all.insert(lineage.clone(), (now, refused.clone()));
        }
    }

    /// What was refused lately.
    pub fn of(&self, lineage: &Lineage, now: Instant) -> Option<Refused> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(lineage).filter(|(at, _)| *at + COUNTS > now);
        found.map(|(_, refused)| refused.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::observed::No;
    use crate::softdelete::Kind;

    #[test]
    fn a_refused_create_counts_for_a_while_and_for_its_own_lineage_only() {
        let (refusals, now) = (Refusals::default(), crate::clock::instant());
        let [one, other] = ["one", "other"].map(|name| Lineage::new(Kind::Key, "ns", name));
        let refused = |what| Refused {
            what,
            why: "a quota".into(),
            how: No::Answer,
        };
        refusals.note(&one, &refused(Tried::CreateObject), now);
        refusals.note(&other, &refused(Tried::Backend), now);
        assert_eq!(refusals.of(&one, now), Some(refused(Tried::CreateObject)));
        assert_eq!(refusals.of(&other, now), None);
        assert_eq!(refusals.of(&one, now + COUNTS), None);
    }
}
