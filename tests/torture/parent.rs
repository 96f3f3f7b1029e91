//! The one that kills, and keeps the account of what was acknowledged.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use rand::Rng;

use crate::keys::{ACTS, Act, Key, Told, World};
use crate::softhsm::Folder;

/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// One in so many is killed while it opens the store.
const EARLY: u32 = 8;

/// What was killed, and what it cost.
#[derive(Debug, Default)]
pub struct Tally {
    /// By what was under way; None: nothing, or the opening.
    struck: BTreeMap<Option<Act>, usize>,
    losses: BTreeMap<Option<Act>, Vec<String>>,
}

impl Tally {
    pub fn kills(&self) -> usize {
        self.struck.values().sum()
    }

    pub fn under_way(&self) -> usize {
        let acts = self.struck.iter().filter(|(act, _)| act.is_some());
        acts.map(|(_, count)| count).sum()
    }

    pub fn lost(&self) -> Vec<&String> {
        self.losses.values().flatten().collect()
    }

    /// For the documentation.
    pub fn table(&self, module: &str) -> String {
        let named = ACTS.map(|(act, name)| (Some(act), name));
        let rows = named.into_iter().chain([(None, "opening, or between two")]);
        let mut table = format!("| killed in | kills | {module}: lost |\n|---|---|---|\n");
        for (act, name) in rows {
            let kills = self.struck.get(&act).copied().unwrap_or(0);
            let losses = self.losses.get(&act).map_or(0, Vec::len);
            table += &format!("| {name} | {kills} | {losses} |\n");
        }
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for lost in self.lost() {
            let kind = lost.split(':').next().unwrap_or_default();
            *kinds.entry(kind).or_default() += 1;
        }
        table + &format!("all: {} kills, lost {kinds:?}\n", self.kills())
    }
}

pub fn torture(module: &str, kills: usize) -> Tally {
    let mut tally = Tally::default();
    let mut store = Store::new(module);
    let mut last = None;
    while tally.kills() < kills {
        let mut run = store.start(module);
        match run.kill(&mut store.world) {
            Ok(()) => {
                last = store.world.keys.iter().find_map(|key| key.under_way);
                *tally.struck.entry(last).or_default() += 1;
            }
            Err(lost) => {
                eprintln!("{module}, after {} kills: {lost}", tally.kills());
                tally.losses.entry(last).or_default().push(lost);
                store = Store::new(module);
            }
        }
    }
    // What the last kill left is to be found too.
    let mut run = store.start(module);
    if let Err(lost) = run.until_working(&mut store.world) {
        tally.losses.entry(last).or_default().push(lost);
    }
    tally
}

struct Store {
    folder: Folder,
    world: World,
}

impl Store {
    fn new(module: &str) -> Self {
        let mut store = Self {
            folder: Folder::default(),
            world: World::default(),
        };
        // A store that was never whole is no store to lose anything of.
        store
            .start(module)
            .until_working(&mut store.world)
            .expect("a new store opens");
        store
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, module: &str) -> Run {
        let world = serde_json::to_vec(&self.world).unwrap();
        fs::write(self.path().join("world"), world).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("TORTURE_FOLDER", self.path())
            .env("TORTURE_MODULE", module)
            .env("SOFTHSM2_CONF", self.folder.configuration())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tells, told) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let told = line.strip_prefix("told ");
                // The last line of one that is killed may be torn: it was not told.
                if let Some(Ok(told)) = told.map(serde_json::from_str) {
                    _ = tells.send(told);
                }
            }
        });
        Run { child, told }
    }
}

struct Run {
    child: Child,
    told: Receiver<Told>,
}

impl Drop for Run {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Run {
    fn kill(&mut self, world: &mut World) -> Result<(), String> {
        let mut random = rand::rng();
        if random.random_ratio(1, EARLY) {
            std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
        } else {
            self.until_working(world)?;
            std::thread::sleep(Duration::from_micros(random.random_range(0..100_000)));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Ok(told) = self.told.recv() {
            take(world, told)?;
        }
        Ok(())
    }

    fn until_working(&mut self, world: &mut World) -> Result<(), String> {
        loop {
            match self.told.recv_timeout(PATIENCE) {
                Ok(Told::Working) => return Ok(()),
                Ok(told) => take(world, told)?,
                Err(error) => return Err(format!("start refused: it said no more ({error})")),
            }
        }
    }
}

fn take(world: &mut World, told: Told) -> Result<(), String> {
    let place = |keys: &[Key], id: &str| keys.iter().position(|it| it.id == id);
    match told {
        Told::Working => {}
        Told::Lost(lost) => return Err(lost),
        Told::Token(label, serial) => world.tokens.push((label, serial)),
        Told::Forgotten(id) => world.keys.retain(|it| it.id != id),
        Told::Key(key) => match place(&world.keys, &key.id) {
            Some(place) => world.keys[place] = key,
            None => world.keys.push(key),
        },
    }
    Ok(())
}
