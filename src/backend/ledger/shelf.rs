//! The ledger over a place where things can only be added and removed, as data objects in a token are: no module changes a value
//! in place as one act, and none compares and swaps.
//!
//! A record is added with its generation in the label; the highest counts, and lower ones are removed afterwards. After adding it is read
//! again: ours must be the single highest. Equal bytes of one generation are one record; different ones stand until a person says which.
//! What is longer than [`MOST`] is added in parts, and counts only when all of them are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::Ledger;
use crate::backend::{BackendError, Handle, Result, Stored};

/// The longest value of one item, in bytes: every module that has data objects takes so much.
pub const MOST: usize = 4096;

const RECORD: &str = "record/";
const SEEN: &str = "seen";

/// One thing on the shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub handle: Handle,
    pub name: String,
    pub label: String,
    pub value: Vec<u8>,
}

/// The place. Adding is whole or not at all; after an error it may have worked.
pub trait Shelf: Send + Sync + 'static {
    /// All items of that name; all of ours, if none is said.
    fn items(&self, name: Option<&str>) -> Result<Vec<Item>>;
    fn add(&self, name: &str, label: &str, value: &[u8]) -> Result<()>;
    /// `DeadHandle`: it is gone already.
    fn remove(&self, handle: Handle) -> Result<()>;
}

/// The ledger on a shelf, and what else is to be remembered beside the records.
pub struct ShelfLedger<S> {
    shelf: S,
    /// One change at a time in this process; between processes the reading again tells.
    turn: Mutex<()>,
}

/// What stands under one name.
#[derive(Default)]
struct Pile {
    /// 0: nothing.
    generation: u64,
    /// Of the highest generation; several differ.
    highest: BTreeSet<Vec<u8>>,
    handles: Vec<Handle>,
    /// Of lower generations, or not whole.
    others: Vec<Handle>,
}

/// `<generation> <digest> <part>/<parts>`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    generation: u64,
    digest: String,
    part: usize,
    parts: usize,
}

impl Mark {
    fn read(label: &str) -> Option<Mark> {
        let (generation, rest) = label.split_once(' ')?;
        let (digest, rest) = rest.split_once(' ')?;
        let (part, parts) = rest.split_once('/')?;
        let mark = Mark {
            generation: generation.parse().ok()?,
            digest: digest.to_owned(),
            part: part.parse().ok()?,
            parts: parts.parse().ok()?,
        };
        (mark.generation > 0 && (1..=mark.parts).contains(&mark.part)).then_some(mark)
    }

    fn label(&self) -> String {
        let Mark {
            generation,
            digest,
            part,
            parts,
        } = self;
        format!("{generation} {digest} {part}/{parts}")
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Pile {
    fn of(items: Vec<Item>) -> Pile {
        let mut groups: BTreeMap<(u64, String), Vec<(Mark, Item)>> = BTreeMap::new();
        let mut unread = Vec::new();
        for item in items {
            match Mark::read(&item.label) {
                Some(mark) => {
                    let group = groups.entry((mark.generation, mark.digest.clone()));
                    group.or_default().push((mark, item));
                }
                None => unread.push(item.handle),
            }
        }
        let mut pile = Pile::default();
        for ((generation, digest), group) in groups {
            let handles = group.iter().map(|(_, item)| item.handle);
            let Some(bytes) = whole(&group) else {
                pile.others.extend(handles);
                continue;
            };
            if generation > pile.generation {
                pile.others.append(&mut pile.handles);
                pile.highest.clear();
                pile.generation = generation;
            }
            pile.handles.extend(handles);
            // What is not what it says counts, and is no record: it holds.
            let sound = self::digest(&bytes) == digest;
            pile.highest.insert(if sound { bytes } else { Vec::new() });
        }
        if !unread.is_empty() {
            // Nobody knows which generation that was: it disagrees with the highest.
            pile.generation = pile.generation.max(1);
            pile.handles.append(&mut unread);
            pile.highest.insert(Vec::new());
        }
        pile
    }

    fn is(&self, generation: u64, bytes: &[u8]) -> bool {
        self.generation == generation && self.highest.len() == 1 && self.highest.contains(bytes)
    }

    fn note(self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut highest = self.highest.into_iter();
        match (highest.next(), highest.next()) {
            (None, _) => Ok(None),
            (Some(bytes), None) => Ok(Some(bytes)),
            (Some(_), Some(_)) => Err(BackendError::Unavailable(format!(
                "the ledger's token holds different notes under {name}; remove the wrong one with the module's own tool"
            ))),
        }
    }

    fn stored(&self, id: &str) -> Vec<Stored> {
        let one = |bytes: &Vec<u8>| Stored {
            id: id.to_owned(),
            generation: self.generation,
            bytes: bytes.clone(),
        };
        self.highest.iter().map(one).collect()
    }
}

/// What all parts make together. None: one is missing.
fn whole(group: &[(Mark, Item)]) -> Option<Vec<u8>> {
    let parts = group.first().map_or(0, |(mark, _)| mark.parts);
    let part = |number: usize| {
        let mut all = group.iter();
        let found = all.find(|(mark, _)| mark.part == number && mark.parts == parts);
        found.map(|(_, item)| item.value.as_slice())
    };
    let all: Option<Vec<&[u8]>> = (1..=parts).map(part).collect();
    Some(all?.concat())
}

fn removed(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(BackendError::DeadHandle) => Ok(()),
        outcome => outcome,
    }
}

impl<S: Shelf> ShelfLedger<S> {
    pub fn new(shelf: S) -> Self {
        Self {
            shelf,
            turn: Mutex::default(),
        }
    }

    fn pile(&self, name: &str) -> Result<Pile> {
        Ok(Pile::of(self.shelf.items(Some(name))?))
    }

    /// Adds, where `follows` says of the highest generation that this one may come after it.
    fn put(
        &self,
        name: &str,
        generation: u64,
        bytes: &[u8],
        follows: impl FnOnce(u64) -> bool,
    ) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shelf.items(Some(name))?;
        let standing = Pile::of(before.clone());
        if standing.is(generation, bytes) {
            return Ok(());
        }
        if generation == 0 || !follows(standing.generation) {
            return Err(BackendError::Superseded);
        }
        let digest = digest(bytes);
        let parts = bytes.len().div_ceil(MOST).max(1);
        for part in 1..=parts {
            let mark = Mark {
                generation,
                digest: digest.clone(),
                part,
                parts,
            };
            let from = (part - 1) * MOST;
            let value = &bytes[from..bytes.len().min(from + MOST)];
            self.shelf.add(name, &mark.label(), value)?;
        }
        // What was there before is what it follows, whatever that says. By all that it is: a module may give a removed object's handle to another one.
        let now = self.shelf.items(Some(name))?;
        let (old, since) = now
            .into_iter()
            .partition::<Vec<_>, _>(|item| before.contains(item));
        let since = Pile::of(since);
        if !since.is(generation, bytes) {
            return Err(BackendError::Superseded);
        }
        let old = old.into_iter().map(|item| item.handle);
        for handle in old.chain(since.others) {
            // It is written; what cannot be removed now is removed after the next one.
            if let Err(error) = removed(self.shelf.remove(handle)) {
                tracing::warn!(name, %error, "a record that was followed by another stays until the next write");
            }
        }
        Ok(())
    }

    fn drop_all(&self, name: &str, generation: Option<u64>) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pile = self.pile(name)?;
        if pile.highest.is_empty() && pile.others.is_empty() {
            return Ok(());
        }
        if generation.is_some_and(|it| pile.generation != it) {
            return Err(BackendError::Superseded);
        }
        // The highest goes last: until then it is what counts.
        let mut all = pile.others.into_iter().chain(pile.handles);
        all.try_for_each(|handle| removed(self.shelf.remove(handle)))
    }

    /// What is remembered under a name beside the records. Where it disagrees nothing is.
    pub fn noted(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.pile(name)?.note(name)
    }

    /// Remembers, instead of what was there before.
    pub fn note(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let now = self.pile(name)?.generation;
        self.put(name, now + 1, bytes, |standing| standing == now)
    }

    /// Forgets what was noted.
    pub fn unnote(&self, name: &str) -> Result<()> {
        self.drop_all(name, None)
    }

    /// All notes whose name begins so: the rest of the name, and what is noted. None, where one of them disagrees.
    pub fn notes(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let piles = self.piles(beginning)?.into_iter();
        let one = |(rest, pile): (String, Pile)| {
            let note = pile.note(&format!("{beginning}{rest}")).transpose()?;
            Some(note.map(|bytes| (rest, bytes)))
        };
        piles.filter_map(one).collect()
    }

    fn piles(&self, beginning: &str) -> Result<BTreeMap<String, Pile>> {
        let mut of: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in self.shelf.items(None)? {
            if let Some(rest) = item.name.strip_prefix(beginning) {
                of.entry(rest.to_owned()).or_default().push(item);
            }
        }
        let piled = of.into_iter().map(|(rest, items)| (rest, Pile::of(items)));
        Ok(piled.collect())
    }
}

impl<S: Shelf> Ledger for ShelfLedger<S> {
    fn records(&self) -> Result<Vec<Stored>> {
        let piles = self.piles(RECORD)?;
        Ok(piles
            .iter()
            .flat_map(|(id, pile)| pile.stored(id))
            .collect())
    }

    fn read(&self, id: &str) -> Result<Vec<Stored>> {
        Ok(self.pile(&format!("{RECORD}{id}"))?.stored(id))
    }

    fn write(&self, new: &Stored) -> Result<()> {
        let follows = |standing| standing + 1 == new.generation;
        let name = format!("{RECORD}{}", new.id);
        self.put(&name, new.generation, &new.bytes, follows)
    }

    fn restore(&self, lost: &Stored) -> Result<()> {
        let name = format!("{RECORD}{}", lost.id);
        self.put(&name, lost.generation, &lost.bytes, |standing| {
            standing == 0
        })
    }

    fn forget(&self, id: &str, generation: u64) -> Result<()> {
        self.drop_all(&format!("{RECORD}{id}"), Some(generation))
    }

    fn revision(&self) -> Result<u64> {
        Ok(self.pile(SEEN)?.generation)
    }

    fn note_revision(&self, revision: u64) -> Result<()> {
        match self.put(SEEN, revision, b"", |standing| standing < revision) {
            // A higher one stands: that is what was asked for.
            Err(BackendError::Superseded) => Ok(()),
            noted => noted,
        }
    }
}

#[cfg(test)]
mod tests;
