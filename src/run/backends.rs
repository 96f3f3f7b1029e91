//! Opens the configured backends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::backend::HsmBackend;
#[cfg(feature = "embedded")]
use crate::backend::pkcs11::OpenError;
#[cfg(feature = "embedded")]
use crate::backend::pkcs11::embedded;
use crate::backend::pkcs11::{PinPaths, PinStore, external};
use crate::backend::waiting::{NotOpen, Waiting};
use crate::config::backends::{self as config, Backend, PinFiles, Store};
use crate::controller::quota::Quota;
#[cfg(feature = "embedded")]
use crate::plan::ids;

/// Why a backend is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[cfg(feature = "embedded")]
    #[error("{0}: {1}")]
    Open(String, OpenError),
    #[cfg(not(feature = "embedded"))]
    #[error(
        "{0}: this executable was built without the embedded soft token; name a PKCS#11 module, or build it with the feature `embedded`"
    )]
    NotBuilt(String),
    #[error("{0}: opening it panicked, which is a fault of this program")]
    Panicked(String),
}

/// Who may use each, and how much of it.
pub(super) fn quotas(all: &[Backend]) -> BTreeMap<String, Quota> {
    let quota = |backend: &Backend| {
        let allowed = backend.allowed_namespaces.clone();
        Quota {
            allows: Arc::new(move |namespace, labels| allowed.allows(namespace, labels)),
            max_hsms_per_namespace: backend.max_hsms_per_namespace.map(count),
            max_keys_per_hsm: Some(count(backend.max_keys_per_hsm)),
        }
    };
    let each = all.iter().map(|one| (one.name.clone(), quota(one)));
    each.collect()
}

/// Opens all, one after the other. `data_dir` is the embedded one's, and holds a folder for each of the others; `pins` are the embedded one's where the file names none.
pub(super) async fn open(
    backends: &[Backend],
    data_dir: &Path,
    pins: &Arc<dyn PinStore>,
) -> Result<BTreeMap<String, Arc<dyn HsmBackend>>, Failure> {
    let mut opened = BTreeMap::new();
    for backend in backends {
        let name = backend.name.clone();
        let (task, data_dir, pins) = (backend.clone(), data_dir.to_owned(), Arc::clone(pins));
        let open = tokio::task::spawn_blocking(move || open_one(&task, &data_dir, pins));
        let module = open.await.map_err(|_| Failure::Panicked(name.clone()))??;
        tracing::info!(backend = name, "the backend is open");
        opened.insert(name, module);
    }
    Ok(opened)
}

fn open_one(
    backend: &Backend,
    data_dir: &Path,
    usual: Arc<dyn PinStore>,
) -> Result<Arc<dyn HsmBackend>, Failure> {
    match &backend.store {
        Store::Embedded { slots, pins } => {
            let pins = match pins {
                Some(files) => Arc::new(paths(files)) as Arc<dyn PinStore>,
                None => usual,
            };
            open_embedded(backend, *slots, data_dir, pins)
        }
        Store::Pkcs11(module) => Ok(Arc::new(waiting(backend, module, data_dir))),
    }
}

/// A module that does not open now is no reason to leave the others alone: what is in it waits (SD-28).
fn waiting(backend: &Backend, module: &config::Module, data_dir: &Path) -> Waiting {
    let config::Module {
        library,
        pins,
        one_at_a_time,
        ledger_token,
        scratch_token,
        tokens,
    } = module;
    let config = external::Config {
        library: library.clone(),
        data_dir: data_dir.join(&backend.name),
        pins: paths(pins),
        one_at_a_time: *one_at_a_time,
        ledger: ledger_token.clone(),
        scratch: scratch_token.clone(),
        tokens: tokens.clone(),
        max_keys: count(backend.max_keys_per_hsm),
    };
    let name = backend.name.clone();
    Waiting::new(move || match external::open(&config) {
        Ok(module) => {
            tracing::info!(backend = name, "the module is open");
            Ok(Box::new(module))
        }
        Err(error) => {
            let is_final = error.is_final();
            let why = error.to_string();
            tracing::warn!(
                backend = name,
                is_final,
                why,
                "the module does not open, and what is in it waits"
            );
            Err(NotOpen { why, is_final })
        }
    })
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
    let module = embedded::open(&config, ids::tokens_to_keep)
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

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
