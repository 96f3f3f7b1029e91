//! The evidence that a purge needs: record, proxy and material speak of the same thing. Every doubt is a refusal.

use chrono::{DateTime, Utc};

use super::record::{Token, Version};
use super::{Fingerprint, MaterialId, Record, RecordId, RecordState, Refusal, Subject, Uid};

/// What a proxy says about its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyShows<'a> {
    pub uid: &'a Uid,
    pub deletion_time: DateTime<Utc>,
    pub scheduled_purge_time: Option<DateTime<Utc>>,
    /// `status.recordGeneration`; without it nothing is purged.
    pub record_generation: Option<u64>,
}

/// Whether the record agrees with the proxy: *deleted*, of our cluster, with this uid, these dates and this generation (SD-23).
pub fn record_agrees(
    record: Option<(u64, &Record)>,
    id: &RecordId,
    cluster: &Uid,
    proxy: &ProxyShows<'_>,
) -> Result<(), Refusal> {
    let Some((generation, record)) = record else {
        return Err(disagrees(id, "there is none"));
    };
    if record.cluster != *cluster {
        return Err(Refusal::ForeignMaterial {
            cluster: record.cluster.clone(),
        });
    }
    let doubts = [
        (
            record.state != RecordState::Deleted,
            "it does not say deleted",
        ),
        (record.origin.uid != *proxy.uid, "it is about another uid"),
        (!same_dates(record, proxy), "its dates are others"),
        (
            proxy.record_generation.is_none(),
            "the deletion is not finished",
        ),
        (
            proxy.record_generation != Some(generation),
            "the cluster has seen another generation",
        ),
    ];
    doubts
        .iter()
        .find(|(doubt, _)| *doubt)
        .map_or(Ok(()), |(_, why)| Err(disagrees(&record.id, why)))
}

fn same_dates(record: &Record, proxy: &ProxyShows<'_>) -> bool {
    record.dates.is_some_and(|dates| {
        dates.deletion_time == proxy.deletion_time
            && dates.scheduled_purge_time == proxy.scheduled_purge_time
    })
}

fn disagrees(id: &RecordId, why: &str) -> Refusal {
    Refusal::RecordDisagrees {
        record: id.0.clone(),
        why: why.to_owned(),
    }
}

/// What was found in the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// An HSM's token by its label, if there is one.
    Hsm(Option<&'a Token>),
    /// A key's objects, each with what it proved to be.
    Key(&'a [(MaterialId, Option<Fingerprint>)]),
}

/// Whether the material is what the record says: each version is there and proves its fingerprint; of an HSM the token's label and serial (SD-23).
pub fn material_agrees(record: &Record, seen: Seen<'_>, backend: &str) -> Result<(), Refusal> {
    match (&record.subject, seen) {
        (Subject::Hsm { token: Some(token) }, Seen::Hsm(found)) => {
            token_agrees(record, token, found, backend)
        }
        (Subject::Key { versions, .. }, Seen::Key(found)) => versions
            .iter()
            .try_for_each(|version| version_agrees(record, version, found, backend)),
        (Subject::Hsm { .. }, _) | (Subject::Key { .. }, Seen::Hsm(_)) => {
            Err(disagrees(&record.id, "it is not about what was found"))
        }
    }
}

fn token_agrees(
    record: &Record,
    token: &Token,
    found: Option<&Token>,
    backend: &str,
) -> Result<(), Refusal> {
    match found {
        None => Err(missing(backend)),
        Some(found) if found == token => Ok(()),
        Some(_) => Err(disagrees(&record.id, "the token is another one")),
    }
}

fn version_agrees(
    record: &Record,
    version: &Version,
    found: &[(MaterialId, Option<Fingerprint>)],
    backend: &str,
) -> Result<(), Refusal> {
    let mut its = found
        .iter()
        .filter(|(id, _)| *id == version.material)
        .peekable();
    if its.peek().is_none() {
        return Err(missing(backend));
    }
    let proved = its.all(|(_, proved)| proved.as_ref() == Some(&version.fingerprint));
    if proved {
        Ok(())
    } else {
        Err(disagrees(
            &record.id,
            "the material has another fingerprint, or none could be proved",
        ))
    }
}

fn missing(backend: &str) -> Refusal {
    Refusal::MaterialMissing {
        backend: backend.to_owned(),
    }
}

/// What goes with an HSM: how many keys, and which material.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoesWithHsm {
    pub keys: i32,
    /// Each version's id and fingerprint, sorted: what the tombstone's digest is taken over.
    pub lines: Vec<String>,
}

/// SD-26 What the purge of an HSM destroys with it: every key in it, live or soft-deleted, but those that are gone already.
pub fn goes_with_hsm<'a>(
    hsm: &RecordId,
    records: impl IntoIterator<Item = &'a Record>,
) -> GoesWithHsm {
    let mut goes = GoesWithHsm::default();
    for versions in records
        .into_iter()
        .filter_map(|record| versions_in(hsm, record))
    {
        goes.keys = goes.keys.saturating_add(1);
        goes.lines.extend(
            versions
                .iter()
                .map(|version| format!("{} {}", version.material, version.fingerprint)),
        );
    }
    goes.lines.sort_unstable();
    goes
}

/// A key's versions, if it is in that HSM and has any that are not destroyed.
fn versions_in<'a>(hsm: &RecordId, record: &'a Record) -> Option<&'a [Version]> {
    match &record.subject {
        Subject::Key {
            hsm: its, versions, ..
        } if its == hsm && !versions.is_empty() => {
            super::arbiter::holds_names(record.state).then_some(versions)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softdelete::examples::{at, key, key_in, version};
    use crate::softdelete::{Origin, Reason};

    fn key_of(id: &str, hsm: &str, state: RecordState, versions: Vec<Version>) -> Record {
        Record {
            id: id.into(),
            subject: key_in(hsm, versions),
            ..key(state)
        }
    }

    fn deleted() -> Record {
        key_of(
            "k-1",
            "h-1",
            RecordState::Deleted,
            vec![version(1), version(2)],
        )
    }

    fn judge(record: Option<&Record>, change: impl Fn(&mut ProxyShows<'_>)) -> Result<(), Reason> {
        let uid = Uid::from("u-1");
        let dates = deleted().dates.unwrap();
        let mut proxy = ProxyShows {
            uid: &uid,
            deletion_time: dates.deletion_time,
            scheduled_purge_time: dates.scheduled_purge_time,
            record_generation: Some(4),
        };
        change(&mut proxy);
        let found = record.map(|record| (4, record));
        record_agrees(found, &"k-1".into(), &"c-1".into(), &proxy)
            .map_err(|refusal| refusal.reason())
    }

    #[test]
    fn sd23_a_purge_needs_a_record_that_says_deleted_of_this_uid_with_these_dates_and_this_generation()
     {
        assert_eq!(judge(Some(&deleted()), |_| ()), Ok(()));
        assert_eq!(judge(None, |_| ()), Err(Reason::RecordDisagrees));
        assert_eq!(
            judge(Some(&deleted()), |proxy| proxy.record_generation = None),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            judge(Some(&deleted()), |proxy| proxy.record_generation = Some(3)),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            judge(Some(&deleted()), |proxy| proxy.record_generation = Some(5)),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            judge(Some(&deleted()), |proxy| proxy.deletion_time = at(1)),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            judge(Some(&deleted()), |proxy| proxy.scheduled_purge_time = None),
            Err(Reason::RecordDisagrees)
        );
        let others = Record {
            origin: Origin::default(),
            ..deleted()
        };
        assert_eq!(judge(Some(&others), |_| ()), Err(Reason::RecordDisagrees));
    }

    #[test]
    fn sd23_no_other_state_of_the_record_is_enough() {
        for state in RecordState::ALL
            .into_iter()
            .filter(|state| *state != RecordState::Deleted)
        {
            let record = Record { state, ..deleted() };
            assert_eq!(
                judge(Some(&record), |_| ()),
                Err(Reason::RecordDisagrees),
                "{state:?}"
            );
        }
    }

    #[test]
    fn sd23_another_clusters_material_is_never_touched() {
        let foreign = Record {
            cluster: "c-2".into(),
            ..deleted()
        };
        assert_eq!(judge(Some(&foreign), |_| ()), Err(Reason::ForeignMaterial));
    }

    fn proves(found: &[(&str, Option<&str>)]) -> Result<(), Reason> {
        let found: Vec<_> = found
            .iter()
            .map(|(id, proved)| (MaterialId::from(*id), proved.map(Fingerprint::from)))
            .collect();
        material_agrees(&deleted(), Seen::Key(&found), "default")
            .map_err(|refusal| refusal.reason())
    }

    #[test]
    fn sd23_each_version_must_be_there_and_prove_its_fingerprint() {
        assert_eq!(proves(&[("m1", Some("f1")), ("m2", Some("f2"))]), Ok(()));
        assert_eq!(proves(&[("m1", Some("f1"))]), Err(Reason::MaterialMissing));
        assert_eq!(
            proves(&[("m1", Some("f1")), ("m2", Some("f1"))]),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            proves(&[("m1", Some("f1")), ("m2", None)]),
            Err(Reason::RecordDisagrees)
        );
        assert_eq!(
            proves(&[("m1", Some("f1")), ("m2", Some("f2")), ("m2", Some("x"))]),
            Err(Reason::RecordDisagrees)
        );
    }

    #[test]
    fn sd23_an_hsms_token_must_have_both_the_label_and_the_serial_of_the_record() {
        let token = |serial: &str| Token {
            label: "t".into(),
            serial: serial.into(),
        };
        let record = Record {
            subject: Subject::Hsm {
                token: Some(token("1")),
            },
            ..deleted()
        };
        let judge = |found: Option<&Token>| {
            material_agrees(&record, Seen::Hsm(found), "default")
                .map_err(|refusal| refusal.reason())
        };
        assert_eq!(judge(Some(&token("1"))), Ok(()));
        assert_eq!(judge(Some(&token("2"))), Err(Reason::RecordDisagrees));
        assert_eq!(judge(None), Err(Reason::MaterialMissing));
    }

    #[test]
    fn sd23_a_record_of_another_kind_never_agrees() {
        let refusal = material_agrees(&deleted(), Seen::Hsm(None), "default").unwrap_err();
        assert_eq!(refusal.reason(), Reason::RecordDisagrees);
    }

    #[test]
    fn sd26_an_hsm_takes_all_its_keys_with_it_live_or_deleted_but_not_those_that_are_gone() {
        let records = [
            key_of("a", "h-1", RecordState::Live, vec![version(2), version(1)]),
            key_of("b", "h-1", RecordState::Deleted, vec![version(3)]),
            key_of("c", "h-1", RecordState::Tombstone, vec![version(4)]),
            key_of("d", "h-2", RecordState::Live, vec![version(5)]),
            key_of("e", "h-1", RecordState::Creating, vec![]),
        ];
        let goes = goes_with_hsm(&"h-1".into(), &records);
        assert_eq!(
            (goes.keys, goes.lines),
            (2, vec!["m1 f1".into(), "m2 f2".into(), "m3 f3".into()])
        );
    }
}
