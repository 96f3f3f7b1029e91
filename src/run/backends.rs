//! Opens the configured backends.

use std::collections::BTreeMap;
#[cfg(any(feature = "embedded", test))]
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::backend::HsmBackend;
#[cfg(feature = "embedded")]
use crate::backend::pkcs11::embedded;
use crate::backend::pkcs11::{OpenError, PinPaths, PinStore, external};
#[cfg(feature = "embedded")]
use crate::backend::{Stored, TokenLabel};
use crate::config::backends::{Allowed, Backend, PinFiles, Store};
#[cfg(feature = "embedded")]
use crate::plan::ids;

/// Why a backend is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}: {1}")]
    Open(String, OpenError),
    /// What is not enforced must not look as if it were.
    #[error(
        "{0}: this version does not enforce {1} yet, so it would protect nothing; leave it out"
    )]
    NotEnforced(String, &'static str),
    #[cfg(not(feature = "embedded"))]
    #[error(
        "{0}: this executable was built without the embedded soft token; name a PKCS#11 module, or build it with the feature `embedded`"
    )]
    NotBuilt(String),
    #[error("{0}: opening it panicked, which is a fault of this program")]
    Panicked(String),
}

/// Opens all, one after the other. `data_dir` is the embedded one's, and holds a folder for each of the others; `pins` are the embedded one's where the file names none.
pub(super) async fn open(
    backends: &[Backend],
    data_dir: &Path,
    pins: &Arc<dyn PinStore>,
) -> Result<BTreeMap<String, Arc<dyn HsmBackend>>, Failure> {
    let mut opened = BTreeMap::new();
    for backend in backends {
        enforced(backend)?;
        let name = backend.name.clone();
        let (task, data_dir, pins) = (backend.clone(), data_dir.to_owned(), Arc::clone(pins));
        let open = tokio::task::spawn_blocking(move || open_one(&task, &data_dir, pins));
        let module = open.await.map_err(|_| Failure::Panicked(name.clone()))??;
        tracing::info!(backend = name, "the backend is open");
        opened.insert(name, module);
    }
    Ok(opened)
}

fn enforced(backend: &Backend) -> Result<(), Failure> {
    let Backend {
        name,
        store,
        allowed_namespaces,
        max_hsms_per_namespace,
        max_keys_per_hsm,
    } = backend;
    let not = |what| Err(Failure::NotEnforced(name.clone(), what));
    let own_limit = matches!(store, Store::Embedded { .. });
    match (allowed_namespaces, max_hsms_per_namespace) {
        (Allowed::Names(_) | Allowed::Selector(_), _) => not("allowedNamespaces"),
        (Allowed::All, Some(_)) => not("maxHsmsPerNamespace"),
        (Allowed::All, None)
            if !own_limit && *max_keys_per_hsm != crate::config::backends::DEFAULT_KEYS =>
        {
            not("maxKeysPerHsm for a module")
        }
        (Allowed::All, None) => Ok(()),
    }
}

fn open_one(
    backend: &Backend,
    data_dir: &Path,
    usual: Arc<dyn PinStore>,
) -> Result<Arc<dyn HsmBackend>, Failure> {
    let failed = |error| Failure::Open(backend.name.clone(), error);
    match &backend.store {
        Store::Embedded { slots, pins } => {
            let pins = match pins {
                Some(files) => Arc::new(paths(files)) as Arc<dyn PinStore>,
                None => usual,
            };
            open_embedded(backend, *slots, data_dir, pins)
        }
        Store::Pkcs11 {
            module,
            pins,
            one_at_a_time,
        } => {
            let config = external::Config {
                library: module.clone(),
                data_dir: data_dir.join(&backend.name),
                pins: paths(pins),
                one_at_a_time: *one_at_a_time,
            };
            Ok(Arc::new(external::open(&config).map_err(failed)?))
        }
    }
}

fn paths(files: &PinFiles) -> PinPaths {
    PinPaths {
        so: files.so_pin_file.clone(),
        user: files.user_pin_file.clone(),
    }
}

#[cfg(feature = "embedded")]
fn open_embedded(
    backend: &Backend,
    slots: u32,
    data_dir: &Path,
    pins: Arc<dyn PinStore>,
) -> Result<Arc<dyn HsmBackend>, Failure> {
    let (max_tokens, max_keys) = (count(slots), count(backend.max_keys_per_hsm));
    let config = embedded::Config {
        data_dir: data_dir.to_owned(),
        pins,
        max_tokens,
        max_keys,
    };
    let module = embedded::open(&config, tokens_to_keep)
        .map_err(|error| Failure::Open(backend.name.clone(), error))?;
    Ok(Arc::new(module))
}

#[cfg(not(feature = "embedded"))]
fn open_embedded(
    backend: &Backend,
    _: u32,
    _: &Path,
    _: Arc<dyn PinStore>,
) -> Result<Arc<dyn HsmBackend>, Failure> {
    Err(Failure::NotBuilt(backend.name.clone()))
}

#[cfg(feature = "embedded")]
fn tokens_to_keep(records: &[Stored]) -> Result<BTreeSet<TokenLabel>, String> {
    Ok(ids::tokens_to_keep(records)?
        .into_iter()
        .map(TokenLabel)
        .collect())
}

#[cfg(feature = "embedded")]
fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::backends::built_in;

    #[test]
    fn what_is_not_enforced_yet_is_refused_instead_of_ignored() {
        let mut backend = built_in().remove(0);
        assert!(enforced(&backend).is_ok());
        backend.max_hsms_per_namespace = Some(1);
        assert!(
            enforced(&backend)
                .is_err_and(|error| error.to_string().contains("maxHsmsPerNamespace"))
        );
        backend.allowed_namespaces = Allowed::Names(BTreeSet::new());
        assert!(
            enforced(&backend).is_err_and(|error| error.to_string().contains("allowedNamespaces"))
        );
    }
}
