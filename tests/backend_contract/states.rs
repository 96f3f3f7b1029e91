//! What every call answers in each state that a token can be in: the same from every backend. What brings a real token into such a state acts
//! past the backend, through a second context on the same module.

use std::{collections::BTreeMap, path::Path};

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use managed_hsm_operator::backend::{
    Algorithm, BackendError, Class, Depth, Handle, HsmBackend, Mark, MaterialId, ObjectFacts,
    Result, Stored, TokenLabel, TokenRef, Use,
    memory::MemoryBackend,
    pkcs11::{SO_PIN_FILE, USER_PIN_FILE},
    waiting::{NotOpen, Waiting},
};

use crate::contract::{live_key, look, new_id, new_token, turn};

/// Somebody who gets at a token without the backend.
pub trait Meddler {
    /// Both PINs are others now.
    fn changes_pins(&self, token: &TokenRef);
    /// The token is another one now, of another label and serial.
    fn takes_away(&self, token: &TokenRef);
    /// Every object of that class and id goes.
    fn tears(&self, token: &TokenRef, id: MaterialId, class: Class);
    /// An AES key of his own, under that id.
    fn plants(&self, token: &TokenRef, id: &[u8]);
}

impl Meddler for MemoryBackend {
    fn changes_pins(&self, token: &TokenRef) {
        self.change_pins(&token.label);
    }

    fn takes_away(&self, token: &TokenRef) {
        self.lose_token(&token.label);
    }

    fn tears(&self, token: &TokenRef, id: MaterialId, class: Class) {
        for object in self.objects(token, &[id], Depth::Labels).unwrap() {
            if object.class == class {
                self.lose_object(object.handle);
            }
        }
    }

    fn plants(&self, token: &TokenRef, id: &[u8]) {
        self.plant_key(&token.label, id.try_into().ok().map(MaterialId));
    }
}

/// A second context on a module that this process has open.
pub struct Beside {
    context: Pkcs11,
    so: AuthPin,
    user: AuthPin,
}

impl Beside {
    pub fn new(context: Pkcs11, pins: &Path) -> Self {
        let pin = |name: &str| {
            let text = std::fs::read_to_string(pins.join(name)).unwrap();
            AuthPin::from(text.trim_end().to_owned())
        };
        Self {
            context,
            so: pin(SO_PIN_FILE),
            user: pin(USER_PIN_FILE),
        }
    }

    fn slot(&self, token: &TokenRef) -> Slot {
        let mut slots = self.context.get_slots_with_token().unwrap().into_iter();
        let its = |slot: &Slot| {
            let info = self.context.get_token_info(*slot);
            info.is_ok_and(|it| it.serial_number() == token.serial)
        };
        slots.find(its).unwrap()
    }

    fn as_user(&self, token: &TokenRef) -> Session {
        let session = self.context.open_rw_session(self.slot(token)).unwrap();
        match session.login(UserType::User, Some(&self.user)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Beside {
    /// A private data object in the token of that label.
    pub fn adds_data(&self, token: &str, application: &str, label: &str, value: &[u8]) {
        let mut slots = self.context.get_slots_with_token().unwrap().into_iter();
        let info = |slot: &Slot| self.context.get_token_info(*slot);
        let its = |slot: &Slot| info(slot).is_ok_and(|it| it.label() == token);
        let token = TokenRef {
            label: TokenLabel(token.to_owned()),
            serial: info(&slots.find(its).unwrap())
                .unwrap()
                .serial_number()
                .to_owned(),
        };
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Application(application.as_bytes().to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Value(value.to_vec()),
        ];
        self.as_user(&token).create_object(&template).unwrap();
    }
}

impl Meddler for Beside {
    fn changes_pins(&self, token: &TokenRef) {
        let slot = self.slot(token);
        let session = self.context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&self.so)).unwrap();
        let other = AuthPin::from("quite another one".to_owned());
        session.init_pin(&other).unwrap();
        session.set_pin(&self.so, &other).unwrap();
    }

    fn takes_away(&self, token: &TokenRef) {
        let slot = self.slot(token);
        self.context
            .init_token(slot, &self.so, "elsewhere")
            .unwrap();
    }

    fn tears(&self, token: &TokenRef, id: MaterialId, class: Class) {
        let class = match class {
            Class::Private => ObjectClass::PRIVATE_KEY,
            Class::Public => ObjectClass::PUBLIC_KEY,
            Class::Secret => ObjectClass::SECRET_KEY,
        };
        let session = self.as_user(token);
        let template = [Attribute::Class(class), Attribute::Id(id.0.to_vec())];
        let found = session.find_objects(&template).unwrap();
        assert!(!found.is_empty());
        for object in found {
            session.destroy_object(object).unwrap();
        }
    }

    fn plants(&self, token: &TokenRef, id: &[u8]) {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(b"somebody's".to_vec()),
            Attribute::ValueLen(16.into()),
            Attribute::Encrypt(true),
        ];
        let session = self.as_user(token);
        session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .unwrap();
    }
}

/// What each call answered, in words that leave out what differs from one run to the next.
type Answers = BTreeMap<&'static str, String>;

fn word<T>(answer: &Result<T>, of: impl FnOnce(&T) -> String) -> String {
    match answer {
        Ok(value) => of(value),
        Err(error) => {
            let text = format!("{error:?}");
            text.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

fn done<T>(answer: Result<T>) -> String {
    word(&answer, |_| "done".to_owned())
}

fn facts(found: &Result<Vec<ObjectFacts>>) -> String {
    word(found, |found| {
        let of = |it: &ObjectFacts| {
            let proved = it.proved.is_some();
            let public = it.public.is_some();
            format!(
                "{:?} {:?} {:?} {proved} {public}",
                it.class, it.mark, it.usable
            )
        };
        let mut all: Vec<_> = found.iter().map(of).collect();
        all.sort();
        format!("{all:?}")
    })
}

/// Asks everything that can be asked of a token, a key in it, and the ledger; what changes least first.
fn ask(backend: &dyn HsmBackend, token: &TokenRef, id: MaterialId, handle: Handle) -> Answers {
    let sign = Use::Sign {
        digest: vec![7; 32],
    };
    let record = Stored {
        id: new_id().to_string(),
        generation: 1,
        bytes: b"record".to_vec(),
    };
    let nobody = Handle(u64::MAX - 7);
    let mut answers = Answers::new();
    let mut say = |call, answer| {
        answers.insert(call, answer);
    };
    say(
        "token",
        word(&backend.token(&token.label), |it| {
            let access = it.as_ref().map(|it| it.access);
            format!("{access:?}")
        }),
    );
    say(
        "tokens",
        word(&backend.tokens(), |all| {
            all.contains(&token.label).to_string()
        }),
    );
    say(
        "labels",
        facts(&backend.objects(token, &[id], Depth::Labels)),
    );
    say("proof", facts(&backend.objects(token, &[id], Depth::Proof)));
    say("inventory", facts(&backend.inventory(token)));
    say("sign", done(backend.use_key(token, id, &sign)));
    say(
        "encrypt",
        done(backend.use_key(token, id, &Use::Encrypt { plain: vec![1] })),
    );
    say("use another", done(backend.use_key(token, new_id(), &sign)));
    say("publish", done(backend.publish(token, handle)));
    say("publish nobody", done(backend.publish(token, nobody)));
    say("copy nobody", done(backend.copy(token, nobody, Mark::Live)));
    say("destroy nobody", done(backend.destroy(token, nobody)));
    say(
        "copy pending",
        done(backend.copy(token, handle, Mark::Pending)),
    );
    say("copy", done(backend.copy(token, handle, Mark::Deleted)));
    say(
        "copies",
        facts(&backend.objects(token, &[id], Depth::Proof)),
    );
    say("destroy", done(backend.destroy(token, handle)));
    say("destroy again", done(backend.destroy(token, handle)));
    say("left", facts(&backend.objects(token, &[id], Depth::Labels)));
    say(
        "generate",
        done(backend.generate(token, new_id(), Algorithm::P256)),
    );
    say("release", done(backend.release_token(token)));
    say("seal", done(backend.seal_token(token)));
    say("sealed", facts(&backend.inventory(token)));
    say("unseal", done(backend.unseal_token(token)));
    say(
        "unsealed",
        word(&backend.inventory(token), |it| it.len().to_string()),
    );
    say(
        "open for destruction",
        done(backend.open_for_destruction(token)),
    );
    say(
        "read nothing",
        word(&backend.read(&record.id), |it| it.len().to_string()),
    );
    say("write", done(backend.write(&record)));
    say(
        "read",
        word(&backend.read(&record.id), |it| it.len().to_string()),
    );
    say("restore", done(backend.restore(&record)));
    say(
        "records",
        word(&backend.records(), |it| it.contains(&record).to_string()),
    );
    say("forget another", done(backend.forget(&record.id, 2)));
    say("forget", done(backend.forget(&record.id, 1)));
    say("revision", done(backend.revision()));
    say("note revision", done(backend.note_revision(1)));
    answers
}

/// The states, each over a token of its own with one live EC pair: what every call answers there.
fn states(backend: &dyn HsmBackend, meddler: &dyn Meddler) -> BTreeMap<&'static str, Answers> {
    type Act<'a> = &'a dyn Fn(&TokenRef, MaterialId);
    let in_state = |act: Act<'_>| {
        let token = new_token(backend);
        let id = live_key(backend, &token, Algorithm::P256);
        let found = look(backend, &token, id, Depth::Labels);
        let private = found.iter().find(|it| it.class == Class::Private);
        let handle = private.unwrap().handle;
        act(&token, id);
        ask(backend, &token, id, handle)
    };
    let acts: [(&'static str, Act<'_>); 9] = [
        ("live", &|_, _| {}),
        ("its key sealed", &|token, id| {
            turn(backend, token, id, Mark::Deleted)
        }),
        ("sealed", &|token, _| backend.seal_token(token).unwrap()),
        ("its PINs changed", &|token, _| {
            // No session of it is open any more, beside which the SO could not log in.
            backend.seal_token(token).unwrap();
            meddler.changes_pins(token);
        }),
        ("gone", &|token, _| {
            backend.seal_token(token).unwrap();
            meddler.takes_away(token);
        }),
        ("the private half gone", &|token, id| {
            meddler.tears(token, id, Class::Private)
        }),
        ("the public half gone", &|token, id| {
            meddler.tears(token, id, Class::Public)
        }),
        ("a foreign object under its id", &|token, id| {
            meddler.plants(token, &id.0)
        }),
        ("a foreign object beside it", &|token, _| {
            meddler.plants(token, b"theirs")
        }),
    ];
    acts.into_iter()
        .map(|(name, act)| (name, in_state(act)))
        .collect()
}

/// The reference answers first; the backend must say the same of everything.
pub fn answers_are_the_references(backend: &dyn HsmBackend, meddler: &dyn Meddler) {
    let memory = MemoryBackend::new();
    let expected = states(&memory, &memory);
    let found = states(backend, meddler);
    let means = |state: &str, call: &str| expected[state][call].clone();
    assert_eq!(means("live", "sign"), "done");
    assert_eq!(means("its key sealed", "sign"), "Refused");
    assert_eq!(means("sealed", "sign"), "Sealed");
    assert_eq!(means("its PINs changed", "unseal"), "Pin");
    assert_eq!(means("gone", "token"), "None");
    assert_eq!(
        means("the public half gone", "proof"),
        "[\"Private Live Some(true) false false\"]"
    );
    assert_eq!(
        means("a foreign object under its id", "proof"),
        "Unavailable"
    );
    assert_eq!(means("a foreign object beside it", "sign"), "done");
    let mut differs = Vec::new();
    for (state, answers) in &expected {
        for (call, answer) in answers {
            let said = &found[state][call];
            if said != answer {
                differs.push(format!("{state}, {call}: {answer} is {said}"));
            }
        }
    }
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

/// A module that is not there answers every call alike, whichever it is.
pub fn a_missing_module_answers_every_call_alike() {
    let missing = Waiting::new(|| {
        Err(NotOpen {
            why: "it is not installed".to_owned(),
            is_final: false,
        })
    });
    let memory = MemoryBackend::new();
    let token = new_token(&memory);
    memory.away(Some(BackendError::Unavailable(
        "it is not installed".into(),
    )));
    let answers = |backend| ask(backend, &token, MaterialId([1; 16]), Handle(1));
    let (said, expected) = (answers(&missing), answers(&memory));
    assert_eq!(said, expected);
    assert!(said.values().all(|it| it == "Unavailable"), "{said:?}");
}

#[test]
fn a_module_that_is_not_there_answers_as_the_reference_that_is_away() {
    a_missing_module_answers_every_call_alike();
}

#[cfg(feature = "embedded")]
#[test]
fn kryoptic_answers_every_call_in_every_state_as_the_reference() {
    let (store, pins) = crate::store::shared_with_pins();
    let beside = Beside::new(Pkcs11::new_from_self().unwrap(), pins);
    answers_are_the_references(store, &beside);
}
