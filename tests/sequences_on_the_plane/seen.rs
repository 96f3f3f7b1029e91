//! What there is of a row, as the table would tell it, and waiting for it.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::DynamicObject;
use managed_hsm_operator::backend::HsmBackend;
use managed_hsm_operator::controller::cluster::{Source, Watched};
use managed_hsm_operator::controller::stops::Stop;
use managed_hsm_operator::plan::{Lineage, encoding};
use managed_hsm_operator::softdelete::{Kind, Record};
use serde_json::Value;
use testplane::eventually;

use super::{Done, Row};
use crate::operator::condition;
use crate::rows::{self, Act, Cells, NOBODYS_UID, State, TWIN};
use crate::table::as_in_table;

/// Many rows share one operator.
const PATIENCE: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(200);

impl Row {
    pub(super) async fn ready(&self, kind: Kind) {
        let of = self.lineage(kind);
        self.until(&format!("{} is ready", kind.object()), async || {
            let found = self.stage.cluster.object(Source::Cache, &of).await;
            let found = found.expect("a cache").ok_or("it is not there")?;
            match condition(&found, "Ready") {
                Some((is, _, _)) if is == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub(super) async fn deleted(&self, kind: Kind) {
        self.delete(kind).await.expect("it is there");
        self.kept(kind).await;
    }

    /// The object is gone, and its proxy can be recovered.
    pub(super) async fn kept(&self, kind: Kind) {
        let of = self.lineage(kind);
        self.until(&format!("{} is kept", kind.object()), async || {
            let object = self.stage.cluster.object(Source::Cache, &of).await;
            let proxy = self.stage.cluster.proxy(Source::Cache, &of).await;
            match (object.expect("a cache"), proxy.expect("a cache")) {
                (None, Some(found))
                    if condition(&found, "Ready").is_some_and(|it| it.0 == "True") =>
                {
                    Ok(())
                }
                (object, proxy) => Err(format!(
                    "{:?}, {:?}",
                    object.is_some(),
                    proxy.map(|found| found.data)
                )),
            }
        })
        .await;
    }

    pub(super) async fn reached(&self, stop: &Stop) {
        let reached = tokio::time::timeout(PATIENCE, stop.reached()).await;
        let seen = self.stage.stops.seen(&self.lineage(self.kind));
        assert!(reached.is_ok(), "{}: nobody stands: {seen:?}", self.title());
    }

    pub(super) async fn complete(&self, purge: &str) {
        self.until(&format!("{purge} is complete"), async || {
            let found = self.found(Source::Cache, Watched::Purge, purge).await;
            let complete = found
                .as_ref()
                .and_then(|found| condition(found, "Complete"));
            match complete {
                Some((is, _, _)) if is == "True" => Ok(()),
                _ => Err(format!("{:?}", found.map(|found| found.data))),
            }
        })
        .await;
    }

    /// The key is gone, unless somebody else's finalizer keeps it.
    pub(super) async fn settled_after_delete(&self) {
        let of = self.lineage(Kind::Key);
        self.until("the key goes", async || {
            let ours = |found: &DynamicObject| {
                let mut all = found.metadata.finalizers.iter().flatten();
                all.any(|finalizer| finalizer.starts_with("managedhsm.dev/"))
            };
            match self.object(Source::Cache, &of).await {
                Some(found) if ours(&found) => Err(format!("{:?}", found.data)),
                _ => Ok(()),
            }
        })
        .await;
    }

    pub(super) async fn is_as_in(&self, state: State, act: Act, answer: Done) {
        let what = format!("it is as in the row {}: {}", state.said(), act.said());
        self.until(&what, async || {
            self.compared(Source::Cache, state, act, answer).await
        })
        .await;
    }

    async fn until(&self, what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
        let title = format!("{}: {what}", self.title());
        eventually(&title, PATIENCE, async || {
            let seen = look().await;
            if seen.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            seen
        })
        .await;
    }

    // ---- what is there ----

    /// Whether it is now as the table says.
    pub async fn compared(
        &self,
        source: Source,
        state: State,
        act: Act,
        answer: Done,
    ) -> Result<(), String> {
        let mut is = self.cells(source, act).await;
        if let Err(no) = answer {
            is.told = no.said().into();
        }
        let mut should = self.stage.table.row(self.kind, state, act);
        if act == Act::DeleteNamespace {
            // Whether the key or its HSM goes first is the namespace controller's choice; *sealing* reads as *deleted*.
            for cells in [&mut is, &mut should] {
                cells.record = cells.record.replace("sealing", "deleted");
            }
        }
        if is == should {
            Ok(())
        } else {
            Err(format!(
                "{}\n    is     {is:?}\n    should {should:?}",
                self.title()
            ))
        }
    }

    async fn cells(&self, source: Source, act: Act) -> Cells {
        let of = self.lineage(self.kind);
        let object = self.object(source, &of).await;
        let proxy = self.stage.cluster.proxy(source, &of).await.expect("a GET");
        let about = act.told_about(self.kind);
        let recover = self
            .found(
                source,
                Watched::Recover,
                &format!("recover-{}", rows::name(about)),
            )
            .await;
        let purge = self
            .found(source, Watched::Purge, &self.purge_name(about))
            .await;
        let twin = self
            .object(source, &Lineage::new(Kind::Key, self.ns.clone(), TWIN))
            .await;
        let told = [&purge, &recover, &twin, &object, &proxy]
            .map(|found| found.as_ref().map(|found| self.ready_of(found)));
        let text = |found: &DynamicObject, path: &str| {
            found
                .data
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Cells {
            object: rows::object_cell(object.as_ref().map(|found| {
                let reason = condition(found, "Ready").map(|(_, reason, _)| reason);
                (
                    self.named(&found.metadata.uid.clone().unwrap_or_default()),
                    reason,
                    found.metadata.deletion_timestamp.is_some(),
                )
            })),
            proxy: rows::proxy_cell(proxy.as_ref().map(|found| {
                (
                    self.named(&text(found, "/spec/origin/uid").unwrap_or_default()),
                    text(found, "/status/phase"),
                )
            })),
            record: rows::record_cell(self.records(self.kind).into_iter().map(|record| {
                (
                    self.named(&record.origin.uid.0),
                    format!("{:?}", record.state),
                )
            })),
            told: rows::told_cell(told),
        }
    }

    async fn object(&self, source: Source, of: &Lineage) -> Option<DynamicObject> {
        self.stage.cluster.object(source, of).await.expect("a GET")
    }

    async fn found(&self, source: Source, of: Watched, name: &str) -> Option<DynamicObject> {
        match source {
            Source::Live => self.api(of).get_opt(name).await.expect("a GET"),
            Source::Cache => {
                let space = match of {
                    Watched::Object(_) | Watched::Recover => Some(self.ns.as_str()),
                    Watched::Proxy(_) | Watched::Purge | Watched::Namespace => None,
                };
                self.stage.cluster.cached(of, space, name)
            }
        }
    }

    fn ready_of(&self, found: &DynamicObject) -> Option<(String, String)> {
        let (_, reason, message) = condition(found, "Ready")?;
        Some((reason, as_in_table(&message, &self.ns, &self.uids())))
    }

    fn records(&self, kind: Kind) -> Vec<Record> {
        let all = self
            .stage
            .backend
            .records()
            .expect("the ledger can be read");
        let decoded = all
            .iter()
            .map(|stored| encoding::decode(&stored.bytes).expect("a record of ours"));
        let name = rows::name(kind);
        decoded
            .filter(|record| {
                record.kind() == kind
                    && record.origin.namespace == self.ns
                    && record.origin.name == name
            })
            .collect()
    }

    pub(super) fn record(&self, kind: Kind) -> Option<Record> {
        self.records(kind).pop()
    }

    /// The uid that the record names now: that of the live or deleted object.
    pub(super) async fn uid_now(&self, kind: Kind) -> String {
        if let Some(record) = self.record(kind) {
            return record.origin.uid.0;
        }
        let waits = self.object(Source::Live, &self.lineage(kind)).await;
        waits
            .and_then(|found| found.metadata.uid)
            .unwrap_or_else(|| NOBODYS_UID.into())
    }

    fn named(&self, uid: &str) -> String {
        let again = || format!("{}-again", rows::name(self.kind));
        self.uids().get(uid).cloned().unwrap_or_else(again)
    }

    pub(super) fn uids(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.uids.lock().expect("no test panics in here")
    }
}
