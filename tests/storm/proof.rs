//! What must be found after the storm: in the cluster, in the ledger, and in the tokens themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use managed_hsm_operator::backend::pkcs11::embedded;
use managed_hsm_operator::backend::{
    Access, Class, Depth, HsmBackend, Mark, MaterialId, TokenLabel, TokenRef,
};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::plan::{encoding, ids};
use managed_hsm_operator::softdelete::{Kind, Record, RecordState, Subject, Token};
use serde_json::Value;

use crate::actors::{Owned, Place};
use crate::user::{is, material, uid};

/// The live one is Ready as it always was, and has no proxy; of the deleted one exactly its proxy is there.
pub async fn in_cluster(owned: &Owned) {
    let Owned {
        user, kind, name, ..
    } = owned;
    let title = format!("{}/{name}", user.namespace);
    let proxies = user.api(Watched::Proxy(*kind));
    let proxy = proxies.get_opt(&user.proxy_of(name)).await;
    let proxy = proxy.expect("a GET");
    match &owned.place {
        Place::Live { uid: expected } => {
            let found = user.ready(*kind, name).await;
            assert_eq!(uid(&found), *expected, "{title}");
            assert_eq!(material(&found), owned.versions, "{title}");
            assert!(proxy.is_none(), "{title}: {proxy:?}");
        }
        Place::Gone => {
            let object = user.api(Watched::Object(*kind)).get_opt(name).await;
            assert!(object.expect("a GET").is_none(), "{title}");
            assert!(proxy.is_none(), "{title}: {proxy:?}");
        }
        Place::Deleted { uid: expected, .. } => {
            let object = user.api(Watched::Object(*kind)).get_opt(name).await;
            assert!(object.expect("a GET").is_none(), "{title}");
            let found = proxy.unwrap_or_else(|| panic!("{title}: neither it nor its proxy"));
            assert_eq!(found.data["spec"]["origin"]["uid"], *expected, "{title}");
            assert!(
                found.data["status"]["phase"].is_null(),
                "{title}: {found:?}"
            );
            assert!(
                found.data["status"]["recordGeneration"].is_i64(),
                "{title}: {found:?}"
            );
            assert!(is(&found, "Ready"), "{title}: {found:?}");
            let told = |field: &str, place: usize| -> (Vec<Value>, Vec<Value>) {
                let shown = found.data["spec"]["versions"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let shown = shown.map(|version| version[field].clone()).collect();
                (
                    shown,
                    owned
                        .versions
                        .iter()
                        .map(|version| version[place].clone())
                        .collect(),
                )
            };
            for (field, place) in [("materialId", 0), ("thumbprint", 2), ("checkValue", 3)] {
                let (shown, expected) = told(field, place);
                assert_eq!(shown, expected, "{title}: {field}");
            }
        }
    }
}

/// Opens the store that the operator has left, and compares it, record by record and object by object.
pub fn in_store(folder: &Path, all: &[Owned]) {
    let config = embedded::Config::new(folder.join("data"), &folder.join("pins"));
    let store = embedded::open(&config, ids::tokens_to_keep).expect("the store opens");
    let records: Vec<Record> = store
        .records()
        .expect("the ledger")
        .iter()
        .map(|stored| encoding::decode(&stored.bytes).expect("a record of ours"))
        .collect();
    let ended: BTreeSet<_> = records
        .iter()
        .filter(|record| record.state == RecordState::Tombstone)
        .map(|record| &record.id)
        .collect();
    // A key's record reads as its HSM's once that is a tombstone.
    let has_ended = |record: &&Record| {
        let around = match &record.subject {
            Subject::Key { hsm, .. } => ended.contains(hsm),
            Subject::Hsm { .. } => false,
        };
        ended.contains(&record.id) || around
    };
    let standing: Vec<_> = records.iter().filter(|record| !has_ended(record)).collect();
    let there: Vec<_> = all
        .iter()
        .filter(|owned| owned.place != Place::Gone)
        .collect();
    assert_eq!(
        standing.len(),
        there.len(),
        "each has one record: {standing:#?}"
    );
    records
        .iter()
        .filter(has_ended)
        .for_each(|record| in_time(&store, record));
    let mut expected: BTreeMap<String, (TokenRef, BTreeSet<(MaterialId, Mark)>)> = BTreeMap::new();
    for owned in there {
        let record = record_of(owned, &standing);
        match &record.subject {
            Subject::Hsm { token } => {
                let token = token.as_ref().map(reference).expect("an HSM has a token");
                expected
                    .entry(record.id.0.clone())
                    .or_insert((token, BTreeSet::new()));
            }
            Subject::Key {
                hsm,
                versions,
                pending,
                ..
            } => {
                assert!(pending.is_none(), "{record:#?}");
                let around = standing.iter().find(|record| record.id == *hsm);
                let Some(Subject::Hsm { token: Some(token) }) =
                    around.map(|record| &record.subject)
                else {
                    panic!("the HSM of {record:#?} has no token");
                };
                let mark = if record.state == RecordState::Live {
                    Mark::Live
                } else {
                    Mark::Deleted
                };
                let its = expected
                    .entry(hsm.0.clone())
                    .or_insert((reference(token), BTreeSet::new()));
                for version in versions {
                    its.1
                        .insert((ids::backend_id(&version.material).expect("an id"), mark));
                }
                fingerprints(owned, record);
            }
        }
    }
    for (token, objects) in expected.values() {
        in_token(&store, token, objects, &standing);
    }
}

/// What was purged was asked for, or its date was over; of an HSM no token is left.
fn in_time(store: &dyn HsmBackend, record: &Record) {
    let Some(destroyed) = record.destroyed.as_ref().filter(|_| record.dates.is_some()) else {
        // It went with its HSM, or was never made.
        return;
    };
    let scheduled = record.dates.and_then(|dates| dates.scheduled_purge_time);
    if record.requesters.is_empty() {
        assert!(Some(destroyed.at) >= scheduled, "{record:#?}");
    } else {
        assert_eq!(record.requesters, ["admin"], "{record:#?}");
    }
    if record.kind() == Kind::Hsm {
        let token = store.token(&ids::token_label(&record.id)).expect("a look");
        assert_eq!(token, None, "{record:#?}");
    }
}

fn reference(token: &Token) -> TokenRef {
    TokenRef {
        label: TokenLabel(token.label.clone()),
        serial: token.serial.clone(),
    }
}

fn record_of<'a>(owned: &Owned, standing: &[&'a Record]) -> &'a Record {
    let its = |record: &&&Record| {
        record.kind() == owned.kind
            && record.origin.namespace == owned.user.namespace
            && record.origin.name == owned.name
    };
    let found: Vec<_> = standing.iter().filter(its).collect();
    assert_eq!(
        found.len(),
        1,
        "{}/{}: {found:#?}",
        owned.user.namespace,
        owned.name
    );
    let record = found[0];
    let (uid, state) = match &owned.place {
        Place::Live { uid } => (uid, RecordState::Live),
        Place::Deleted { uid, .. } => (uid, RecordState::Deleted),
        Place::Gone => panic!("what is gone has no record: {record:#?}"),
    };
    assert_eq!(
        (&record.origin.uid.0, record.state),
        (uid, state),
        "{record:#?}"
    );
    record
}

fn fingerprints(owned: &Owned, record: &Record) {
    let Subject::Key { versions, .. } = &record.subject else {
        return;
    };
    assert_eq!(versions.len(), owned.versions.len(), "{record:#?}");
    for (version, [id, _, thumbprint, check_value]) in versions.iter().zip(&owned.versions) {
        assert_eq!(version.material.0, *id, "{record:#?}");
        let shown = thumbprint.as_str().map(str::to_owned);
        let shown = shown.or_else(|| check_value.as_str().map(str::to_owned));
        let recorded = version.fingerprint.0.trim_start_matches("kcv:");
        let shown = shown.expect("it shows what it is");
        assert_eq!(shown.trim_start_matches("kcv:"), recorded, "{record:#?}");
    }
}

/// Exactly those objects, each once, each proved by a use of its own, each usable as its record says.
fn in_token(
    store: &dyn HsmBackend,
    token: &TokenRef,
    expected: &BTreeSet<(MaterialId, Mark)>,
    standing: &[&Record],
) {
    let seen = store
        .token(&token.label)
        .expect("a look")
        .expect("the token is there");
    let around = standing
        .iter()
        .find(|record| record.id.0 == token.label.0 && record.kind() == Kind::Hsm);
    let live = around.is_some_and(|record| record.state == RecordState::Live);
    assert_eq!(
        seen.access,
        if live { Access::Open } else { Access::Refused },
        "{token:?}"
    );
    if !live {
        store.unseal_token(token).expect("the SO opens it");
    }
    let inventory = store.inventory(token).expect("an inventory");
    let found: BTreeSet<_> = inventory
        .iter()
        .map(|object| (object.id, object.mark))
        .collect();
    assert_eq!(found, *expected, "{token:?}: {inventory:#?}");
    for (id, mark) in expected {
        let objects = store.objects(token, &[*id], Depth::Proof).expect("a look");
        let mut classes: Vec<_> = objects.iter().map(|object| object.class).collect();
        classes.sort();
        assert!(
            classes == [Class::Private, Class::Public] || classes == [Class::Secret],
            "{objects:#?}"
        );
        for object in &objects {
            assert_eq!(object.usable, Some(*mark == Mark::Live), "{object:#?}");
            let proved = object.proved.as_ref().map(ids::fingerprint);
            let recorded = standing.iter().any(|record| {
                let Subject::Key { versions, .. } = &record.subject else {
                    return false;
                };
                versions.iter().any(|version| {
                    version.material.0 == id.to_string()
                        && Some(&version.fingerprint) == proved.as_ref()
                })
            });
            assert!(recorded, "{object:#?}");
        }
    }
}
