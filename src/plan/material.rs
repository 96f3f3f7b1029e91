//! What a look at a key's objects means for each protocol: the next touch of the material, or that
//! there is none left to do. One touch at a time, by the handles of this look (G3).

use super::ids;
use super::step::Effect;
use crate::backend::{self, Class, Mark, ObjectFacts, TokenRef};
use crate::softdelete::record::{Algorithm, Pending, Version};
use crate::softdelete::{Fingerprint, MaterialId};

/// Where the material stands on its way to what a protocol wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Touch(Effect),
    Done,
    /// No object has the id.
    Missing(MaterialId),
    /// There are objects, but they don't prove to be what the record names.
    Disagrees(MaterialId),
    /// Generated again and again, and never whole: the backend cannot make such a key.
    NeverWhole,
}

/// So many keys are begun under one pending id, at most. Whoever is killed in the middle leaves a half, which goes when the key is there.
const MOST_BEGUN: usize = 8;

/// A key's objects as this look found them.
pub struct Objects<'a> {
    pub token: &'a TokenRef,
    pub algorithm: &'a Algorithm,
    pub found: &'a [ObjectFacts],
}

/// The algorithm in the backend's words. None: no backend of ours makes such keys.
pub fn backend_algorithm(algorithm: &Algorithm) -> Option<backend::Algorithm> {
    use backend::Algorithm as To;
    Some(match algorithm {
        Algorithm::Rsa(2048) => To::Rsa2048,
        Algorithm::Rsa(3072) => To::Rsa3072,
        Algorithm::Rsa(4096) => To::Rsa4096,
        Algorithm::Oct(128) => To::Aes128,
        Algorithm::Oct(192) => To::Aes192,
        Algorithm::Oct(256) => To::Aes256,
        Algorithm::Ec(curve) => match curve.as_str() {
            "P-256" => To::P256,
            "P-384" => To::P384,
            "P-521" => To::P521,
            _ => return None,
        },
        Algorithm::Rsa(_) | Algorithm::Oct(_) => return None,
    })
}

impl Objects<'_> {
    fn classes(&self) -> &'static [Class] {
        match self.algorithm {
            Algorithm::Rsa(_) | Algorithm::Ec(_) => &[Class::Private, Class::Public],
            Algorithm::Oct(_) => &[Class::Secret],
        }
    }

    fn of<'a>(&'a self, id: &'a MaterialId) -> impl Iterator<Item = &'a ObjectFacts> + 'a {
        self.found
            .iter()
            .filter(move |object| object.id.to_string() == id.0)
    }

    fn destroy(&self, object: &ObjectFacts) -> Progress {
        Progress::Touch(Effect::Destroy {
            token: self.token.clone(),
            handle: object.handle,
        })
    }

    fn copy(&self, object: &ObjectFacts, mark: Mark) -> Progress {
        Progress::Touch(Effect::Copy {
            token: self.token.clone(),
            original: object.handle,
            mark,
        })
    }

    /// Make: a pending key (pair) that proves itself, or the step towards one. `Ok` holds its fingerprint. What is not whole is left alone, and
    /// another made beside it: a half may be somebody's who is generating just now, and is a recorded key's a moment later. It is swept then.
    pub fn make(&self, pending: &Pending) -> Result<Fingerprint, Progress> {
        let mine: Vec<_> = self.of(&pending.material).collect();
        if mine.iter().any(|object| object.mark != Mark::Pending) {
            return Err(Progress::Disagrees(pending.material.clone()));
        }
        if let Some(made) = self.whole(&mine) {
            return Ok(made);
        }
        if self.begun(&mine) >= MOST_BEGUN {
            return Err(Progress::NeverWhole);
        }
        Err(self.generate(pending))
    }

    /// How often it was generated, by what is there of it.
    fn begun(&self, objects: &[&ObjectFacts]) -> usize {
        let of = |class| {
            objects
                .iter()
                .filter(|object| object.class == class)
                .count()
        };
        self.classes()
            .iter()
            .map(|class| of(*class))
            .max()
            .unwrap_or(0)
    }

    fn generate(&self, pending: &Pending) -> Progress {
        match (
            ids::backend_id(&pending.material),
            backend_algorithm(self.algorithm),
        ) {
            (Some(id), Some(algorithm)) => Progress::Touch(Effect::Generate {
                token: self.token.clone(),
                id,
                algorithm,
            }),
            _ => Progress::Disagrees(pending.material.clone()),
        }
    }

    /// The smallest fingerprint that every class proves.
    fn whole(&self, objects: &[&ObjectFacts]) -> Option<Fingerprint> {
        let first = self.classes().first()?;
        let proved = |object: &&&ObjectFacts| object.class == *first && object.proved.is_some();
        let mut candidates: Vec<_> = objects
            .iter()
            .filter(proved)
            .filter_map(|object| object.proved.as_ref())
            .collect();
        candidates.sort();
        let complete = |fingerprint: &&&backend::Fingerprint| {
            self.classes().iter().all(|class| {
                objects.iter().any(|object| {
                    object.class == *class && object.proved.as_ref() == Some(**fingerprint)
                })
            })
        };
        candidates
            .iter()
            .find(complete)
            .map(|fingerprint| ids::fingerprint(fingerprint))
    }

    /// Publish: each recorded version is labelled *live*, and what else is pending under its id is swept.
    pub fn publish(&self, versions: &[Version]) -> Progress {
        self.each(versions, |version| self.publish_one(version))
    }

    fn publish_one(&self, version: &Version) -> Progress {
        for class in self.classes() {
            let here = || {
                self.of(&version.material)
                    .filter(|object| object.class == *class)
            };
            if here().any(|object| object.mark == Mark::Live) {
                continue;
            }
            match here()
                .find(|object| object.mark == Mark::Pending && proves(object, &version.fingerprint))
            {
                Some(object) => {
                    return Progress::Touch(Effect::Publish {
                        token: self.token.clone(),
                        handle: object.handle,
                    });
                }
                None if here().next().is_none() => {
                    return Progress::Missing(version.material.clone());
                }
                None => return Progress::Disagrees(version.material.clone()),
            }
        }
        match self
            .of(&version.material)
            .find(|object| object.mark == Mark::Pending)
        {
            // Beside a live one that does not prove itself it may be the key itself.
            Some(_) if !self.lives(version) => Progress::Disagrees(version.material.clone()),
            Some(stray) => self.destroy(stray),
            None => Progress::Done,
        }
    }

    /// Each class has a proved object that is labelled live.
    fn lives(&self, version: &Version) -> bool {
        self.classes().iter().all(|class| {
            self.of(&version.material).any(|object| {
                object.class == *class && turned(object, Mark::Live, &version.fingerprint)
            })
        })
    }

    /// K1: every object of every version has a proved copy that refuses use, and no original is left. What is missing, or in doubt, of one version
    /// leaves no other one open.
    pub fn seal(&self, versions: &[Version]) -> Progress {
        let turned = || {
            versions
                .iter()
                .map(|version| self.turn_one(version, Mark::Deleted))
        };
        turned()
            .find(|progress| matches!(progress, Progress::Touch(_)))
            .or_else(|| turned().find(|progress| *progress != Progress::Done))
            .unwrap_or(Progress::Done)
    }

    /// K1 back: every object has a proved copy that works, and no sealed one is left.
    pub fn unseal(&self, versions: &[Version]) -> Progress {
        self.each(versions, |version| self.turn_one(version, Mark::Live))
    }

    fn turn_one(&self, version: &Version, to: Mark) -> Progress {
        for class in self.classes() {
            let here = || {
                self.of(&version.material)
                    .filter(|object| object.class == *class)
            };
            if here().any(|object| turned(object, to, &version.fingerprint)) {
                continue;
            }
            // A copy that is there but does not prove itself is never made twice, and never destroyed: somebody may be about to trust it.
            let unproved = here().any(|object| object.mark == to);
            match here().find(|object| object.mark != to && proves(object, &version.fingerprint)) {
                Some(original) if !unproved => return self.copy(original, to),
                None if here().next().is_none() => {
                    return Progress::Missing(version.material.clone());
                }
                _ => return Progress::Disagrees(version.material.clone()),
            }
        }
        match self.of(&version.material).find(|object| object.mark != to) {
            Some(original) => self.destroy(original),
            None => Progress::Done,
        }
    }

    /// Where a seal is a label only (`Assurance::seals_keys`) somebody who was paused may set it long after: what proves to be the recorded key is
    /// labelled as its record says (G6, as with an HSM's PIN).
    pub fn follow(&self, versions: &[Version], to: Mark) -> Progress {
        let other = |object: &&ObjectFacts| object.mark != to && object.mark != Mark::Pending;
        let strayed = versions.iter().find_map(|version| {
            let mut its = self.of(&version.material).filter(other);
            its.find(|object| proves(object, &version.fingerprint))
        });
        strayed.map_or(Progress::Done, |object| self.copy(object, to))
    }

    /// Ends what was pending: only `p:` objects of that id are destroyed.
    pub fn end(&self, pending: &Pending) -> Progress {
        match self
            .of(&pending.material)
            .find(|object| object.mark == Mark::Pending)
        {
            Some(object) => self.destroy(object),
            None => Progress::Done,
        }
    }

    /// Every object with one of the ids goes, whatever its label.
    pub fn purge(&self, ids: &[MaterialId]) -> Progress {
        match ids.iter().flat_map(|id| self.of(id)).next() {
            Some(object) => self.destroy(object),
            None => Progress::Done,
        }
    }

    fn each(&self, versions: &[Version], one: impl Fn(&Version) -> Progress) -> Progress {
        versions
            .iter()
            .map(one)
            .find(|progress| *progress != Progress::Done)
            .unwrap_or(Progress::Done)
    }
}

fn proves(object: &ObjectFacts, fingerprint: &Fingerprint) -> bool {
    object
        .proved
        .as_ref()
        .is_some_and(|proved| ids::fingerprint(proved) == *fingerprint)
}

/// A sealed copy refuses use, a live one works; both prove to be the recorded key.
fn turned(object: &ObjectFacts, to: Mark, fingerprint: &Fingerprint) -> bool {
    object.mark == to && object.usable == Some(to == Mark::Live) && proves(object, fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Handle, TokenLabel};

    const HALF: [Class; 1] = [Class::Private];
    const PAIR: [Class; 2] = [Class::Private, Class::Public];

    /// What stands under the pending id: each time it was generated, which classes there are, and what they prove to be.
    fn made(begun: &[(&[Class], Option<u8>)]) -> Result<Fingerprint, Progress> {
        let (id, number) = (backend::MaterialId([1; 16]), 0..);
        let one = |class, proved: Option<u8>, handle| ObjectFacts {
            handle: Handle(handle),
            id,
            class,
            mark: Mark::Pending,
            usable: Some(true),
            proved: proved.map(|it| backend::Fingerprint::Thumbprint([it; 32])),
            public: None,
        };
        let found: Vec<_> = begun
            .iter()
            .flat_map(|(classes, proved)| classes.iter().map(move |class| (*class, *proved)))
            .zip(number)
            .map(|((class, proved), handle)| one(class, proved, handle))
            .collect();
        let token = TokenRef {
            label: TokenLabel("t".into()),
            serial: "s".into(),
        };
        let objects = Objects {
            token: &token,
            algorithm: &Algorithm::Ec("P-256".into()),
            found: &found,
        };
        objects.make(&Pending {
            number: 1,
            material: MaterialId(id.to_string()),
        })
    }

    fn generates(progress: &Result<Fingerprint, Progress>) -> bool {
        matches!(progress, Err(Progress::Touch(Effect::Generate { .. })))
    }

    #[test]
    fn half_a_pair_is_left_alone_and_a_whole_one_made_beside_it() {
        assert!(generates(&made(&[])));
        assert!(generates(&made(&[(&HALF, None)])));
        assert!(generates(&made(&[(&PAIR, None)])), "it proves nothing");
        let whole = made(&[(&HALF, None), (&PAIR, Some(7))]);
        let named = backend::Fingerprint::Thumbprint([7; 32]);
        assert_eq!(whole, Ok(ids::fingerprint(&named)));
    }

    #[test]
    fn g6_a_label_that_was_set_late_follows_the_record_again() {
        let named = backend::Fingerprint::Thumbprint([7; 32]);
        let one = |class, mark, proved: u8, handle| ObjectFacts {
            handle: Handle(handle),
            id: backend::MaterialId([1; 16]),
            class,
            mark,
            usable: Some(false),
            proved: Some(backend::Fingerprint::Thumbprint([proved; 32])),
            public: None,
        };
        let version = Version {
            number: 1,
            material: MaterialId(backend::MaterialId([1; 16]).to_string()),
            fingerprint: ids::fingerprint(&named),
            created: chrono::DateTime::UNIX_EPOCH,
        };
        let token = TokenRef {
            label: TokenLabel("t".into()),
            serial: "s".into(),
        };
        let follows = |found: &[ObjectFacts], to| {
            let objects = Objects {
                token: &token,
                algorithm: &Algorithm::Ec("P-256".into()),
                found,
            };
            match objects.follow(std::slice::from_ref(&version), to) {
                Progress::Touch(Effect::Copy { original, mark, .. }) => Some((original.0, mark)),
                Progress::Done => None,
                other => panic!("{other:?}"),
            }
        };
        let (private, public) = (Class::Private, Class::Public);
        let mixed = [
            one(public, Mark::Live, 7, 1),
            one(private, Mark::Deleted, 7, 2),
        ];
        assert_eq!(follows(&mixed, Mark::Live), Some((2, Mark::Live)));
        assert_eq!(follows(&mixed, Mark::Deleted), Some((1, Mark::Deleted)));
        let other = [
            one(private, Mark::Deleted, 8, 1),
            one(private, Mark::Pending, 7, 2),
        ];
        assert_eq!(follows(&other, Mark::Live), None, "not the recorded key");
    }

    #[test]
    fn a_backend_whose_keys_are_never_whole_is_not_filled_with_them() {
        let halves = [(&HALF[..], None); MOST_BEGUN];
        assert!(generates(&made(&halves[1..])));
        assert_eq!(made(&halves), Err(Progress::NeverWhole));
        let mut more = halves.to_vec();
        more.push((&PAIR[..], Some(7)));
        assert!(
            made(&more).is_ok(),
            "a whole one counts, however many halves there are"
        );
    }

    /// One object each of these marks, of the same proved material, usable whatever its mark says.
    fn marked(marks: &[Mark], judge: impl Fn(&Objects<'_>, MaterialId) -> Progress) -> Progress {
        let id = backend::MaterialId([1; 16]);
        let one = |(handle, mark): (u64, &Mark)| ObjectFacts {
            handle: Handle(handle),
            id,
            class: Class::Secret,
            mark: *mark,
            usable: Some(true),
            proved: Some(backend::Fingerprint::CheckValue([7; 8])),
            public: None,
        };
        let found: Vec<_> = (0..).zip(marks).map(one).collect();
        let token = TokenRef {
            label: TokenLabel("t".into()),
            serial: "s".into(),
        };
        let objects = Objects {
            token: &token,
            algorithm: &Algorithm::Oct(256),
            found: &found,
        };
        judge(&objects, MaterialId(id.to_string()))
    }

    #[test]
    fn i8_a_sealed_copy_that_can_be_used_is_none_and_its_original_stays() {
        let seal = |objects: &Objects<'_>, material| {
            let fingerprint = ids::fingerprint(&backend::Fingerprint::CheckValue([7; 8]));
            objects.seal(&[Version {
                number: 1,
                material,
                fingerprint,
                created: chrono::DateTime::UNIX_EPOCH,
            }])
        };
        let sealed = marked(&[Mark::Live, Mark::Deleted], seal);
        assert!(matches!(sealed, Progress::Disagrees(_)), "{sealed:?}");
    }

    #[test]
    fn g5_of_what_is_pending_only_what_says_so_is_ended_or_made() {
        let pending = |material| Pending {
            number: 1,
            material,
        };
        for mark in [Mark::Live, Mark::Deleted] {
            let ended = marked(&[mark], |objects, id| objects.end(&pending(id)));
            assert_eq!(ended, Progress::Done, "{mark:?}");
            let made = marked(&[mark], |objects, id| {
                objects.make(&pending(id)).expect_err("nothing")
            });
            assert!(matches!(made, Progress::Disagrees(_)), "{mark:?}: {made:?}");
        }
    }
}
