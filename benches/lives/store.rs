//! The soft-delete and recovery of a key in the embedded HSM, as the protocols do it with records and looks, beside a bare copy, proof
//! and destroy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use managed_hsm_operator::backend::pkcs11::{SO_PIN_FILE, USER_PIN_FILE, embedded};
use managed_hsm_operator::backend::{
    Algorithm, Depth, HsmBackend, Mark, MaterialId, Stored, TokenLabel, TokenRef,
};

pub fn run(keys: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, pins) = (folder.path().join("data"), folder.path().join("pins"));
    std::fs::create_dir(&pins).expect("a folder");
    for (file, pin) in [
        (SO_PIN_FILE, "bench-so-pin"),
        (USER_PIN_FILE, "bench-user-pin"),
    ] {
        std::fs::write(pins.join(file), pin).expect("a PIN file");
    }
    let config = embedded::Config::new(data, &pins);
    let store = embedded::open(&config, |_| Ok(BTreeSet::new())).expect("a store");
    let label = TokenLabel("0123456789abcdef0123456789abcdef".into());
    let facts = store.create_token(&label).expect("a token");
    let token = TokenRef {
        label,
        serial: facts.serial,
    };
    let ids: Vec<MaterialId> = (0..keys).map(id).collect();
    for id in &ids {
        store.generate(&token, *id, Algorithm::P256).expect("a key");
        for object in store
            .objects(&token, &[*id], Depth::Labels)
            .expect("a look")
        {
            store.publish(&token, object.handle).expect("a label");
        }
    }
    let mut took = [Duration::ZERO; 2];
    // In turns, so that both meet the same noise.
    for (at, id) in ids.iter().enumerate() {
        let mut each = [(0, at), (1, at)];
        each.rotate_left(at % 2);
        for (which, at) in each {
            let began = Instant::now();
            for mark in [Mark::Deleted, Mark::Live] {
                if which == 0 {
                    turn_with_records(&store, &token, *id, mark, at);
                } else {
                    turn(&store, &token, *id, mark);
                }
            }
            took[which] += began.elapsed();
        }
    }
    let [ours, bare] = took.map(|sum| sum.as_secs_f64() * 1000.0 / keys as f64);
    println!(
        "\nSoft-delete and recovery of a P-256 key in the embedded HSM ({keys} keys in it): {ours:.1} ms with records and looks, {bare:.1} ms bare: {:.2} times (goal 1.5)",
        ours / bare
    );
}

fn id(number: usize) -> MaterialId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    MaterialId(bytes)
}

/// Copy, prove, destroy the original by its handle.
fn turn(store: &dyn HsmBackend, token: &TokenRef, id: MaterialId, mark: Mark) {
    let before = store.objects(token, &[id], Depth::Labels).expect("a look");
    for object in &before {
        store.copy(token, object.handle, mark).expect("a copy");
    }
    proved(store, token, id, before.len() * 2);
    for object in before {
        store.destroy(token, object.handle).expect("destroyed");
    }
}

/// The same between the two records of a turn, with a look at handles and record after each effect.
fn turn_with_records(
    store: &dyn HsmBackend,
    token: &TokenRef,
    id: MaterialId,
    mark: Mark,
    key: usize,
) {
    record(store, key);
    let before = proved(store, token, id, 0);
    for object in &before {
        store.copy(token, object.handle, mark).expect("a copy");
        look(store, token, id, key);
    }
    for object in before {
        store.destroy(token, object.handle).expect("destroyed");
        look(store, token, id, key);
    }
    record(store, key);
}

fn look(store: &dyn HsmBackend, token: &TokenRef, id: MaterialId, key: usize) {
    proved(store, token, id, 0);
    store.read(&format!("{key:032x}")).expect("a record");
}

fn proved(
    store: &dyn HsmBackend,
    token: &TokenRef,
    id: MaterialId,
    at_least: usize,
) -> Vec<managed_hsm_operator::backend::ObjectFacts> {
    let found = store.objects(token, &[id], Depth::Proof).expect("a look");
    assert!(found.len() >= at_least && found.iter().all(|object| object.proved.is_some()));
    found
}

fn record(store: &dyn HsmBackend, key: usize) {
    let id = format!("{key:032x}");
    let highest = store
        .read(&id)
        .expect("a record")
        .first()
        .map_or(0, |stored| stored.generation);
    let next = Stored {
        id,
        generation: highest + 1,
        bytes: vec![0; 600],
    };
    store.write(&next).expect("written");
}
