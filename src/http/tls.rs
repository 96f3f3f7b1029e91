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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tokio::net::TcpStream;

    use super::*;

    /// Certificate and key, PEM.
    fn pair() -> (String, String) {
        let Made { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_served_says_why_and_leaves_what_was_served() {
        let identity = Identity::default();
        let (certificate, key) = pair();
        identity
            .set(certificate.as_bytes(), key.as_bytes())
            .expect("a pair");
        let before = identity.0.read().expect("whole").clone().expect("served");
        let (_, others) = pair();
        for (certificate, key, why) in [
            ("hello", key.as_str(), "the certificate is empty"),
            (certificate.as_str(), "hello", "the private key is no PEM"),
            (
                certificate.as_str(),
                others.as_str(),
                "certificate and private key cannot be used",
            ),
        ] {
            let said = identity
                .set(certificate.as_bytes(), key.as_bytes())
                .expect_err(why);
            assert!(said.starts_with(why), "{said}");
        }
        let after = identity.0.read().expect("whole").clone().expect("served");
        assert!(Arc::ptr_eq(&before, &after));
    }

    #[tokio::test]
    async fn it_stops_when_it_is_told_to_and_frees_its_port() {
        let stop = CancellationToken::new();
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let server = server.expect("a free port");
        let address = server.address();
        let task = tokio::spawn(server.serve_tls(Router::new(), Identity::default(), stop.clone()));
        // One that never says a word does not keep it.
        let _silent = TcpStream::connect(address).await.expect("it listens");
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), task).await;
        ended
            .expect("in time")
            .expect("no panic")
            .expect("a graceful end");
        assert!(TcpStream::connect(address).await.is_err());
    }
}
