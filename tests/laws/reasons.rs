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

/// What the sentence leaves unsaid. Exhaustive, so that no code comes without it.
#[rustfmt::skip]
fn background(reason: Reason) -> &'static str {
    match reason {
        Reason::ObjectIsDeletedButRecoverable => "A deleted object keeps its resource's name, and a key also its name in the HSM, case ignored (SD-17). The new resource stands without material until the name is free or it is given the deleted one's.",
        Reason::NameTaken => "Two resources ask for one key name in one HSM, case ignored; the one that the record names has it (SD-17).",
        Reason::PurgeProtected => "The switch may be the object's own, that of the HSM around it, or that of a key in it (SD-14). The purge at the end of retention is not hindered.",
        Reason::UndeletableSubscription => "The operator runs with `--undeletable` (SD-15). The purge at the end of retention is not hindered.",
        Reason::FieldImmutable => "The manifest changed what was fixed at creation. Nothing is done to the material.",
        Reason::RetentionImmutable => "`spec.retentionDays` is fixed at creation, \"not said\" included (SD-08). Nothing is done to the material.",
        Reason::RetentionExceedsHsm => "No key keeps longer than its HSM (SD-08).",
        Reason::SoftDeleteIrreversible => "Soft-delete can be turned on later, never off (SD-12); it stays on.",
        Reason::SoftDeleteRequired => "The operator runs, or once ran, with `--undeletable` (SD-02).",
        Reason::PurgeProtectionIrreversible => "Purge protection can be turned on later, never off (SD-13); it stays on.",
        Reason::PurgeProtectionNeedsSoftDelete => "What is not kept after its deletion cannot be protected from a purge (SD-02, SD-13).",
        Reason::NothingToRecover => "A Recover is about one deletion, by its uid, and its outcome is final (SD-20): it is not tried again.",
        Reason::NothingToPurge => "A Purge is about one deletion, by its uid, and its outcome is final (SD-23).",
        Reason::UidMismatch => "The proxy of that name is of another deletion than the one that was asked for (SD-23).",
        Reason::SnapshotDisagrees => "An object of that name stands already, and is not the same in what is fixed or protected, so it is not given the material (SD-20).",
        Reason::CreateRefused => "The API server, a quota or somebody's policy refuses the object that is to come back. Nothing was unsealed; the proxy is kept (SD-20).",
        Reason::ProxyRefused => "A quota or somebody's policy refuses the proxy. Until it can be written the deleted object keeps its finalizer, so that neither is ever missing (SD-03).",
        Reason::NamespaceTerminating => "Nothing can be made in a namespace that is going or gone (SD-20). Proxies are cluster-scoped and outlive it (SD-05).",
        Reason::NamespaceChanged => "The namespace was deleted and made anew: keys don't pass to whoever takes a free name (SD-19).",
        Reason::HsmNotFound => "Never `Stalled`, since manifests may come in any order.",
        Reason::HsmDeleted => "While an HSM is soft-deleted its keys refuse every use, and none is recovered or purged on its own (SD-11, SD-21, SD-27).",
        Reason::MaterialDestroyed => "It was purged, by itself or with its HSM, and is never made anew under the same resource (SD-28).",
        Reason::MaterialMissing => "The backend answers, and the material is not there: a lost or an old store, or another one than it was made in. Nothing is made in its place (SD-28).",
        Reason::NotPermitted => "Purging, recovering and listing deleted objects are permissions of their own (SD-29 to SD-31).",
        Reason::PurgeInProgress => "Until its record says *destroying* the purge may still turn back (SD-23).",
        Reason::RecoveryInProgress => "While a recovery runs nothing is purged (SD-20).",
        Reason::PurgeHeld => "Recovery wins, also after the date (SD-10). An unfinished Recover or CreateOrRecover is withdrawn by deleting it.",
        Reason::QuorumNotReached => "The operator runs with `--purge-quorum` above 1; ServiceAccounts do not count then (SD-24).",
        Reason::RateLimited => "`--purge-rate` limits what a mistake or a stolen account can destroy before somebody sees it. Scheduled purges are not limited.",
        Reason::Expired => "A request is good for seven days, and only in the cluster's store that it was written to (SD-23).",
        Reason::BackendUnknown => "`spec.backend` names none of `--backends`, or one that was taken out of it since (SD-28).",
        Reason::BackendUnavailable => "The module does not answer, refuses a PIN, or its ledger cannot be read; the operator's log says what it tried. Nothing is judged missing meanwhile.",
        Reason::BackendFull => "Deleted HSMs and keys take their room until they are purged.",
        Reason::BackendNotAllowed => "The backend's `allowedNamespaces` leaves this namespace out.",
        Reason::MechanismNotSupported => "The module cannot make such keys, or what it makes does not prove to work.",
        Reason::RecordDisagrees => "The store or the cluster was put back from an older backup, or records contradict each other. Nothing is written, nothing destroyed, until it is settled.",
        Reason::ForeignMaterial => "The record carries the id (the uid of the namespace kube-system) of another cluster.",
        Reason::PoliciesMissing => "Without our definitions and policies in place an absence proves nothing, and who asked is not known.",
        Reason::ClockNotTrusted => "The local clock and the API server's differ by more than `--clock-tolerance`, or one jumped. Everything but purges goes on.",
        Reason::EndpointNameTaken => "The endpoint of an HSM is a Service of its own.",
    }
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
        text.push_str(&format!("\n{}\n", background(reason)));
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
