//! SoftHSM, the second module, and a module that can do less: a shim around it. Its configuration is an environment variable, so whoever uses it is
//! a process of its own.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    session::UserType,
    types::AuthPin,
};

pub const SO_PIN: &str = "the SO's own PIN";
pub const USER_PIN: &str = "the user's own PIN";

/// None: Debian's `softhsm2` is not installed. Where MHSM_REQUIRE_SOFTHSM is set that is a failure.
pub fn library() -> Option<PathBuf> {
    let usual = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let found = usual.map(PathBuf::from).into_iter().find(|it| it.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("MHSM_REQUIRE_SOFTHSM").is_none(),
            "SoftHSM is not installed"
        );
        println!("skipped: SoftHSM is not installed (make says how)");
    }
    found
}

/// A folder with an empty SoftHSM and the two PIN files.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir(folder.path().join("tokens")).expect("a folder");
        let text = format!(
            "directories.tokendir = {}/tokens\n",
            folder.path().display()
        );
        fs::write(folder.configuration(), text).expect("written");
        let pins = folder.pins();
        fs::create_dir(&pins).expect("a folder");
        fs::write(pins.join("so-pin"), SO_PIN).expect("written");
        fs::write(pins.join("user-pin"), USER_PIN).expect("written");
        folder
    }
}

impl Folder {
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn pins(&self) -> PathBuf {
        self.path().join("pins")
    }

    /// For SOFTHSM2_CONF.
    pub fn configuration(&self) -> PathBuf {
        self.path().join("softhsm2.conf")
    }

    /// The shim's library; what it lacks is said by SHIM_WITHOUT, what it wraps by SHIM_MODULE.
    pub fn shim(&self) -> PathBuf {
        let library = self.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/softhsm/shim.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(built.expect("a C compiler").success());
        library
    }
}

/// Makes tokens as an administrator does outside the operator; in the process that SOFTHSM2_CONF is set for.
pub fn provision(library: &Path, labels: &[&str]) {
    let context = Pkcs11::new(library).expect("the module");
    // A second one in the process finds it initialised.
    _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let (so, user) = (
        AuthPin::from(SO_PIN.to_owned()),
        AuthPin::from(USER_PIN.to_owned()),
    );
    for label in labels {
        let free = |slot: &cryptoki::slot::Slot| {
            let info = context.get_token_info(*slot);
            info.is_ok_and(|it| !it.token_initialized())
        };
        let slots = context.get_slots_with_token().expect("slots");
        let slot = slots.into_iter().find(free).expect("a free slot");
        context.init_token(slot, &so, label).expect("a token");
        let session = context.open_rw_session(slot).expect("a session");
        session.login(UserType::So, Some(&so)).expect("the SO");
        session.init_pin(&user).expect("a PIN");
    }
}
