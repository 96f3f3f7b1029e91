//! The embedded backend's PINs in a Secret of the operator's namespace. The operator makes it, once, and nobody else: whoever
//! renders manifests anew would draw new ones. It is immutable, and apart from the store's volume, so that a copy of the
//! volume alone is no key.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;

use crate::backend::pkcs11::{Pin, PinError, PinStore, Pins, SO_PIN_FILE, USER_PIN_FILE};

/// The Secret of that name. Opened from a thread that may block.
pub(super) struct InSecret {
    secrets: Api<Secret>,
    namespace: String,
    name: String,
    runtime: Handle,
}

impl std::fmt::Debug for InSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret {}/{}", self.namespace, self.name)
    }
}

impl InSecret {
    /// Inside a runtime.
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            runtime: Handle::current(),
        }
    }

    async fn find_or_make(&self, may_make: bool) -> Result<Pins, PinError> {
        match self.find().await? {
            Some(found) => self.pins(&found),
            None if may_make => self.make().await,
            None => Err(self.no(
                "is missing, but there are tokens that need it: put it back from its backup; a new one would open none of them",
            )),
        }
    }

    async fn find(&self) -> Result<Option<Secret>, PinError> {
        let found = self.secrets.get_opt(&self.name).await;
        found.map_err(|error| {
            self.no(&format!(
                "cannot be read ({error}); let the operator's ServiceAccount get it"
            ))
        })
    }

    /// Whoever was faster made the ones that hold.
    async fn make(&self) -> Result<Pins, PinError> {
        let secret = secret(
            &self.name,
            &Pins {
                so: Pin::random(),
                user: Pin::random(),
            },
        );
        let kept = match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(kept) => Some(kept),
            Err(kube::Error::Api(status)) if status.code == 409 => self.find().await?,
            Err(error) => {
                return Err(self.no(&format!("cannot be made ({error}); let the operator's ServiceAccount create Secrets in its namespace, or make it yourself")));
            }
        };
        tracing::info!(secret = ?self, "the PINs are kept in this Secret: back it up apart from the store's volume, since without it every key is lost");
        match kept {
            Some(kept) => self.pins(&kept),
            None => Err(self.no("was there and is gone again; start the operator anew")),
        }
    }

    fn pins(&self, secret: &Secret) -> Result<Pins, PinError> {
        if secret.metadata.deletion_timestamp.is_some() {
            return Err(self.no("is being deleted; keep a copy of it, let it go, and put it back"));
        }
        let pin = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            Pin::kept(std::str::from_utf8(bytes).ok()?)
        };
        match (pin(SO_PIN_FILE), pin(USER_PIN_FILE)) {
            (Some(so), Some(user)) => Ok(Pins { so, user }),
            _ => Err(self.no(&format!(
                "holds no {SO_PIN_FILE} and {USER_PIN_FILE} of at least 8 characters in one line each: put it back from its backup"
            ))),
        }
    }

    fn no(&self, why: &str) -> PinError {
        PinError::Store(format!("the {self:?} {why}"))
    }
}

impl PinStore for InSecret {
    fn open(&self, may_make: bool) -> Result<Pins, PinError> {
        self.runtime.block_on(self.find_or_make(may_make))
    }
}

fn secret(name: &str, pins: &Pins) -> Secret {
    let bytes = |pin: &Pin| ByteString(pin.secret().expose_secret().as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(
                "app.kubernetes.io/name".to_owned(),
                env!("CARGO_PKG_NAME").to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([
            (SO_PIN_FILE.to_owned(), bytes(&pins.so)),
            (USER_PIN_FILE.to_owned(), bytes(&pins.user)),
        ])),
        ..Secret::default()
    }
}
