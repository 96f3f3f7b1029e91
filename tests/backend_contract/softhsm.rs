//! SoftHSM, the second module: any vendor's is driven in the same way. Where Debian's `softhsm2` is not installed the test says so
//! and passes, unless MHSM_REQUIRE_SOFTHSM is set.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cryptoki::context::Pkcs11;
use managed_hsm_operator::backend::{
    Access, Algorithm, Assurance, BackendError, Depth, HsmBackend, Mark, Stored, Use,
    pkcs11::{Module, OpenError, PinError, PinPaths, external},
};

use crate::contract::{live_key, look, new_id, new_label, public, reference, turn};
use crate::softhsm_module::{Folder, library, provision};
use crate::states::{Beside, answers_are_the_references};

fn config(folder: &Path, library: &Path) -> external::Config {
    external::Config {
        library: library.to_owned(),
        data_dir: folder.join("data"),
        pins: PinPaths::in_folder(&folder.join("pins")),
        one_at_a_time: true,
        ledger: "records".to_owned(),
        scratch: "scratch".to_owned(),
        tokens: None,
        max_keys: 1000,
    }
}

/// Plays a role in a process of its own; what it said.
fn play(role: &str, without: &str, library: &Path) -> String {
    let folder = Folder::default();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "softhsm::child", "--nocapture"])
        .env("SOFTHSM2_CONF", folder.configuration())
        .env("SOFTHSM_FOLDER", folder.path())
        .env("SOFTHSM_ROLE", role)
        .env("SHIM_MODULE", library)
        .env("SHIM_WITHOUT", without)
        .env("SHIM", folder.shim())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    said
}

/// The other side of the tests below. Without a folder it shows that a module's PINs are never made up.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("SOFTHSM_FOLDER").map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        let opened = external::open(&config(folder.path(), Path::new("/nowhere.so")));
        let error = opened.err().unwrap();
        assert!(matches!(error, OpenError::Pins(PinError::Missing(_))));
        return;
    };
    let library = library().unwrap();
    match std::env::var("SOFTHSM_ROLE").unwrap().as_str() {
        "contract" => contract(&folder, &library),
        "weak" => weak(&folder, &library),
        "opening" => opening(&folder, &library),
        "silent" => silent(&folder, &library),
        other => panic!("no such role: {other}"),
    }
}

fn contract(folder: &Path, library: &Path) {
    let module = external::open(&config(folder, library)).unwrap();
    assert_eq!(module.assurance(), Some(Assurance::FULL));
    for (name, test) in crate::CONTRACT {
        println!("{name}");
        test(&module);
    }
    let pins = folder.join("pins");
    let beside = Beside::new(Pkcs11::new(library).unwrap(), &pins);
    answers_are_the_references(&module, &beside);
    damaged_records_hold(&module, &beside);
    println!("{} tests held", crate::CONTRACT.len());
}

/// What somebody does to the ledger's objects is never passed over: the id holds, the others go on, and what a person accepts follows.
fn damaged_records_hold(module: &Module, beside: &Beside) {
    let record = |generation, bytes: &[u8]| Stored {
        id: new_id().to_string(),
        generation,
        bytes: bytes.to_vec(),
    };
    let other = record(1, b"another's");
    module.write(&other).unwrap();
    for (label, value) in [
        ("2 0011223344556677 1/1", b"flipped".as_slice()),
        ("rubbish", b"rubbish"),
    ] {
        let sound = record(1, b"sound");
        module.write(&sound).unwrap();
        beside.adds_data(
            "records",
            &format!("managedhsm.dev/record/{}", sound.id),
            label,
            value,
        );
        let found = module.read(&sound.id).unwrap();
        let no_record = |it: &Stored| it.bytes.is_empty();
        assert!(found.iter().any(no_record), "{label}: {found:?}");
        let listed = module.records().unwrap();
        let of_it = listed.iter().filter(|it| it.id == sound.id).cloned();
        assert_eq!(of_it.collect::<Vec<_>>(), found);
        assert!(listed.contains(&other), "the others go on");
        let accepted = Stored {
            generation: found[0].generation + 1,
            ..sound
        };
        module.write(&accepted).unwrap();
        assert_eq!(module.read(&accepted.id), Ok(vec![accepted]));
    }
}

#[test]
fn softhsm_keeps_the_whole_contract() {
    let Some(library) = library() else { return };
    let said = play("contract", "", &library);
    let all = format!("{} tests held", crate::CONTRACT.len());
    assert!(said.contains(&all), "{said}");
}

fn sign() -> Use {
    Use::Sign {
        digest: vec![7; 32],
    }
}

/// A module that makes no tokens: two of them were provisioned. What it cannot seal by itself we refuse, also after a restart.
fn weak(folder: &Path, library: &Path) {
    provision(library, &["records", "scratch", "hsm-1", "hsm 2"]);
    let shim = PathBuf::from(std::env::var_os("SHIM").unwrap());
    let config = external::Config {
        tokens: Some(vec!["hsm-1".to_owned(), "hsm 2".to_owned()]),
        ..config(folder, &shim)
    };
    let module = external::open(&config).unwrap();
    println!("tried {:?}", module.assurance().unwrap());

    let label = new_label();
    assert_eq!(module.token(&label), Ok(None));
    let first = module.create_token(&label).unwrap();
    assert_eq!(module.create_token(&label), Ok(first.clone()));
    let second = module.create_token(&new_label()).unwrap();
    assert_ne!(first.serial, second.serial);
    let third = module.create_token(&new_label());
    assert!(matches!(third, Err(BackendError::Full(_))), "{third:?}");
    assert_eq!(module.tokens().map(|it| it.len()), Ok(2));

    let token = reference(first);
    let id = live_key(&module, &token, Algorithm::P256);
    let key = public(&look(&module, &token, id, Depth::Proof));
    seal_and_unseal(&module, &token, id);

    module.seal_token(&token).unwrap();
    drop(module);
    let module = external::open(&config).unwrap();
    let access = |module: &Module| module.token(&label).unwrap().unwrap().access;
    assert_eq!(access(&module), Access::Refused);
    let refused = module.use_key(&token, id, &sign());
    assert_eq!(refused, Err(BackendError::Sealed));
    assert_eq!(module.inventory(&token), Err(BackendError::Sealed));
    module.unseal_token(&token).unwrap();
    assert_eq!(access(&module), Access::Open);
    let signature = module.use_key(&token, id, &sign()).unwrap();
    assert!(key.verifies(&[7; 32], &signature));

    module.seal_token(&token).unwrap();
    module.open_for_destruction(&token).unwrap();
    for object in module.inventory(&token).unwrap() {
        module.destroy(&token, object.handle).unwrap();
    }
    module.release_token(&token).unwrap();
    assert_eq!(module.token(&label), Ok(None));
    let again = module.create_token(&new_label()).unwrap();
    assert_eq!(again.serial, token.serial, "the slot is free again");
    assert_eq!(again.access, Access::Open);
    println!("it held");
}

fn seal_and_unseal(
    module: &Module,
    token: &managed_hsm_operator::backend::TokenRef,
    id: managed_hsm_operator::backend::MaterialId,
) {
    let weak = !module.assurance().unwrap().seals_keys;
    // It was used before, so that its handle is known.
    assert!(module.use_key(token, id, &sign()).is_ok());
    let before = look(module, token, id, Depth::Proof);
    if weak {
        for object in &before {
            let copy = module.copy(token, object.handle, Mark::Deleted);
            assert_eq!(copy, Ok(object.handle), "relabelled in place");
        }
    } else {
        turn(module, token, id, Mark::Deleted);
    }
    let sealed = look(module, token, id, Depth::Proof);
    assert_eq!(sealed.len(), before.len());
    for object in &sealed {
        assert_eq!((object.mark, object.usable), (Mark::Deleted, Some(false)));
        assert!(object.proved.is_some() && object.proved == before[0].proved);
    }
    let refused = module.use_key(token, id, &sign());
    assert_eq!(refused, Err(BackendError::Refused));
    if weak {
        for object in &sealed {
            module.copy(token, object.handle, Mark::Live).unwrap();
        }
    } else {
        turn(module, token, id, Mark::Live);
    }
    let after = look(module, token, id, Depth::Proof);
    for object in &after {
        assert_eq!((object.mark, object.usable), (Mark::Live, Some(true)));
        assert_eq!(object.proved, before[0].proved);
    }
}

#[test]
fn what_a_module_cannot_seal_is_tried_and_refused_by_us() {
    let Some(library) = library() else { return };
    for (without, seals_keys, seals_hsms) in [
        ("InitToken", true, true),
        ("InitToken InitPIN", true, false),
        ("InitToken CopyObject", false, true),
        // One that says yes and goes on signing.
        ("InitToken InitPIN flags", false, false),
    ] {
        let said = play("weak", without, &library);
        let tried = Assurance {
            seals_keys,
            seals_hsms,
        };
        let tried = format!("tried {tried:?}");
        assert!(said.contains(&tried), "without {without}: {said}");
        assert!(said.contains("it held"), "without {without}: {said}");
    }
}

/// One slot does not answer: the tokens that do are used as ever, and of one that is not found nobody says that it is not there.
fn silent(folder: &Path, library: &Path) {
    let shim = PathBuf::from(std::env::var_os("SHIM").unwrap());
    let module = external::open(&config(folder, &shim)).unwrap();
    let token = reference(module.create_token(&new_label()).unwrap());
    let id = live_key(&module, &token, Algorithm::P256);
    provision(library, &["silent one"]);
    assert!(module.use_key(&token, id, &sign()).is_ok());
    module.seal_token(&token).unwrap();
    module.unseal_token(&token).unwrap();
    assert!(module.use_key(&token, id, &sign()).is_ok());
    assert_eq!(module.tokens(), Ok(vec![token.label]));
    let unknown = module.token(&new_label());
    assert!(
        matches!(unknown, Err(BackendError::Unavailable(_))),
        "{unknown:?}"
    );
    println!("the others go on");
}

#[test]
fn a_slot_that_does_not_answer_hinders_no_other() {
    let Some(library) = library() else { return };
    let said = play("silent", "silent", &library);
    assert!(said.contains("the others go on"), "{said}");
}

/// What keeps a module shut, each with its sentence.
fn opening(folder: &Path, library: &Path) {
    let good = config(folder, library);
    let refused = |config: &external::Config| {
        let error = external::open(config).err().expect("it does not open");
        (error.is_final(), error.to_string())
    };
    // Nothing may be made: what is named must be there.
    let provisioned = external::Config {
        tokens: Some(Vec::new()),
        ..good.clone()
    };
    let (is_final, said) = refused(&provisioned);
    assert!(
        !is_final && said.contains("no token labelled records"),
        "{said}"
    );
    let nowhere = external::Config {
        library: "/nowhere.so".into(),
        ..good.clone()
    };
    let (is_final, said) = refused(&nowhere);
    assert!(
        !is_final && said.starts_with("the PKCS#11 module cannot be used (unavailable"),
        "{said}"
    );

    let module = external::open(&good).unwrap();
    let facts = module.create_token(&new_label()).unwrap();
    assert_eq!(facts.access, Access::Open);
    let (is_final, said) = refused(&good);
    assert!(
        !is_final && said.contains("in use by another process"),
        "{said}"
    );
    drop(module);

    // Beside tokens of ours a new ledger would know none of them.
    let other = external::Config {
        ledger: "others".to_owned(),
        ..good.clone()
    };
    let (is_final, said) = refused(&other);
    assert!(
        !is_final && said.contains("bring that very token back"),
        "{said}"
    );

    // What is tried on a token could destroy what is in it.
    let scratch = external::Config {
        scratch: "busy".to_owned(),
        ..good.clone()
    };
    let module = external::open(&good).unwrap();
    let busy = managed_hsm_operator::backend::TokenLabel("busy".to_owned());
    let busy = reference(module.create_token(&busy).unwrap());
    let id = live_key(&module, &busy, Algorithm::Aes128);
    drop(module);
    let (is_final, said) = refused(&scratch);
    assert!(!is_final && said.contains("name an empty one"), "{said}");
    let module = external::open(&good).unwrap();
    assert_eq!(look(&module, &busy, id, Depth::Proof).len(), 1);
    drop(module);

    // Of a wrong PIN each try counts.
    std::fs::write(folder.join("pins/user-pin"), "a quite different one").unwrap();
    std::fs::write(folder.join("pins/so-pin"), "a quite different one").unwrap();
    let (is_final, said) = refused(&good);
    assert!(is_final && said.contains("PIN"), "{said}");
    println!("all said");
}

#[test]
fn a_module_that_does_not_open_says_why_and_what_to_do() {
    let Some(library) = library() else { return };
    let said = play("opening", "", &library);
    assert!(said.contains("all said"), "{said}");
}
