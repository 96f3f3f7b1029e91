//! Where the webhook is started: by every replica, leader or not, since it looks live.

use std::sync::Arc;

use chrono::TimeDelta;

use super::Shared;
use crate::admission::webhook::certificates::{Files, Keeper, Places, Serve};
use crate::admission::webhook::{self, Settings, Webhook};
use crate::config::{self, Certificate};
use crate::http::{Identity, Server};
use crate::softdelete::retention::DAY;

/// Until the very end: what is deleted while the operator stops is still told what becomes of it.
pub(super) async fn serve(
    shared: Shared,
    settings: config::Webhook,
    server: Server,
) -> std::io::Result<()> {
    let identity = Identity::default();
    let client = shared.clients.without_retries.clone();
    let clock = shared.time.clock().clone();
    let judge = Settings {
        undeletable: shared.config.undeletable,
        day: TimeDelta::from_std(shared.config.day_length).unwrap_or(DAY),
    };
    let router = webhook::router(Arc::new(Webhook::new(client.clone(), clock.clone(), judge)));
    let served = server.serve_tls(router, identity.clone(), shared.end.clone());
    let serve: Serve = Box::new(move |chain, key| identity.set(chain, key));
    match settings.certificate {
        Certificate::Files(folder) => {
            tokio::select! {
                ended = served => ended,
                never = Files::new(&folder, serve).keep() => match never {},
            }
        }
        Certificate::Own {
            configuration,
            secret,
            life,
        } => {
            let places = Places {
                namespace: shared.config.namespace.clone(),
                secret,
                configuration,
            };
            let life = TimeDelta::from_std(life).unwrap_or(DAY);
            tokio::select! {
                ended = served => ended,
                never = Keeper::new(client, places, clock, life, serve).keep() => match never {},
            }
        }
    }
}
