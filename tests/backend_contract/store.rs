//! What only a store on disk can show: a restart, a second process, a torn file, wrong PINs. kryoptic's state is its
//! process's, so each of these runs in child processes: this very executable, with a role to play.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use managed_hsm_operator::backend::{
    Access, Algorithm, BackendError, Depth, HsmBackend, Mark, MaterialId, Stored, TokenLabel,
    TokenRef, Use,
    memory::MemoryBackend,
    pkcs11::{Module, OpenError, SO_PIN_FILE, USER_PIN_FILE, embedded},
};

use crate::contract::{live_key, look, new_id, new_label, public, reference, turn};

/// The store of this process, for the tests of the contract: each has tokens of its own.
pub fn shared() -> &'static Module {
    shared_with_pins().0
}

/// And the folder of its PINs.
pub fn shared_with_pins() -> (&'static Module, &'static Path) {
    static STORE: OnceLock<(Module, PathBuf)> = OnceLock::new();
    let (store, pins) = STORE.get_or_init(|| {
        // Left to the system's cleaning: the store is in use until the process ends.
        let folder = tempfile::tempdir().unwrap().keep();
        (open(&folder, &[]).unwrap(), folder.join("pins"))
    });
    (store, pins)
}

fn config(folder: &Path) -> embedded::Config {
    embedded::Config::new(folder.join("data"), &folder.join("pins"))
}

pub fn open(folder: &Path, keep: &[TokenLabel]) -> Result<Module, OpenError> {
    let keep: BTreeSet<_> = keep.iter().cloned().collect();
    embedded::open(&config(folder), |_| Ok(keep))
}

/// Plays a role in a process of its own, over one folder.
pub fn play(role: &str, folder: &Path, argument: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::child", "--nocapture"])
        .env("BACKEND_ROLE", role)
        .env("BACKEND_FOLDER", folder)
        .env("BACKEND_ARGUMENT", argument)
        .output()
        .unwrap()
}

/// What it said; it must have ended well.
pub fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let said = text
        .split("said<")
        .nth(1)
        .and_then(|it| it.split(">said").next());
    said.unwrap_or_else(|| panic!("it said nothing: {text}{errors}"))
        .to_owned()
}

/// Not a test of its own: the other side of `play`. Without a role it shows that none is played by accident.
#[test]
fn child() {
    let Ok(role) = std::env::var("BACKEND_ROLE") else {
        assert!(std::env::var_os("BACKEND_FOLDER").is_none());
        return;
    };
    let folder = std::env::var("BACKEND_FOLDER").unwrap();
    let argument = std::env::var("BACKEND_ARGUMENT").unwrap();
    let say = match role.as_str() {
        "make" => make(Path::new(&folder)),
        "find" => find(Path::new(&folder), &argument),
        "refused" => open(Path::new(&folder), &[]).err().unwrap().to_string(),
        "wrong pin" => wrong_pin(Path::new(&folder), &argument),
        "full" => full(Path::new(&folder)),
        "keeping" => keeping(Path::new(&folder), &argument),
        "killed" => killed(Path::new(&folder)),
        "half made" => half_made(Path::new(&folder), &argument),
        #[cfg(target_os = "linux")]
        "hardened" => hardened(),
        "under load" => crate::backups::under_load(Path::new(&folder)),
        "large" => large(Path::new(&folder)),
        "unsaid" => embedded::open(&config(Path::new(&folder)), |_| {
            Err("a newer encoding".to_owned())
        })
        .err()
        .unwrap()
        .to_string(),
        other => panic!("no such role: {other}"),
    };
    println!("said<{say}>said");
}

/// A token with a live and a sealed key, a sealed token, and a record. Says how to find them.
fn make(folder: &Path) -> String {
    let backend = open(folder, &[]).unwrap();
    let token = reference(backend.create_token(&new_label()).unwrap());
    let live = live_key(&backend, &token, Algorithm::P256);
    let sealed = live_key(&backend, &token, Algorithm::Aes256);
    let thumbprint = public(&look(&backend, &token, live, Depth::Labels)).fingerprint();
    let value = look(&backend, &token, sealed, Depth::Proof)[0]
        .proved
        .clone()
        .unwrap();
    turn(&backend, &token, sealed, Mark::Deleted);
    let shut = reference(backend.create_token(&new_label()).unwrap());
    backend.seal_token(&shut).unwrap();
    let record = Stored {
        id: new_id().to_string(),
        generation: 1,
        bytes: b"record".to_vec(),
    };
    backend.write(&record).unwrap();
    [
        token.label.0,
        token.serial,
        live.to_string(),
        thumbprint.to_string(),
        sealed.to_string(),
        value.to_string(),
        shut.label.0,
        shut.serial,
        record.id,
    ]
    .join(" ")
}

fn find(folder: &Path, made: &str) -> String {
    let words: Vec<&str> = made.split(' ').collect();
    let [
        label,
        serial,
        live,
        thumbprint,
        sealed,
        value,
        shut,
        shut_serial,
        record,
    ] = words[..]
    else {
        panic!("nine words: {made}");
    };
    let token = |label: &str, serial: &str| TokenRef {
        label: TokenLabel(label.to_owned()),
        serial: serial.to_owned(),
    };
    let backend = open(folder, &[TokenLabel(label.to_owned())]).unwrap();
    let (open, shut) = (token(label, serial), token(shut, shut_serial));
    let (live, sealed): (MaterialId, MaterialId) = (live.parse().unwrap(), sealed.parse().unwrap());
    for object in look(&backend, &open, live, Depth::Proof) {
        assert_eq!((object.mark, object.usable), (Mark::Live, Some(true)));
        assert_eq!(object.proved.unwrap().to_string(), thumbprint);
    }
    let objects = look(&backend, &open, sealed, Depth::Proof);
    assert_eq!(
        (objects.len(), objects[0].mark, objects[0].usable),
        (1, Mark::Deleted, Some(false))
    );
    assert_eq!(objects[0].proved.as_ref().unwrap().to_string(), value);
    assert_eq!(
        backend.token(&shut.label).unwrap().unwrap().access,
        Access::Refused
    );
    backend.unseal_token(&shut).unwrap();
    assert_eq!(
        backend.token(&shut.label).unwrap().unwrap().access,
        Access::Open
    );
    assert_eq!(backend.read(record).unwrap()[0].bytes, b"record");
    "all".to_owned()
}

#[test]
fn a_restart_finds_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    assert_eq!(said(&play("find", folder.path(), &made)), "all");
}

#[test]
fn a_second_process_is_refused_and_told_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    said(&play("make", folder.path(), ""));
    let lock = fs::File::open(folder.path().join("data/lock")).unwrap();
    lock.try_lock().unwrap();
    let refused = said(&play("refused", folder.path(), ""));
    assert!(refused.contains("in use by another process"), "{refused}");
    assert!(
        refused.contains(&folder.path().join("data").display().to_string()),
        "{refused}"
    );
}

#[test]
fn one_process_opens_one_embedded_store() {
    shared();
    let folder = tempfile::tempdir().unwrap();
    let second = open(folder.path(), &[]).err().unwrap();
    assert!(matches!(second, OpenError::SecondStore), "{second}");
}

#[test]
fn missing_pins_are_never_made_anew_beside_tokens() {
    let folder = tempfile::tempdir().unwrap();
    said(&play("make", folder.path(), ""));
    fs::remove_file(folder.path().join("pins").join(USER_PIN_FILE)).unwrap();
    let refused = said(&play("refused", folder.path(), ""));
    assert!(
        refused.contains(USER_PIN_FILE) && refused.contains("backup"),
        "{refused}"
    );
}

/// Says what the tokens answer when both PINs are others.
fn wrong_pin(folder: &Path, made: &str) -> String {
    let words: Vec<&str> = made.split(' ').collect();
    let token = TokenRef {
        label: TokenLabel(words[0].to_owned()),
        serial: words[1].to_owned(),
    };
    let backend = open(folder, &[]).unwrap();
    assert_eq!(
        backend.token(&token.label).unwrap().unwrap().access,
        Access::Refused
    );
    let id: MaterialId = words[2].parse().unwrap();
    let sign = Use::Sign {
        digest: vec![1; 32],
    };
    assert_eq!(
        backend.use_key(&token, id, &sign),
        Err(BackendError::Sealed)
    );
    // However often it is asked for, the SO PIN is tried once: ten would lock the token for ever.
    for _ in 0..20 {
        assert!(matches!(
            backend.unseal_token(&token),
            Err(BackendError::Pin(_))
        ));
        assert!(matches!(
            backend.seal_token(&token),
            Err(BackendError::Pin(_))
        ));
    }
    "refused".to_owned()
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_right_one_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    let pins = folder.path().join("pins");
    let right = [SO_PIN_FILE, USER_PIN_FILE].map(|it| (it, fs::read(pins.join(it)).unwrap()));
    for (name, _) in &right {
        fs::write(pins.join(name), "quite another one").unwrap();
    }
    assert_eq!(said(&play("wrong pin", folder.path(), &made)), "refused");
    for (name, pin) in right {
        fs::write(pins.join(name), pin).unwrap();
    }
    assert_eq!(said(&play("find", folder.path(), &made)), "all");
}

fn full(folder: &Path) -> String {
    let config = embedded::Config {
        max_tokens: 1,
        max_keys: 2,
        ..config(folder)
    };
    let backend = embedded::open(&config, |_| Ok(BTreeSet::new())).unwrap();
    let token = reference(backend.create_token(&new_label()).unwrap());
    let refused = backend.create_token(&new_label());
    assert!(matches!(refused, Err(BackendError::Full(_))), "{refused:?}");
    for _ in 0..2 {
        live_key(&backend, &token, Algorithm::P256);
    }
    let refused = backend.generate(&token, new_id(), Algorithm::P256);
    assert!(matches!(refused, Err(BackendError::Full(_))), "{refused:?}");
    for object in backend.inventory(&token).unwrap() {
        backend.destroy(&token, object.handle).unwrap();
    }
    backend.release_token(&token).unwrap();
    backend.create_token(&new_label()).unwrap();
    "full".to_owned()
}

#[test]
fn a_full_store_says_so_and_a_released_slot_is_free_again() {
    let memory = MemoryBackend::with([1; 32], 1);
    memory.create_token(&new_label()).unwrap();
    assert!(matches!(
        memory.create_token(&new_label()),
        Err(BackendError::Full(_))
    ));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(&play("full", folder.path(), "")), "full");
}

/// Opens with one label to keep, and says what that token answers.
fn keeping(folder: &Path, label: &str) -> String {
    let label = TokenLabel(label.to_owned());
    let backend = open(folder, std::slice::from_ref(&label)).unwrap();
    let others = backend.create_token(&new_label()).unwrap();
    assert_eq!(others.access, Access::Open);
    match backend.token(&label) {
        Ok(None) => "none".to_owned(),
        Err(BackendError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_torn_slot_file_is_moved_aside_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    let slots = folder.path().join("data/slots");
    let torn = slots.join(format!("{}.sqlite3", new_label().0));
    fs::write(&torn, "").unwrap();
    fs::write(slots.join("rubbish.sqlite3"), [7; 9000]).unwrap();
    assert_eq!(said(&play("find", folder.path(), &made)), "all");
    assert!(!torn.exists());
    assert_eq!(
        fs::read_dir(folder.path().join("data/torn"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn a_damaged_token_that_a_record_names_stays_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    let label = made.split(' ').next().unwrap();
    let file = folder.path().join(format!("data/slots/{label}.sqlite3"));
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let answer = said(&play("keeping", folder.path(), label));
    assert!(answer.contains("backup"), "{answer}");
    assert!(file.exists());
    // Put back, it is as it was.
    fs::write(&file, whole).unwrap();
    assert_eq!(said(&play("find", folder.path(), &made)), "all");
}

#[test]
fn records_that_nobody_can_read_keep_the_store_shut() {
    let folder = tempfile::tempdir().unwrap();
    let torn = folder.path().join("data/slots/a.sqlite3");
    fs::create_dir_all(torn.parent().unwrap()).unwrap();
    fs::write(&torn, "").unwrap();
    let refused = said(&play("unsaid", folder.path(), ""));
    assert!(refused.contains("a newer encoding"), "{refused}");
    assert!(torn.exists());
}

/// Makes tokens and keys until it is killed.
fn killed(folder: &Path) -> String {
    let backend = open(folder, &[]).unwrap();
    loop {
        let token = reference(backend.create_token(&new_label()).unwrap());
        let id = live_key(&backend, &token, Algorithm::P256);
        turn(&backend, &token, id, Mark::Deleted);
        backend.seal_token(&token).unwrap();
    }
}

#[test]
fn a_store_opens_after_any_kill_and_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::child", "--nocapture"])
            .env("BACKEND_ROLE", "killed")
            .env("BACKEND_FOLDER", folder.path())
            .env("BACKEND_ARGUMENT", "")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(said(&play("find", folder.path(), &made)), "all");
}

/// The sizes that take seconds to make.
fn large(folder: &Path) -> String {
    let backend = open(folder, &[]).unwrap();
    let token = reference(backend.create_token(&new_label()).unwrap());
    for algorithm in [Algorithm::Rsa3072, Algorithm::Rsa4096] {
        let id = live_key(&backend, &token, algorithm);
        let before = public(&look(&backend, &token, id, Depth::Labels));
        turn(&backend, &token, id, Mark::Deleted);
        let sealed = look(&backend, &token, id, Depth::Proof);
        assert!(
            sealed
                .iter()
                .all(|it| it.proved == Some(before.fingerprint()) && it.usable == Some(false))
        );
        turn(&backend, &token, id, Mark::Live);
        for length in [32, 48, 64] {
            let digest = vec![3; length];
            let signature = backend
                .use_key(
                    &token,
                    id,
                    &Use::Sign {
                        digest: digest.clone(),
                    },
                )
                .unwrap();
            assert!(
                before.verifies(&digest, &signature),
                "{algorithm:?} over {length} bytes"
            );
        }
    }
    "same".to_owned()
}

#[test]
fn large_rsa_keys_come_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(said(&play("large", folder.path(), "")), "same");
}

/// A token whose maker died between C_InitToken and C_InitPIN.
fn half_made(folder: &Path, made: &str) -> String {
    let words: Vec<&str> = made.split(' ').collect();
    let (open_label, shut_label) = (
        TokenLabel(words[0].to_owned()),
        TokenLabel(words[6].to_owned()),
    );
    let file = folder.join(format!("data/slots/{}.sqlite3", open_label.0));
    let connection = rusqlite::Connection::open(file).unwrap();
    let removed = connection.execute("DELETE FROM meta WHERE value = 'USER'", []);
    assert!(removed.unwrap() > 0);
    drop(connection);
    let backend = open(folder, &[]).unwrap();
    let access = |label: &TokenLabel| backend.token(label).unwrap().unwrap().access;
    assert_eq!(access(&open_label), Access::Refused);
    let finished = backend.create_token(&open_label).unwrap();
    assert_eq!(
        (finished.access, finished.serial.as_str()),
        (Access::Open, words[1])
    );
    // A sealed one is none of these: asking for it opens nothing.
    assert_eq!(
        backend.create_token(&shut_label).unwrap().access,
        Access::Refused
    );
    "finished".to_owned()
}

#[test]
fn a_token_that_was_half_made_is_finished_by_whoever_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = said(&play("make", folder.path(), ""));
    assert_eq!(said(&play("half made", folder.path(), &made)), "finished");
}

/// What the kernel says of a hardened process.
#[cfg(target_os = "linux")]
fn hardened() -> String {
    let limit = || {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|it| it.starts_with("Max core file"));
        core.unwrap()
            .split_whitespace()
            .skip(4)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    managed_hsm_operator::backend::pkcs11::harden().unwrap();
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    format!("{} {dumpable:?}", limit())
}

#[cfg(target_os = "linux")]
#[test]
fn a_hardened_process_leaves_no_core_dump() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        said(&play("hardened", folder.path(), "")),
        "0 0 NotDumpable"
    );
}
