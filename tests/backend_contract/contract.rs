//! The tests that every backend passes.

use managed_hsm_operator::backend::{
    Access, Algorithm, BackendError, Class, Depth, Fingerprint, Handle, HsmBackend, Mark,
    MaterialId, ObjectFacts, PublicKey, Stored, TokenFacts, TokenLabel, TokenRef, Use,
};

pub fn new_label() -> TokenLabel {
    TokenLabel(MaterialId(rand::random()).to_string())
}

pub fn reference(facts: TokenFacts) -> TokenRef {
    TokenRef {
        label: facts.label,
        serial: facts.serial,
    }
}

pub fn new_token(backend: &dyn HsmBackend) -> TokenRef {
    reference(backend.create_token(&new_label()).unwrap())
}

pub fn new_id() -> MaterialId {
    MaterialId(rand::random())
}

pub fn look(
    backend: &dyn HsmBackend,
    token: &TokenRef,
    id: MaterialId,
    depth: Depth,
) -> Vec<ObjectFacts> {
    backend.objects(token, &[id], depth).unwrap()
}

/// A key that was generated and published.
pub fn live_key(backend: &dyn HsmBackend, token: &TokenRef, algorithm: Algorithm) -> MaterialId {
    let id = new_id();
    backend.generate(token, id, algorithm).unwrap();
    for object in look(backend, token, id, Depth::Labels) {
        backend.publish(token, object.handle).unwrap();
    }
    id
}

/// K1: every object of the id is copied with that mark, and the original destroyed.
pub fn turn(backend: &dyn HsmBackend, token: &TokenRef, id: MaterialId, mark: Mark) {
    for object in look(backend, token, id, Depth::Labels) {
        backend.copy(token, object.handle, mark).unwrap();
        backend.destroy(token, object.handle).unwrap();
    }
}

fn fingerprints(objects: &[ObjectFacts]) -> Vec<(Class, Option<Fingerprint>)> {
    let mut shown: Vec<_> = objects
        .iter()
        .map(|it| (it.class, it.proved.clone()))
        .collect();
    shown.sort();
    shown
}

pub fn public(objects: &[ObjectFacts]) -> PublicKey {
    objects.iter().find_map(|it| it.public.clone()).unwrap()
}

fn sign() -> Use {
    Use::Sign {
        digest: vec![7; 32],
    }
}

fn encrypt() -> Use {
    Use::Encrypt {
        plain: b"attack at dawn".to_vec(),
    }
}

pub fn a_token_is_made_once(backend: &dyn HsmBackend) {
    let label = new_label();
    assert_eq!(backend.token(&label), Ok(None));
    let made = backend.create_token(&label).unwrap();
    assert_eq!(made.access, Access::Open);
    assert_eq!(backend.create_token(&label), Ok(made.clone()));
    assert_eq!(backend.token(&label), Ok(Some(made)));
}

pub fn a_token_is_found_by_label_and_serial_together(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let other = TokenRef {
        serial: "0000000000000000".to_owned(),
        ..token.clone()
    };
    let not_there =
        |it: Result<(), BackendError>| assert!(matches!(it, Err(BackendError::NotThere(_))));
    not_there(backend.inventory(&other).map(|_| ()));
    not_there(backend.seal_token(&other));
    not_there(backend.open_for_destruction(&other));
    not_there(backend.release_token(&other));
    assert_eq!(backend.inventory(&token), Ok(vec![]));
}

pub fn what_is_not_there_is_said_to_be_not_there(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    assert_eq!(look(backend, &token, new_id(), Depth::Proof), vec![]);
    let used = backend.use_key(&token, new_id(), &sign());
    assert!(matches!(used, Err(BackendError::NotThere(_))), "{used:?}");
}

pub fn a_pending_key_refuses_use_until_it_is_published(backend: &dyn HsmBackend) {
    let (token, id) = (new_token(backend), new_id());
    backend.generate(&token, id, Algorithm::P256).unwrap();
    let objects = look(backend, &token, id, Depth::Proof);
    assert!(objects.iter().all(|it| it.mark == Mark::Pending));
    // It is proved before it is published, so it has to work.
    assert!(
        objects
            .iter()
            .all(|it| it.usable == Some(true) && it.proved.is_some())
    );
    assert_eq!(
        backend.use_key(&token, id, &sign()),
        Err(BackendError::Refused)
    );
    for object in &objects {
        backend.publish(&token, object.handle).unwrap();
        backend.publish(&token, object.handle).unwrap();
    }
    let signature = backend.use_key(&token, id, &sign()).unwrap();
    assert!(public(&objects).verifies(&[7; 32], &signature));
}

/// Signed and encrypted before the delete; verified and decrypted after the recovery.
fn comes_back_the_same(backend: &dyn HsmBackend, algorithm: Algorithm) {
    let token = new_token(backend);
    let id = live_key(backend, &token, algorithm);
    let before = look(backend, &token, id, Depth::Proof);
    assert!(
        before
            .iter()
            .all(|it| it.usable == Some(true) && it.proved.is_some())
    );
    let signature = backend.use_key(&token, id, &sign());
    let cipher = backend.use_key(&token, id, &encrypt());

    turn(backend, &token, id, Mark::Deleted);
    let sealed = look(backend, &token, id, Depth::Proof);
    assert_eq!(fingerprints(&sealed), fingerprints(&before));

    turn(backend, &token, id, Mark::Live);
    let after = look(backend, &token, id, Depth::Proof);
    assert_eq!(fingerprints(&after), fingerprints(&before));
    assert!(
        after
            .iter()
            .all(|it| it.usable == Some(true) && it.mark == Mark::Live)
    );
    if algorithm.kty() != "oct" {
        assert_eq!(public(&after), public(&before));
    }
    if algorithm.kty() == "EC" {
        let again = backend.use_key(&token, id, &sign()).unwrap();
        let public = public(&after);
        assert!(public.verifies(&[7; 32], &signature.unwrap()));
        assert!(public.verifies(&[7; 32], &again));
    } else {
        // PKCS#1 v1.5 signs the same thing the same way; an AES key does not sign at all.
        assert_eq!(
            backend.use_key(&token, id, &sign()).ok(),
            signature.ok().filter(|_| algorithm.kty() == "RSA")
        );
        let what = Use::Decrypt {
            cipher: cipher.unwrap(),
        };
        assert_eq!(
            backend.use_key(&token, id, &what),
            Ok(b"attack at dawn".to_vec())
        );
    }
}

pub fn rsa_keys_come_back_the_same(backend: &dyn HsmBackend) {
    comes_back_the_same(backend, Algorithm::Rsa2048);
}

pub fn p256_keys_come_back_the_same(backend: &dyn HsmBackend) {
    comes_back_the_same(backend, Algorithm::P256);
}

pub fn p384_keys_come_back_the_same(backend: &dyn HsmBackend) {
    comes_back_the_same(backend, Algorithm::P384);
}

pub fn p521_keys_come_back_the_same(backend: &dyn HsmBackend) {
    comes_back_the_same(backend, Algorithm::P521);
}

pub fn aes_keys_of_every_size_come_back_the_same(backend: &dyn HsmBackend) {
    for algorithm in [Algorithm::Aes128, Algorithm::Aes192, Algorithm::Aes256] {
        comes_back_the_same(backend, algorithm);
    }
}

pub fn a_sealed_key_refuses_every_use_and_is_proved_all_the_same(backend: &dyn HsmBackend) {
    for algorithm in [Algorithm::Rsa2048, Algorithm::P256, Algorithm::Aes256] {
        let token = new_token(backend);
        let id = live_key(backend, &token, algorithm);
        let cipher = backend.use_key(&token, id, &encrypt());
        turn(backend, &token, id, Mark::Deleted);
        for object in look(backend, &token, id, Depth::Proof) {
            assert_eq!(
                (object.mark, object.usable),
                (Mark::Deleted, Some(false)),
                "{object:?}"
            );
            assert!(object.proved.is_some(), "{object:?}");
        }
        let decrypt = Use::Decrypt {
            cipher: cipher.unwrap_or_default(),
        };
        for what in [sign(), encrypt(), decrypt] {
            assert_eq!(
                backend.use_key(&token, id, &what),
                Err(BackendError::Refused)
            );
        }
    }
}

pub fn a_dead_handle_stays_dead(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::Aes128);
    let dead = look(backend, &token, id, Depth::Labels)[0].handle;
    let copy = backend.copy(&token, dead, Mark::Deleted).unwrap();
    assert_ne!(copy, dead);
    backend.destroy(&token, dead).unwrap();
    // Whatever is made afterwards, the handle names none of it.
    live_key(backend, &token, Algorithm::Aes128);
    assert_eq!(backend.destroy(&token, dead), Err(BackendError::DeadHandle));
    assert_eq!(
        backend.copy(&token, dead, Mark::Live),
        Err(BackendError::DeadHandle)
    );
    assert_eq!(backend.publish(&token, dead), Err(BackendError::DeadHandle));
    let left: Vec<Handle> = look(backend, &token, id, Depth::Labels)
        .iter()
        .map(|it| it.handle)
        .collect();
    assert_eq!(left, [copy]);
}

pub fn two_copies_stand_side_by_side(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::Aes256);
    let original = look(backend, &token, id, Depth::Proof).remove(0);
    let first = backend
        .copy(&token, original.handle, Mark::Deleted)
        .unwrap();
    let second = backend
        .copy(&token, original.handle, Mark::Deleted)
        .unwrap();
    let all = look(backend, &token, id, Depth::Proof);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|it| it.proved == original.proved));
    backend.destroy(&token, original.handle).unwrap();
    backend.destroy(&token, first).unwrap();
    let left = look(backend, &token, id, Depth::Proof);
    assert_eq!(
        left.iter()
            .map(|it| (it.handle, it.proved.clone()))
            .collect::<Vec<_>>(),
        [(second, original.proved)]
    );
}

/// Two of one id stand beside each other where somebody was killed in the middle, or two were at it: each is proved by its own half, whichever is found first.
pub fn two_generations_make_two_keys(backend: &dyn HsmBackend) {
    for algorithm in [Algorithm::P256, Algorithm::Rsa2048] {
        let (token, id) = (new_token(backend), new_id());
        backend.generate(&token, id, algorithm).unwrap();
        backend.generate(&token, id, algorithm).unwrap();
        let shown = look(backend, &token, id, Depth::Proof);
        assert_eq!(shown.len(), 4, "{algorithm:?}");
        let (first, second): (Vec<_>, Vec<_>) = shown
            .iter()
            .cloned()
            .partition(|it| it.proved == shown[0].proved);
        assert_eq!(
            (first.len(), second.len()),
            (2, 2),
            "{algorithm:?}: {shown:?}"
        );

        // The half that is left of one is no hindrance to the proof of the other.
        for publics in [&first, &second] {
            let half = publics.iter().find(|it| it.class == Class::Private);
            let sealed = backend
                .copy(&token, half.unwrap().handle, Mark::Deleted)
                .unwrap();
            let looked = look(backend, &token, id, Depth::Proof);
            let copy = looked.iter().find(|it| it.handle == sealed).unwrap();
            assert_eq!(
                (copy.usable, &copy.proved),
                (Some(false), &half.unwrap().proved),
                "{algorithm:?}"
            );
        }
    }
}

pub fn ec_keys_refuse_to_encrypt(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::P256);
    let used = backend.use_key(&token, id, &encrypt());
    assert!(
        matches!(used, Err(BackendError::NotSupported(_))),
        "{used:?}"
    );
    assert!(backend.use_key(&token, id, &sign()).is_ok());
}

pub fn a_sealed_token_refuses_everything_and_comes_back_whole(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::P256);
    let before = look(backend, &token, id, Depth::Proof);
    backend.seal_token(&token).unwrap();
    let facts = backend.token(&token.label).unwrap().unwrap();
    assert_eq!(facts.access, Access::Refused);
    assert_eq!(
        backend.use_key(&token, id, &sign()),
        Err(BackendError::Sealed)
    );
    assert_eq!(
        backend.objects(&token, &[id], Depth::Labels),
        Err(BackendError::Sealed)
    );
    assert_eq!(backend.inventory(&token), Err(BackendError::Sealed));
    assert_eq!(
        backend.destroy(&token, before[0].handle),
        Err(BackendError::Sealed)
    );
    assert_eq!(
        backend.generate(&token, new_id(), Algorithm::P256),
        Err(BackendError::Sealed)
    );
    // A token that stands is answered as it is, never opened by asking for it.
    assert_eq!(
        backend.create_token(&token.label).unwrap().access,
        Access::Refused
    );
    backend.unseal_token(&token).unwrap();
    let after = look(backend, &token, id, Depth::Proof);
    assert_eq!(fingerprints(&after), fingerprints(&before));
    let signature = backend.use_key(&token, id, &sign()).unwrap();
    assert!(public(&before).verifies(&[7; 32], &signature));
}

pub fn sealing_reaches_other_threads(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::P256);
    let uses = std::thread::scope(|threads| {
        let user = |_| {
            threads.spawn(|| {
                loop {
                    match backend.use_key(&token, id, &sign()) {
                        Ok(_) => {}
                        refused => return refused,
                    }
                }
            })
        };
        let users: Vec<_> = (0..3).map(user).collect();
        backend.seal_token(&token).unwrap();
        users
            .into_iter()
            .map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        uses.iter().all(|it| *it == Err(BackendError::Sealed)),
        "{uses:?}"
    );
}

pub fn a_token_is_sealed_and_unsealed_as_often_as_one_likes(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::Aes128);
    for _ in 0..6 {
        backend.seal_token(&token).unwrap();
        backend.seal_token(&token).unwrap();
        backend.unseal_token(&token).unwrap();
        backend.unseal_token(&token).unwrap();
    }
    assert!(backend.use_key(&token, id, &encrypt()).is_ok());
}

pub fn a_sealed_token_is_emptied_and_released(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    live_key(backend, &token, Algorithm::P256);
    backend.seal_token(&token).unwrap();
    backend.open_for_destruction(&token).unwrap();
    backend.open_for_destruction(&token).unwrap();
    for object in backend.inventory(&token).unwrap() {
        backend.destroy(&token, object.handle).unwrap();
    }
    assert_eq!(backend.inventory(&token), Ok(vec![]));
    backend.release_token(&token).unwrap();
    assert_eq!(backend.token(&token.label), Ok(None));
    let again = backend.release_token(&token);
    assert!(matches!(again, Err(BackendError::NotThere(_))), "{again:?}");
    // The next token finds its slot.
    assert_eq!(backend.inventory(&new_token(backend)), Ok(vec![]));
}

pub fn a_token_with_keys_is_not_released(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let id = live_key(backend, &token, Algorithm::Aes128);
    let refused = backend.release_token(&token);
    assert!(
        matches!(refused, Err(BackendError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(look(backend, &token, id, Depth::Labels).len(), 1);
}

pub fn the_inventory_shows_every_key(backend: &dyn HsmBackend) {
    let token = new_token(backend);
    let one = live_key(backend, &token, Algorithm::Aes128);
    let two = live_key(backend, &token, Algorithm::P256);
    turn(backend, &token, two, Mark::Deleted);
    let mut all: Vec<_> = backend
        .inventory(&token)
        .unwrap()
        .into_iter()
        .map(|it| (it.id, it.class, it.mark))
        .collect();
    all.sort();
    let mut expected = vec![
        (one, Class::Secret, Mark::Live),
        (two, Class::Private, Mark::Deleted),
        (two, Class::Public, Mark::Deleted),
    ];
    expected.sort();
    assert_eq!(all, expected);
}

fn stored(id: &str, generation: u64, bytes: &[u8]) -> Stored {
    Stored {
        id: id.to_owned(),
        generation,
        bytes: bytes.to_vec(),
    }
}

pub fn the_ledger_compares_and_swaps(backend: &dyn HsmBackend) {
    let id = new_id().to_string();
    assert_eq!(backend.read(&id), Ok(vec![]));
    assert_eq!(
        backend.write(&stored(&id, 2, b"two")),
        Err(BackendError::Superseded)
    );
    backend.write(&stored(&id, 1, b"one")).unwrap();
    backend.write(&stored(&id, 1, b"one")).unwrap();
    assert_eq!(
        backend.write(&stored(&id, 1, b"other")),
        Err(BackendError::Superseded)
    );
    backend.write(&stored(&id, 2, b"two")).unwrap();
    assert_eq!(
        backend.write(&stored(&id, 1, b"one")),
        Err(BackendError::Superseded)
    );
    assert_eq!(backend.read(&id), Ok(vec![stored(&id, 2, b"two")]));
    assert!(backend.records().unwrap().contains(&stored(&id, 2, b"two")));
    assert_eq!(backend.forget(&id, 1), Err(BackendError::Superseded));
    backend.forget(&id, 2).unwrap();
    backend.forget(&id, 2).unwrap();
    assert_eq!(backend.read(&id), Ok(vec![]));
}

/// A key with a hundred versions is longer than what every module takes as one value.
pub fn a_long_record_is_kept_whole(backend: &dyn HsmBackend) {
    let id = new_id().to_string();
    let long = |length: usize, seed: u8| {
        let bytes = (0..length).map(|at| (at % 251) as u8 ^ seed);
        bytes.collect::<Vec<u8>>()
    };
    for (generation, length) in [(1, 0), (2, 4096), (3, 4097), (4, 12_000), (5, 10)] {
        let record = stored(&id, generation, &long(length, 7));
        backend.write(&record).unwrap();
        assert_eq!(backend.read(&id), Ok(vec![record.clone()]), "{length}");
        assert!(backend.records().unwrap().contains(&record), "{length}");
    }
    backend.forget(&id, 5).unwrap();
    assert_eq!(backend.read(&id), Ok(vec![]));
}

pub fn of_many_writers_of_one_generation_one_wins(backend: &dyn HsmBackend) {
    let id = new_id().to_string();
    let outcomes: Vec<_> = std::thread::scope(|threads| {
        let writer = |number: u8| {
            let record = stored(&id, 1, &[number]);
            threads.spawn(move || backend.write(&record))
        };
        let writers: Vec<_> = (0..8).map(writer).collect();
        writers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 1);
    let lost = outcomes
        .iter()
        .filter(|it| **it == Err(BackendError::Superseded));
    assert_eq!(lost.count(), 7);
}

pub fn the_revision_never_falls(backend: &dyn HsmBackend) {
    let seen = backend.revision().unwrap();
    backend.note_revision(seen + 10).unwrap();
    backend.note_revision(seen + 5).unwrap();
    assert_eq!(backend.revision(), Ok(seen + 10));
}

pub fn a_lost_record_is_restored_only_where_there_is_none(backend: &dyn HsmBackend) {
    let at = |generation, bytes: &[u8]| Stored {
        id: new_id().to_string(),
        generation,
        bytes: bytes.to_vec(),
    };
    let lost = at(7, b"live");
    assert_eq!(backend.restore(&lost), Ok(()));
    assert_eq!(backend.restore(&lost), Ok(()), "the same again");
    assert_eq!(backend.read(&lost.id), Ok(vec![lost.clone()]));
    let other = Stored {
        generation: 9,
        ..lost.clone()
    };
    assert_eq!(backend.restore(&other), Err(BackendError::Superseded));
    let next = Stored {
        generation: 8,
        ..lost.clone()
    };
    assert_eq!(backend.write(&next), Ok(()), "and it goes on from there");
    assert_eq!(backend.restore(&lost), Err(BackendError::Superseded));
    assert_eq!(backend.read(&lost.id), Ok(vec![next]));
    assert_eq!(
        backend.restore(&at(0, b"live")),
        Err(BackendError::Superseded)
    );
}

pub fn every_token_of_ours_is_listed(backend: &dyn HsmBackend) {
    let (one, other) = (new_token(backend), new_token(backend));
    backend.seal_token(&other).unwrap();
    let listed = backend.tokens().unwrap();
    assert!(listed.contains(&one.label) && listed.contains(&other.label));
    backend
        .create_token(&TokenLabel("somebodys".into()))
        .unwrap();
    let listed = backend.tokens().unwrap();
    assert!(listed.iter().all(TokenLabel::may_be_ours), "{listed:?}");
}
