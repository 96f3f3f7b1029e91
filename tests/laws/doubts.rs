//! A purge that nothing holds up any more, and then each doubt alone: none of them lets it pass its end (I1).

use chrono::Duration;
use managed_hsm_operator::api::conditions::{self, ConditionState};
use managed_hsm_operator::api::{self, Phase};
use managed_hsm_operator::plan::observed::{
    Body, KeyOfHsm, Material, NearProxy, Object, Observed, Reading, Recover,
};
use managed_hsm_operator::plan::plan;
use managed_hsm_operator::plan::step::Effect;
use managed_hsm_operator::softdelete::permission::{Lack, Missing, Policies};
use managed_hsm_operator::softdelete::purge::BUCKET;
use managed_hsm_operator::softdelete::{Kind, Record, RecordState, Subject};

use super::domain::{self, Case, OTHER, OWN, ObjectCase, Product, Shown, USUAL, Whose};
use super::inside;

type Doubt = (&'static str, fn(&mut Observed));

/// The record with which it would pass its end, if it would.
fn end(o: &Observed) -> Option<Record> {
    let before = o.standing()?.1.state;
    match plan(o).step?.effect {
        Effect::WriteRecord { record, .. }
            if before == RecordState::Deleted && record.state == RecordState::Destroying =>
        {
            Some(*record)
        }
        _ => None,
    }
}

/// The first of the domain that passes its end, on request or by the clock.
fn about_to_end(kind: Kind, on_request: bool) -> Observed {
    let mut found = None;
    domain::each(kind, Product::Purges, 0, 1, |case| {
        if found.is_none() {
            let seen = case.observed();
            let fits = |record: Record| record.requesters.is_empty() != on_request;
            found = end(&seen).is_some_and(fits).then_some(seen);
        }
    });
    found.expect("the domain has one")
}

fn record(o: &mut Observed) -> &mut Record {
    match &mut o.records[0].reading {
        Reading::One(record) => record,
        other => panic!("one that can be read: {other:?}"),
    }
}

/// A live object of another uid whose status says nothing.
fn object(kind: Kind) -> Object {
    let stands = ObjectCase {
        whose: Whose::Other,
        terminating: false,
        finalizer: true,
        shown: Shown::Nothing,
    };
    let case = Case {
        kind,
        object: Some(stands),
        ..USUAL
    };
    case.observed().object.expect("it stands")
}

/// A live key in the HSM.
fn key_of(o: &Observed) -> KeyOfHsm {
    let mut record = about_to_end(Kind::Key, false).records[0]
        .record()
        .expect("one")
        .clone();
    if let Subject::Key { hsm, .. } = &mut record.subject {
        *hsm = o.records[0].id.clone();
    }
    KeyOfHsm {
        generation: 1,
        record,
        proxy: None,
        object: None,
        material: None,
    }
}

fn missing() -> Missing {
    Missing {
        what: "a policy".into(),
        lack: Lack::Absent,
    }
}

const ALWAYS: [Doubt; 12] = [
    ("the clock is not trusted", |o| o.clock_trusted = false),
    ("not all was looked at", |o| o.purging.looked = false),
    ("a definition is not there", |o| {
        o.purging.definitions = Some(missing());
    }),
    ("a Recover asks for it", |o| {
        let spec = json_of_recover(o.lineage.kind);
        o.recovers.push(Recover {
            meta: object(o.lineage.kind).meta,
            spec,
            status: api::RecoverStatus::default(),
        });
    }),
    ("its object asks for it", |o| {
        let mut asks = object(o.lineage.kind);
        match &mut asks.body {
            Body::Hsm(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
            Body::Key(spec, _) => spec.create_mode = api::CreateMode::CreateOrRecover,
        }
        o.object = Some(asks);
    }),
    ("a live status names its material", |o| {
        let id = o.records[0].id.0.clone();
        let versions = match &record(o).subject {
            Subject::Key { versions, .. } => versions.clone(),
            Subject::Hsm { .. } => Vec::new(),
        };
        let mut names = object(o.lineage.kind);
        match &mut names.body {
            Body::Hsm(_, shown) => shown.hsm_id = Some(id),
            Body::Key(_, shown) => {
                shown.versions = versions
                    .iter()
                    .map(|version| api::KeyVersion {
                        id: version.number,
                        created_at: version.created.into(),
                        material_id: version.material.0.clone(),
                        public_key: None,
                        thumbprint: None,
                        check_value: None,
                    })
                    .collect();
            }
        }
        o.object = Some(names);
    }),
    ("the record has a later date", |o| {
        let dates = record(o).dates.as_mut().expect("dates");
        let date = dates.scheduled_purge_time.as_mut().expect("a date");
        *date += Duration::days(1000);
    }),
    ("the record is of a later deletion", |o| {
        let dates = record(o).dates.as_mut().expect("dates");
        dates.deletion_time += Duration::seconds(1);
    }),
    ("the record is a later one", |o| {
        o.records[0].generation += 1
    }),
    ("the record is another cluster's", |o| {
        record(o).cluster = "another".into();
    }),
    ("the material is not there", |o| {
        o.material = match o.lineage.kind {
            Kind::Hsm => Material::Token(None),
            Kind::Key => Material::Objects(Vec::new()),
        };
    }),
    ("the material is another", |o| match &mut o.material {
        Material::Token(Some(facts)) => facts.serial = "another".into(),
        Material::Objects(found) => found.iter_mut().for_each(|it| it.proved = None),
        other => panic!("it is there: {other:?}"),
    }),
];

fn json_of_recover(kind: Kind) -> api::RecoverSpec {
    api::RecoverSpec {
        kind: match kind {
            Kind::Hsm => api::ObjectKind::ManagedHsm,
            Kind::Key => api::ObjectKind::HsmKey,
        },
        name: "it".into(),
        uid: OWN.into(),
        include_keys: api::IncludeKeys::None,
        accept_namespace_uid: None,
    }
}

const OF_A_KEY: [Doubt; 5] = [
    ("its HSM's object terminates", |o| {
        let object = o.hsm.as_mut().and_then(|hsm| hsm.object.as_mut());
        object.expect("an HSM").terminating = true;
    }),
    ("its HSM's record is not live", |o| {
        let record = o.hsm.as_mut().and_then(|hsm| hsm.record.as_mut());
        record.expect("an HSM").1.state = RecordState::Opening;
    }),
    ("its HSM is another cluster's", |o| {
        let record = o.hsm.as_mut().and_then(|hsm| hsm.record.as_mut());
        record.expect("an HSM").1.cluster = "another".into();
    }),
    ("a Recover brings its HSM back with All", |o| {
        o.purging.hsm_recovery = Some("Recover payments/back".into());
    }),
    ("its HSM's recovery with All is not over", |o| {
        let hsm = o.hsm.as_mut().expect("an HSM");
        let origin = hsm.record.as_ref().expect("live").1.origin.clone();
        let uid = origin.uid.0.clone();
        hsm.proxy = Some(NearProxy {
            origin,
            status: api::ProxyStatus {
                phase: Some(Phase::Recovering),
                recovering: Some(inside::recovering(Some(&uid), api::IncludeKeys::All)),
                ..api::ProxyStatus::default()
            },
        });
    }),
];

const OF_AN_HSM: [Doubt; 3] = [
    ("a key's record cannot be read", |o| {
        o.purging.unreadable_key = Some("k".into());
    }),
    ("a key's record is another cluster's", |o| {
        let mut key = key_of(o);
        key.record.cluster = "another".into();
        o.keys.push(key);
    }),
    ("a key's record is of an old store", |o| {
        let mut key = key_of(o);
        key.object = Some(managed_hsm_operator::plan::observed::NearObject {
            uid: key.record.origin.uid.clone(),
            terminating: false,
            record_generation: Some(2),
        });
        o.keys.push(key);
    }),
];

const OF_A_REQUEST: [Doubt; 13] = [
    ("it is withdrawn", |o| {
        o.purges[0].meta.deleted = Some(o.now)
    }),
    ("it is finished", |o| {
        let is = api::ConditionStatus::True;
        let state = ConditionState::new(conditions::FAILED, is, "Expired", "", None);
        conditions::set(&mut o.purges[0].status.conditions, state, o.now.into());
    }),
    ("it was not seen under the policies", |o| {
        let shown = &mut o.purges[0].status.conditions;
        conditions::remove(shown, conditions::ACCEPTED);
    }),
    ("it can be withdrawn still", |o| {
        let shown = &mut o.purges[0].status.conditions;
        conditions::remove(shown, conditions::EXECUTING);
    }),
    ("it is about another uid", |o| {
        o.purges[0].spec.uid = OTHER.into();
    }),
    ("it is too old", |o| {
        o.purges[0].meta.created = o.now - Duration::days(7);
    }),
    ("etcd was put back since", |o| {
        o.purging.put_back = Some(o.now);
    }),
    ("the policies are not in place", |o| {
        o.policies = Policies::Missing("a policy".into());
    }),
    ("the cluster is undeletable", |o| {
        o.settings.undeletable = true;
    }),
    ("one more must ask", |o| o.settings.quorum = 2),
    ("the other who asked did so too long ago", |o| {
        o.settings.quorum = 2;
        let mut other = o.purges[0].clone();
        other.meta.name = "other".into();
        other.meta.created = o.now - Duration::days(7);
        other.spec.requested_by = "somebody-else".into();
        o.purges.push(other);
    }),
    ("nobody knows how many were purged", |o| {
        o.purging.purged_at = None;
    }),
    ("too many were purged just now", |o| {
        o.purging.purged_at = Some(vec![o.now; BUCKET]);
    }),
];

/// Only on request: at the end of its retention nothing of this matters (SD-14).
const PROTECTIONS: [(Option<Kind>, Doubt); 4] = [
    (
        None,
        ("it is protected", |o| record(o).purge_protection = true),
    ),
    (
        Some(Kind::Key),
        ("its HSM is protected", |o| {
            let record = o.hsm.as_mut().and_then(|hsm| hsm.record.as_mut());
            record.expect("an HSM").1.purge_protection = true;
        }),
    ),
    (
        Some(Kind::Key),
        ("its HSM's record is not known", |o| {
            o.hsm.as_mut().expect("an HSM").record = None;
        }),
    ),
    (
        Some(Kind::Hsm),
        ("a key in it is protected", |o| {
            let mut key = key_of(o);
            key.record.purge_protection = true;
            o.keys.push(key);
        }),
    ),
];

/// Each doubt alone, over what would pass its end without it.
pub fn each_alone_holds() {
    for kind in [Kind::Hsm, Kind::Key] {
        let of_kind: &[Doubt] = match kind {
            Kind::Hsm => &OF_AN_HSM,
            Kind::Key => &OF_A_KEY,
        };
        let always: Vec<Doubt> = ALWAYS.iter().chain(of_kind).copied().collect();
        let its = |of: &Option<Kind>| of.is_none_or(|of| of == kind);
        let protections = PROTECTIONS.iter().filter(|(of, _)| its(of));
        let asked = OF_A_REQUEST.into_iter().chain(protections.map(|it| it.1));
        let asked: Vec<Doubt> = always.iter().copied().chain(asked).collect();
        for (doubts, on_request) in [(always, false), (asked, true)] {
            let sure = about_to_end(kind, on_request);
            for (why, doubt) in doubts {
                let mut seen = sure.clone();
                doubt(&mut seen);
                assert!(seen != sure, "{kind:?}: {why}: nothing was changed");
                let passed = end(&seen);
                assert_eq!(passed, None, "{kind:?}, on request {on_request}: {why}");
            }
        }
    }
}

/// Past its end an HSM is proved empty in the token that its record names, and in no other of that label.
pub fn no_other_token_counts() {
    let mut seen = about_to_end(Kind::Hsm, false);
    record(&mut seen).state = RecordState::Destroying;
    seen.purging.contents = Some(Vec::new());
    let step = |o: &Observed| plan(o).step.map(|step| step.effect);
    let ended = |effect: Effect| matches!(effect, Effect::WriteRecord { record, .. } if record.state == RecordState::Tombstone);
    assert!(step(&seen).is_some_and(ended));
    match &mut seen.material {
        Material::Token(Some(facts)) => facts.serial = "another".into(),
        other => panic!("it is there: {other:?}"),
    }
    let after = step(&seen);
    assert!(
        !after.as_ref().is_some_and(Effect::is_on_backend),
        "{after:?}"
    );
}
