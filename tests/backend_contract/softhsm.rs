//! SoftHSM, the second module: any vendor's is driven in the same way. Its configuration is an environment variable, so it
//! is driven in a process of its own. Where Debian's `softhsm2` is not installed the test says so and passes, unless
//! MHSM_REQUIRE_SOFTHSM is set.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use managed_hsm_operator::backend::pkcs11::{PinError, PinPaths, external};

fn library() -> Option<PathBuf> {
    let usual = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    usual.map(PathBuf::from).into_iter().find(|it| it.exists())
}

/// The other side of the test below. Without a folder it shows that a module's PINs are never made up.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("SOFTHSM_FOLDER").map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        let opened = external::open(&config(folder.path(), Path::new("/nowhere.so")));
        let error = opened.err().unwrap();
        assert!(matches!(
            error,
            managed_hsm_operator::backend::pkcs11::OpenError::Pins(PinError::Missing(_))
        ));
        return;
    };
    let config = config(&folder, &library().unwrap());
    fs::write(&config.pins.so, "the SO's own PIN").unwrap();
    fs::write(&config.pins.user, "the user's own PIN").unwrap();
    let module = external::open(&config).unwrap();
    for (name, test) in crate::CONTRACT {
        println!("{name}");
        test(&module);
    }
    println!("{} tests held", crate::CONTRACT.len());
}

fn config(folder: &Path, library: &Path) -> external::Config {
    external::Config {
        library: library.to_owned(),
        data_dir: folder.join("data"),
        pins: PinPaths::in_folder(folder),
        one_at_a_time: true,
    }
}

#[test]
fn softhsm_keeps_the_whole_contract() {
    if library().is_none() {
        assert!(
            std::env::var_os("MHSM_REQUIRE_SOFTHSM").is_none(),
            "SoftHSM is not installed"
        );
        eprintln!("skipped: SoftHSM is not installed (make says how)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tokens")).unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    fs::write(
        &configuration,
        format!(
            "directories.tokendir = {}/tokens\n",
            folder.path().display()
        ),
    )
    .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "softhsm::child", "--nocapture"])
        .env("SOFTHSM2_CONF", configuration)
        .env("SOFTHSM_FOLDER", folder.path())
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    assert!(
        said.contains(&format!("{} tests held", crate::CONTRACT.len())),
        "{said}"
    );
}
