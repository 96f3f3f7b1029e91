//! The operator's HTTP server: `/healthz`, `/readyz`, `/metrics`, and the routes that others hang on it.

mod tls;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

pub use axum::Router;
pub use tls::Identity;

/// What is still missing before the process is ready. Ready when nothing is.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

impl Readiness {
    /// From now on the process is not ready until `part` (a short noun) is there.
    pub fn missing(&self, part: &'static str) {
        self.parts().insert(part);
    }

    pub fn there(&self, part: &'static str) {
        self.parts().remove(part);
    }

    pub fn is_ready(&self) -> bool {
        self.parts().is_empty()
    }

    fn report(&self) -> (StatusCode, String) {
        let parts: Vec<_> = self.parts().iter().copied().collect();
        if parts.is_empty() {
            return (StatusCode::OK, "ready\n".to_owned());
        }
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready, waiting for: {}\n", parts.join(", ")),
        )
    }

    /// A set is whole at any moment, so a lock that a panic left behind is still good.
    fn parts(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes that every operator serves; merge others into it.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(metrics);
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route(
            "/readyz",
            get(|State(readiness): State<Readiness>| async move { readiness.report() }),
        )
        .with_state(readiness)
        .merge(metrics)
}

async fn show_metrics(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.text(),
    )
}

/// A server that has its port, and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the port; 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the true port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop, then finishes the requests that it has.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn health_readiness_metrics_and_others_routes_are_served_until_the_stop() {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        readiness.missing("caches");
        let router =
            router(readiness.clone(), Arc::default()).route("/mine", get(|| async { "mine" }));
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = server.address();
        let task = tokio::spawn(server.serve(router, stop.clone()));

        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let waiting = ask(address, "/readyz").await;
        assert!(
            waiting.starts_with("HTTP/1.1 503") && waiting.ends_with("waiting for: caches\n"),
            "{waiting}"
        );
        readiness.there("caches");
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask(address, "/metrics").await;
        assert!(
            metrics.contains("application/openmetrics-text")
                && metrics.contains("managedhsm_leader 0"),
            "{metrics}"
        );
        assert!(ask(address, "/mine").await.ends_with("mine"));
        assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        task.await.expect("no panic").expect("a graceful end");
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn every_missing_part_is_named() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.missing("the API server");
        readiness.missing("caches");
        assert_eq!(
            readiness.report().1,
            "not ready, waiting for: caches, the API server\n"
        );
    }
}
