//! The one that is killed: opens the store, looks whether all is there, finishes what was under way, and goes on until it dies.

use std::{collections::BTreeSet, fs, io::Write, path::Path};

use managed_hsm_operator::backend::{
    Access, Algorithm, BackendError, Class, Depth, HsmBackend, Mark, MaterialId, ObjectFacts,
    Stored, TokenLabel, TokenRef, Use,
    pkcs11::{PinPaths, embedded, external},
};
use rand::{Rng, seq::IndexedRandom};

use crate::keys::{ACTS, Act, Key, State, Told, World};
use crate::softhsm;

const TOKENS: usize = 2;
/// Every operation scans a token.
const MOST_KEYS: usize = 12;

type Lost = String;

pub fn work(folder: &Path) {
    let world = fs::read(folder.join("world")).unwrap();
    let mut world: World = serde_json::from_slice(&world).unwrap();
    let opened = open(folder).map_err(|why| format!("start refused: {why}"));
    let going = opened.and_then(|backend| {
        let mut child = Child {
            backend: backend.as_ref(),
            world: &mut world,
        };
        child.tokens()?;
        child.find_all()?;
        say(&Told::Working);
        loop {
            child.act()?;
        }
    });
    let Err::<(), Lost>(lost) = going else { return };
    say(&Told::Lost(lost));
}

fn say(told: &Told) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(told).unwrap();
    writeln!(out, "\ntold {line}").unwrap();
    out.flush().unwrap();
}

fn open(folder: &Path) -> Result<Box<dyn HsmBackend>, String> {
    let pins = PinPaths::in_folder(&folder.join("pins"));
    if std::env::var("TORTURE_MODULE").unwrap() == "kryoptic" {
        let config = embedded::Config::new(folder.join("data"), &folder.join("pins"));
        let opened = embedded::open(&config, |records| {
            // As the operator does: tokens whose record is past creating must be there.
            let hsms = records.iter().filter(|it| it.bytes.starts_with(b"hsm"));
            Ok(hsms
                .map(|it| TokenLabel(it.id.clone()))
                .collect::<BTreeSet<_>>())
        });
        return opened
            .map(|it| Box::new(it) as _)
            .map_err(|it| it.to_string());
    }
    let config = external::Config {
        library: softhsm::library().unwrap(),
        data_dir: folder.join("data"),
        pins,
        one_at_a_time: true,
        ledger: "records".into(),
        scratch: "scratch".into(),
        tokens: None,
        max_keys: 1000,
    };
    let opened = external::open(&config);
    opened
        .map(|it| Box::new(it) as _)
        .map_err(|it| it.to_string())
}

struct Child<'a> {
    backend: &'a dyn HsmBackend,
    world: &'a mut World,
}

fn token_of(key: &Key) -> TokenRef {
    TokenRef {
        label: TokenLabel(key.token.0.clone()),
        serial: key.token.1.clone(),
    }
}

fn lost(what: &str, why: impl std::fmt::Display) -> Lost {
    format!("{what}: {why}")
}

impl Child<'_> {
    /// All of them are there and open; and there are enough.
    fn tokens(&mut self) -> Result<(), Lost> {
        for (label, serial) in &self.world.tokens {
            let found = self.backend.token(&TokenLabel(label.clone()));
            let facts = found.map_err(|error| lost("token lost", error))?;
            let Some(facts) = facts.filter(|it| it.serial == *serial) else {
                return Err(lost("token lost", "it is not there"));
            };
            // Killed between its seal and its unsealing, which nobody was told to be done.
            if facts.access == Access::Refused {
                let token = TokenRef {
                    label: facts.label,
                    serial: facts.serial,
                };
                let unsealed = self.backend.unseal_token(&token);
                unsealed.map_err(|error| lost("token lost", error))?;
            }
        }
        while self.world.tokens.len() < TOKENS {
            let label = TokenLabel(MaterialId(rand::random()).to_string());
            let made = self.backend.create_token(&label);
            let made = made.map_err(|error| lost("token not made", error))?;
            let record = Stored {
                id: label.0.clone(),
                generation: 1,
                bytes: b"hsm".to_vec(),
            };
            let written = self.backend.write(&record);
            written.map_err(|error| lost("record not written", error))?;
            say(&Told::Token(label.0.clone(), made.serial.clone()));
            self.world.tokens.push((label.0, made.serial));
        }
        Ok(())
    }

    /// What was acknowledged is as it was; what was under way is finished.
    fn find_all(&mut self) -> Result<(), Lost> {
        for mut key in std::mem::take(&mut self.world.keys) {
            if key.under_way.take().is_some() {
                self.finish(&mut key)?;
            }
            self.must_be(&key)?;
            say(&Told::Key(key.clone()));
            self.world.keys.push(key);
        }
        Ok(())
    }

    fn record(&self, key: &Key) -> Result<(u64, String), Lost> {
        let found = self.backend.read(&key.id);
        let mut found = found.map_err(|error| lost("record lost", error))?;
        match (found.pop(), found.is_empty()) {
            (None, _) if key.generation == 0 => Ok((0, "none".into())),
            (None, _) => Err(lost("record lost", "there is none")),
            (Some(one), true) if one.generation < key.generation => {
                Err(lost("record lost", "an older one stands"))
            }
            (Some(one), true) => {
                let text = String::from_utf8(one.bytes);
                Ok((one.generation, text.map_err(|it| lost("record lost", it))?))
            }
            (Some(_), false) => Err(lost("record lost", "several stand")),
        }
    }

    fn write(&self, key: &mut Key, state: &str) -> Result<(), Lost> {
        let fingerprint = key.fingerprint.clone().unwrap_or_default();
        let record = Stored {
            id: key.id.clone(),
            generation: key.generation + 1,
            bytes: format!("{state} {fingerprint}").into_bytes(),
        };
        let written = self.backend.write(&record);
        written.map_err(|error| lost("record not written", error))?;
        key.generation += 1;
        Ok(())
    }

    fn look(&self, key: &Key) -> Result<Vec<ObjectFacts>, Lost> {
        let id: MaterialId = key.id.parse().unwrap();
        let found = self.backend.objects(&token_of(key), &[id], Depth::Proof);
        found.map_err(|error| lost("key lost", error))
    }

    fn must_be(&self, key: &Key) -> Result<(), Lost> {
        let (generation, _) = self.record(key)?;
        let found = self.look(key)?;
        let mark = match key.state {
            Some(State::Gone) if found.is_empty() => return Ok(()),
            Some(State::Gone) => return Err(lost("key came back", &key.id)),
            Some(State::Live) => Mark::Live,
            Some(State::Deleted) => Mark::Deleted,
            None => return Ok(()),
        };
        let classes: BTreeSet<Class> = found.iter().map(|it| it.class).collect();
        let whole = classes.len() == if key.ec { 2 } else { 1 };
        let right = found.iter().all(|it| {
            it.mark == mark
                && it.usable == Some(mark == Mark::Live)
                && it.proved.as_ref().map(ToString::to_string) == key.fingerprint
        });
        if !whole || !right || generation != key.generation {
            return Err(lost("key lost", format!("{key:?} is {found:?}")));
        }
        if mark == Mark::Live {
            self.used(key)?;
        }
        Ok(())
    }

    fn used(&self, key: &Key) -> Result<(), Lost> {
        let id = key.id.parse().unwrap();
        let what = if key.ec {
            Use::Sign {
                digest: vec![5; 32],
            }
        } else {
            Use::Encrypt {
                plain: b"known".to_vec(),
            }
        };
        let used = self.backend.use_key(&token_of(key), id, &what);
        used.map(drop).map_err(|error| lost("key lost", error))
    }

    /// By its record, as whoever finds it half done.
    fn finish(&mut self, key: &mut Key) -> Result<(), Lost> {
        let (generation, text) = self.record(key)?;
        key.generation = generation;
        let (state, fingerprint) = text.split_once(' ').unwrap_or((&text, ""));
        if !fingerprint.is_empty() {
            key.fingerprint = Some(fingerprint.to_owned());
        }
        match state {
            "none" => {
                key.state = Some(State::Gone);
                self.write(key, "tombstone")
            }
            "creating" => self.destroy(key),
            "live" => self.publish(key),
            "sealing" => self.turn_to(key, Mark::Deleted),
            "opening" => self.turn_to(key, Mark::Live),
            "deleted" => {
                key.state = Some(State::Deleted);
                Ok(())
            }
            "destroying" => self.destroyed(key),
            "tombstone" => {
                key.state = Some(State::Gone);
                Ok(())
            }
            other => Err(lost("record lost", other)),
        }
    }

    /// Any act that some key is ready for.
    fn act(&mut self) -> Result<(), Lost> {
        let mut random = rand::rng();
        if let Some(gone) = self.one_that_is(State::Gone) {
            return self.forget(&gone);
        }
        let act = ACTS[random.random_range(0..ACTS.len())].0;
        let wanted = match act {
            // It takes longest, and would be what most kills strike.
            Act::Create if self.world.keys.len() >= MOST_KEYS || random.random_bool(0.5) => {
                return Ok(());
            }
            Act::Create => return self.create(),
            Act::Unseal | Act::Destroy => State::Deleted,
            Act::Seal | Act::SealHsm => State::Live,
            Act::Record => [State::Live, State::Deleted][random.random_range(0..2)],
        };
        let Some(mut key) = self.one_that_is(wanted) else {
            return Ok(());
        };
        self.begin(&mut key, act);
        match act {
            Act::Seal => {
                self.write(&mut key, "sealing")?;
                self.turn_to(&mut key, Mark::Deleted)?;
            }
            Act::Unseal => {
                self.write(&mut key, "opening")?;
                self.turn_to(&mut key, Mark::Live)?;
            }
            Act::Destroy => self.destroy(&mut key)?,
            Act::SealHsm => self.seal_hsm(&key)?,
            Act::Record | Act::Create => self.rewrite(&mut key)?,
        }
        self.done(key);
        Ok(())
    }

    /// Any of them, taken out.
    fn one_that_is(&mut self, state: State) -> Option<Key> {
        let is = |key: &&usize| self.world.keys[**key].state == Some(state);
        let all: Vec<_> = (0..self.world.keys.len()).collect();
        let all: Vec<_> = all.iter().filter(is).copied().collect();
        let chosen = all.choose(&mut rand::rng())?;
        Some(self.world.keys.remove(*chosen))
    }

    fn begin(&self, key: &mut Key, act: Act) {
        key.under_way = Some(act);
        say(&Told::Key(key.clone()));
    }

    fn done(&mut self, mut key: Key) {
        key.under_way = None;
        say(&Told::Key(key.clone()));
        self.world.keys.push(key);
    }

    fn create(&mut self) -> Result<(), Lost> {
        let mut random = rand::rng();
        let token = random.random_range(0..self.world.tokens.len());
        let mut key = Key {
            id: MaterialId(random.random()).to_string(),
            token: self.world.tokens[token].clone(),
            ec: random.random_bool(0.5),
            state: None,
            fingerprint: None,
            generation: 0,
            under_way: None,
        };
        self.begin(&mut key, Act::Create);
        self.write(&mut key, "creating")?;
        let algorithm = if key.ec {
            Algorithm::P256
        } else {
            Algorithm::Aes256
        };
        let id = key.id.parse().unwrap();
        let made = self.backend.generate(&token_of(&key), id, algorithm);
        made.map_err(|error| lost("key not made", error))?;
        let proved = self.look(&key)?.iter().find_map(|it| it.proved.clone());
        key.fingerprint = proved.map(|it| it.to_string());
        self.write(&mut key, "live")?;
        self.publish(&mut key)?;
        self.done(key);
        Ok(())
    }

    fn publish(&self, key: &mut Key) -> Result<(), Lost> {
        for object in self.look(key)? {
            if object.mark == Mark::Pending {
                let labelled = self.backend.publish(&token_of(key), object.handle);
                labelled.map_err(|error| lost("key lost", error))?;
            }
        }
        key.state = Some(State::Live);
        Ok(())
    }

    /// K1, from wherever it stands.
    fn turn_to(&self, key: &mut Key, to: Mark) -> Result<(), Lost> {
        let token = token_of(key);
        for class in [Class::Private, Class::Public, Class::Secret] {
            let found = self.look(key)?;
            let mut here = found.iter().filter(|it| it.class == class);
            if here.clone().any(|it| it.mark == to) {
                continue;
            }
            if let Some(original) = here.next() {
                let copied = self.backend.copy(&token, original.handle, to);
                copied.map_err(|error| lost("key lost", error))?;
            }
        }
        for object in self.look(key)? {
            if object.mark != to {
                let destroyed = self.backend.destroy(&token, object.handle);
                destroyed.map_err(|error| lost("key lost", error))?;
            }
        }
        let (state, word) = match to {
            Mark::Deleted => (State::Deleted, "deleted"),
            Mark::Live | Mark::Pending => (State::Live, "live"),
        };
        self.write(key, word)?;
        key.state = Some(state);
        Ok(())
    }

    fn destroy(&self, key: &mut Key) -> Result<(), Lost> {
        self.write(key, "destroying")?;
        self.destroyed(key)
    }

    fn destroyed(&self, key: &mut Key) -> Result<(), Lost> {
        let token = token_of(key);
        for object in self.look(key)? {
            match self.backend.destroy(&token, object.handle) {
                Ok(()) | Err(BackendError::DeadHandle) => {}
                Err(error) => return Err(lost("key not destroyed", error)),
            }
        }
        self.write(key, "tombstone")?;
        key.state = Some(State::Gone);
        Ok(())
    }

    fn rewrite(&self, key: &mut Key) -> Result<(), Lost> {
        let word = match key.state {
            Some(State::Deleted) => "deleted",
            _ => "live",
        };
        (0..4).try_for_each(|_| self.write(key, word))
    }

    fn seal_hsm(&self, key: &Key) -> Result<(), Lost> {
        let token = token_of(key);
        let sealed = self.backend.seal_token(&token);
        sealed.map_err(|error| lost("token lost", error))?;
        let unsealed = self.backend.unseal_token(&token);
        unsealed.map_err(|error| lost("token lost", error))
    }

    fn forget(&self, key: &Key) -> Result<(), Lost> {
        // From here on nothing of it is asked for any more.
        say(&Told::Forgotten(key.id.clone()));
        let forgotten = self.backend.forget(&key.id, key.generation);
        forgotten.map_err(|error| lost("record not forgotten", error))
    }
}
