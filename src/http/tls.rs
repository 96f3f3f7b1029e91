//! The same server over TLS, with a certificate that may change while it serves.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::Server;

/// How long what is under way may take after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// The certificate that is served to each new connection; until there is one, none is taken.
#[derive(Clone, Default)]
pub struct Identity(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// From now on this chain, the server's own certificate first, with its key; both PEM. The error is half a sentence.
    pub fn set(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| format!("the certificate is no PEM ({error})"))?;
        if chain.is_empty() {
            return Err("the certificate is empty".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| format!("the private key is no PEM ({error})"))?;
        let found = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("certificate and private key cannot be used ({error})"))?;
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *served = Some(Arc::new(found));
        Ok(())
    }

    fn config(&self) -> io::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[derive(Debug)]
struct Resolver(Identity);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.0.0.read().unwrap_or_else(PoisonError::into_inner);
        served.clone()
    }
}

impl Server {
    /// Serves over TLS alone until told to stop, then finishes the requests that it has.
    pub async fn serve_tls(
        self,
        router: Router,
        identity: Identity,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let config = RustlsConfig::from_config(Arc::new(identity.config()?));
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(self.listener.into_std()?, config)?
            .http1_only()
            .handle(handle.clone())
            .serve(router.into_make_service());
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => return ended,
            () = stop.cancelled() => handle.graceful_shutdown(Some(GRACE)),
        }
        server.await
    }
}
