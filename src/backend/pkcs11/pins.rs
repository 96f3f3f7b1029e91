//! One SO and one user PIN a backend, each in a file of its own, or wherever else they are kept: only the operator has them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cryptoki::types::AuthPin;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// The file names in a PIN folder.
pub const SO_PIN_FILE: &str = "so-pin";
pub const USER_PIN_FILE: &str = "user-pin";

/// Where the two PINs of a backend are kept.
pub trait PinStore: std::fmt::Debug + Send + Sync {
    /// Reads both. Where there is none and `may_make` says that no token needs one yet, new ones are made and kept for good before this returns; else they are never
    /// made anew, since a new one opens no token, and wrong ones lock it for ever.
    fn open(&self, may_make: bool) -> Result<Pins, PinError>;
}

impl PinStore for PinPaths {
    fn open(&self, may_make: bool) -> Result<Pins, PinError> {
        Pins::open(self, may_make)
    }
}

/// Where the two PINs of a backend lie as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinPaths {
    pub so: PathBuf,
    pub user: PathBuf,
}

impl PinPaths {
    /// Both in one folder, under their usual names.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            so: folder.join(SO_PIN_FILE),
            user: folder.join(USER_PIN_FILE),
        }
    }
}

/// Letters and digits that nobody mistakes for each other: 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 32;
/// What kryoptic asks for at least.
const SHORTEST: usize = 8;

/// A PIN. Its Debug prints nothing of it.
#[derive(Clone)]
pub struct Pin(SecretString);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin")
    }
}

impl Pin {
    /// A PIN that nobody can guess: 160 random bits.
    pub fn random() -> Pin {
        let mut random = rand::rng();
        let digit = |_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]);
        Pin((0..LENGTH).map(digit).collect::<String>().into())
    }

    /// The PIN that was kept as this text, which may end in a newline. None: that is no PIN.
    pub fn kept(text: &str) -> Option<Pin> {
        let line = text.trim_end_matches(['\r', '\n']);
        let is_one = line.len() >= SHORTEST && !line.contains(['\r', '\n']);
        is_one.then(|| Pin(line.to_owned().into()))
    }

    /// For whoever keeps it, and nobody else.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    pub(super) fn auth(&self) -> &AuthPin {
        &self.0
    }
}

/// Why there are no PINs. Each sentence names the way out, none a PIN.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(
        "the PIN file {0} is missing, but there are tokens that need it: put it back from its backup; a new one would open none of them"
    )]
    Missing(String),
    #[error(
        "the PIN file {0} holds no PIN of at least {SHORTEST} characters in one line: put it back from its backup"
    )]
    Unusable(String),
    #[error(
        "the PIN file {0} cannot be read or written ({1}): give it to the user that the operator runs as"
    )]
    Io(String, io::Error),
    /// Of another store than files, which says all of it.
    #[error("{0}")]
    Store(String),
}

/// The two PINs of a backend.
#[derive(Clone, Debug)]
pub struct Pins {
    pub so: Pin,
    pub user: Pin,
}

impl Pins {
    /// Reads both. Where one is missing and `may_make` says that no token needs it yet, a new one is written.
    pub fn open(paths: &PinPaths, may_make: bool) -> Result<Pins, PinError> {
        let pin = |path: &Path| match read(path)? {
            Some(pin) => Ok(pin),
            None if may_make => make(path),
            None => Err(PinError::Missing(path.display().to_string())),
        };
        Ok(Pins {
            so: pin(&paths.so)?,
            user: pin(&paths.user)?,
        })
    }
}

fn read(path: &Path) -> Result<Option<Pin>, PinError> {
    let name = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PinError::Io(name(), error)),
    };
    let others = fs::metadata(path).map_or(0, |about| about.permissions().mode() & 0o007);
    if others != 0 {
        tracing::warn!(file = %path.display(), "the PIN file is open to every user of this machine: chmod o= takes that from them (a Secret's volume: defaultMode 0440)");
    }
    Pin::kept(&text)
        .map(Some)
        .ok_or_else(|| PinError::Unusable(name()))
}

/// Whole or absent, and on disk before any token is made with it.
fn make(path: &Path) -> Result<Pin, PinError> {
    let pin = Pin::random();
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = || -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let draft = path.with_extension("new");
        // One that a crash left behind was never used.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(pin.0.expose_secret().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| PinError::Io(path.display().to_string(), error))?;
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_pins_that_only_the_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let pins = folder.path().join("pins");
        let made = Pins::open(&PinPaths::in_folder(&pins), true).unwrap();
        let again = Pins::open(&PinPaths::in_folder(&pins), false).unwrap();
        for (name, made, again) in [
            (SO_PIN_FILE, &made.so, &again.so),
            (USER_PIN_FILE, &made.user, &again.user),
        ] {
            let mode = fs::metadata(pins.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(made.0.expose_secret().len() >= 24);
            assert_eq!(made.0.expose_secret(), again.0.expose_secret());
        }
        assert_eq!(
            fs::metadata(&pins).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_ne!(made.so.0.expose_secret(), made.user.0.expose_secret());
    }

    #[test]
    fn a_missing_pin_is_never_made_anew_where_tokens_need_it() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Pins::open(&PinPaths::in_folder(folder.path()), false).unwrap_err();
        assert!(matches!(refused, PinError::Missing(_)));
        assert!(refused.to_string().contains(SO_PIN_FILE));
    }

    #[test]
    fn a_pin_file_may_end_in_a_newline_but_not_be_cut() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SO_PIN_FILE), "correct horse\n").unwrap();
        fs::write(folder.path().join(USER_PIN_FILE), "short\n").unwrap();
        assert!(matches!(
            Pins::open(&PinPaths::in_folder(folder.path()), true),
            Err(PinError::Unusable(_))
        ));
        fs::write(folder.path().join(USER_PIN_FILE), "battery staple").unwrap();
        let pins = Pins::open(&PinPaths::in_folder(folder.path()), true).unwrap();
        assert_eq!(pins.so.0.expose_secret(), "correct horse");
    }

    #[test]
    fn no_pin_shows_in_debug() {
        let pins = Pins {
            so: Pin("secret-so".to_owned().into()),
            user: Pin("secret-user".to_owned().into()),
        };
        assert_eq!(format!("{pins:?}"), "Pins { so: Pin, user: Pin }");
    }
}
