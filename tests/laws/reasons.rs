//! `docs/troubleshooting.md`: each reason code with its sentences, and where the planner shows it.

use std::collections::{BTreeMap, BTreeSet};

use managed_hsm_operator::api::{Condition, ConditionStatus, conditions};
use managed_hsm_operator::plan::step::Effect;
use managed_hsm_operator::softdelete::permission::Lack;
use managed_hsm_operator::softdelete::{
    Deleted, Kind, Origin, Protector, Reason, Refusal, Uid, Unless,
};

#[path = "../../src/softdelete/sentence/tests/samples.rs"]
mod samples;

/// The condition of a resource that carries a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Hsm,
    Key,
    Proxy,
    /// The proxy's `PurgeHeld`.
    Held,
    Recover,
    Purge,
}

impl Place {
    fn said(self) -> &'static str {
        match self {
            Self::Hsm => "ManagedHsm",
            Self::Key => "HsmKey",
            Self::Proxy => "proxy",
            Self::Held => "proxy (`PurgeHeld`)",
            Self::Recover => "Recover",
            Self::Purge => "Purge",
        }
    }
}

/// Where each reason was shown, and whether it was shown there as `Stalled` (a Recover or Purge that has failed aside).
pub type Shown = BTreeMap<(Reason, Place), BTreeSet<bool>>;

/// What this effect shows.
pub fn note(effect: &Effect, shown: &mut Shown) {
    let (place, all) = match effect {
        Effect::ShowHsm(_, status) => (Place::Hsm, &status.conditions),
        Effect::ShowKey(_, status) => (Place::Key, &status.conditions),
        Effect::ShowProxy(_, status) => (Place::Proxy, &status.conditions),
        Effect::ShowRecover(_, status) => (Place::Recover, &status.conditions),
        Effect::ShowPurge(_, status) => (Place::Purge, &status.conditions),
        _ => return,
    };
    let failed = conditions::is_true(all, conditions::FAILED);
    let stalled = conditions::is_true(all, conditions::STALLED);
    if let Some(ready) = refusal(all, conditions::READY, ConditionStatus::False) {
        let seen = shown.entry((ready, place)).or_default();
        if !failed {
            seen.insert(stalled);
        }
    }
    if let Some(held) = refusal(all, conditions::PURGE_HELD, ConditionStatus::True) {
        shown.entry((held, Place::Held)).or_default();
    }
}

fn refusal(all: &[Condition], kind: &str, status: ConditionStatus) -> Option<Reason> {
    let said = conditions::get(all, kind).filter(|said| said.status == status)?;
    let codes = Reason::ALL.iter().copied();
    codes.into_iter().find(|code| code.as_str() == said.reason)
}

const HEAD: &str = "# Troubleshooting, by reason code

What a resource waits for, or why it was refused, stands in its conditions as one code and one sentence that names the cause and the way out.
Generated: `make docs` writes this page anew from the sentences in the code, and from where the planner shows them.

```console
kubectl get hsm -A                  # the column Reason
kubectl describe hsmkey signing     # conditions and events
```

- `Ready=False` with `Reconciling=True`: it goes on by itself. With `Stalled=True`: it takes somebody's act, or another object's end.
- A Recover or Purge that says `Failed` has failed for good: create another one if it is still wanted. Any other one waits, and tries again by itself.
- A proxy is `Ready` as long as it can be recovered; what holds its purge stands in its condition `PurgeHeld`.
- `Progressing` is no refusal: it is being worked on.
- An operator that does not start, or a command that fails, says why in one sentence: [cli.md](cli.md).
- A store, PINs, etcd or an HSM that is lost, and what never to do then: [operations.md](operations.md).

";

/// The whole document.
pub fn document(shown: &Shown) -> String {
    let samples = samples::refusals();
    let mut text = HEAD.to_owned();
    text.push_str("| code | shown on | a Recover | a Purge | Stalled |\n|---|---|---|---|---|\n");
    for &reason in Reason::ALL {
        text.push_str(&row(reason, shown, &samples));
    }
    for &reason in Reason::ALL {
        text.push_str(&format!("\n## {reason}\n\n"));
        let said: Vec<_> = samples
            .iter()
            .filter(|sample| sample.reason() == reason)
            .map(|sample| format!("> {}\n", escaped(&sample.to_string())))
            .collect();
        text.push_str(&said.join(">\n"));
        text.push_str(&format!("\n{}\n", reason.background()));
    }
    text
}

fn row(reason: Reason, shown: &Shown, samples: &[Refusal]) -> String {
    let its = shown.keys().filter(|(shown, _)| *shown == reason);
    let its: BTreeSet<_> = its.map(|(_, place)| *place).collect();
    let told: Vec<_> = its.iter().map(|place| place.said()).collect();
    let told = if told.is_empty() {
        "not given by this version".to_owned()
    } else {
        told.join(", ")
    };
    let fate = |place, is_final: bool| match (its.contains(&place), is_final) {
        (false, _) => "",
        (true, true) => "fails",
        (true, false) => "waits",
    };
    let stalls: BTreeSet<_> = samples
        .iter()
        .filter(|sample| sample.reason() == reason)
        .map(Refusal::stalls)
        .collect();
    let stalled = match (stalls.contains(&true), stalls.contains(&false)) {
        (true, true) => "unless it passes by itself",
        (true, false) => "yes",
        _ => "no",
    };
    format!(
        "| [{reason}](#{}) | {told} | {} | {} | {stalled} |\n",
        reason.as_str().to_lowercase(),
        fate(Place::Recover, reason.is_final_for_recover()),
        fate(Place::Purge, reason.is_final_for_purge()),
    )
}

/// A command in a sentence stays as it is to be typed.
fn escaped(sentence: &str) -> String {
    sentence.replace('<', "\\<").replace('*', "\\*")
}

/// Whether all of it is `Stalled` or not as the refusal itself says.
pub fn shown_as_the_refusals_say(shown: &Shown) -> Result<(), String> {
    let samples = samples::refusals();
    for ((reason, place), seen) in shown {
        let its = samples.iter().filter(|sample| sample.reason() == *reason);
        let stalls: BTreeSet<_> = its.map(Refusal::stalls).collect();
        if !seen.is_subset(&stalls) {
            return Err(format!(
                "{reason} on {place:?}: Stalled {seen:?}, but its refusal says {stalls:?}"
            ));
        }
    }
    Ok(())
}
