//! A namespace is deleted while an operator stands before each of its effects in turn: in the creation, the deletion and the recovery of
//! an HSM and a key in it. A namespace always goes; what had material has its proxy and is sealed, and comes back as the same.

mod lives;
mod operator;
mod user;

use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, PostParams};
use lives::Life;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{Access, HsmBackend};
use managed_hsm_operator::controller::cluster::Watched;
use managed_hsm_operator::controller::stops::{Stop, Stops, When, Which};
use managed_hsm_operator::plan::ids;
use managed_hsm_operator::softdelete::{Kind, Record, RecordState};
use operator::Operator;
use serde_json::{Value, json};
use testplane::{Options, borrow, each as one_in};
use tokio_util::task::AbortOnDropHandle;

/// Many namespaces go at once, and one controller empties them all.
const PATIENCE: Duration = Duration::from_secs(120);

struct Doomed {
    place: String,
    life: Life,
    backend: MemoryBackend,
    stop: Stop,
    running: AbortOnDropHandle<Value>,
}

impl Doomed {
    /// Deletes the namespace, lets the operator do what it had decided once everything in it terminates, and waits for its end.
    async fn goes(&self) -> Result<(), String> {
        let namespaces = self.life.api(Watched::Namespace);
        let name = &self.life.namespace;
        let asked = namespaces.delete(name, &DeleteParams::default()).await;
        asked.expect("the delete is taken");
        let terminates = in_time(async || {
            for of in [Kind::Hsm, Kind::Key] {
                let objects = self.life.api(Watched::Object(of));
                let found = objects.get_opt(lives::name_of(of)).await.expect("a GET");
                if found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()) {
                    return Err(format!("{}: {of:?} lives on", self.place));
                }
            }
            Ok(())
        })
        .await;
        self.stop.release();
        terminates?;
        in_time(
            async || match namespaces.get_opt(name).await.expect("a GET") {
                None => Ok(()),
                Some(found) => Err(format!(
                    "{}: {} {:?}",
                    self.place,
                    found.data["status"],
                    self.life.records()
                )),
            },
        )
        .await
    }

    fn standing(&self) -> Vec<Record> {
        let finals = [RecordState::Tombstone, RecordState::Abandoned];
        let all = self.life.records().into_iter().map(|(_, record)| record);
        all.filter(|record| !finals.contains(&record.state))
            .collect()
    }

    /// What stands now is sealed, by itself or by its HSM, and a proxy speaks for it.
    async fn rests(&self) -> Result<(), String> {
        in_time(async || {
            let standing = self.standing();
            for record in &standing {
                let kind = record.kind();
                let proxies = self.life.api(Watched::Proxy(kind));
                let proxy = proxies
                    .get_opt(&self.life.proxy_name(kind))
                    .await
                    .expect("a GET");
                let its = proxy.is_some_and(|found| {
                    found.data["spec"]["origin"]["uid"] == record.origin.uid.as_str()
                });
                if !its {
                    return Err(format!("{}: no proxy for {record:#?}", self.place));
                }
                let sealed = match kind {
                    Kind::Hsm => record.state == RecordState::Deleted && self.is_shut(record),
                    Kind::Key => standing.iter().any(|other| other.kind() == Kind::Hsm),
                };
                if !sealed {
                    return Err(format!("{}: not sealed: {record:#?}", self.place));
                }
            }
            Ok(())
        })
        .await
    }

    fn is_shut(&self, hsm: &Record) -> bool {
        let token = self.backend.token(&ids::token_label(&hsm.id));
        matches!(token, Ok(Some(facts)) if facts.access == Access::Refused)
    }

    /// Made anew, the namespace gets back what it had, by Recovers that accept it: the HSM, and then the key, as the same.
    async fn comes_back(&self, had: &[(String, [u8; 32])]) {
        let mut namespace =
            DynamicObject::new(&self.life.namespace, &Watched::Namespace.resource());
        namespace.data = json!({});
        let namespaces = self.life.api(Watched::Namespace);
        let made = namespaces.create(&PostParams::default(), &namespace).await;
        let uid = made.expect("a namespace").metadata.uid.expect("a uid");
        for record in self.standing() {
            let kind = record.kind();
            let mut recover =
                DynamicObject::new(&lives::recover_name(kind), &Watched::Recover.resource());
            recover.data = json!({"spec": {"kind": kind.object(), "name": lives::name_of(kind),
                "uid": record.origin.uid.as_str(), "acceptNamespaceUid": uid}});
            let asked = self.life.api(Watched::Recover);
            let asked = asked.create(&PostParams::default(), &recover).await;
            asked.expect("the Recover is taken");
        }
        for record in self.standing() {
            self.life.recovered(record.kind()).await;
        }
        // What a creation had only begun may be there besides, or not.
        let now = self.life.identities();
        assert!(
            had.iter().all(|one| now.contains(one)),
            "{}: {now:?}",
            self.place
        );
    }
}

/// Until it is so; what is wrong with it if it never is.
async fn in_time(is_so: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match is_so().await {
            Err(_) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            so => return so,
        }
    }
}

/// All at once; each that went wrong is told.
async fn each(all: impl Iterator<Item = impl Future<Output = Result<(), String>>>) {
    let ended = futures::future::join_all(all).await;
    let wrong: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
    assert!(
        wrong.is_empty(),
        "{} went wrong: {}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The recorded versions' material: what may never be lost.
fn recorded(life: &Life) -> Vec<(String, [u8; 32])> {
    let records = life.records();
    let versions: Vec<_> = records
        .iter()
        .flat_map(|(_, record)| lives::versions(record))
        .map(|version| version.material.0.clone())
        .collect();
    let mut all = life.identities();
    all.retain(|(id, _)| versions.contains(id));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn sd03_a_namespace_always_goes_whatever_was_under_way_in_it_and_nothing_in_it_is_lost() {
    let plane = borrow(Options::default()).await;
    let backend = MemoryBackend::new();
    let stops = Stops::default();
    let _operator = Operator::with_stops(&plane, &backend, &stops).await;
    let client = plane.client().await;
    let calm = Life::new(&client, "calm", &backend, lives::ec()).await;
    calm.whole().await;

    let mut doomed = Vec::new();
    for kind in [Kind::Hsm, Kind::Key] {
        for (number, seen) in stops
            .seen(&calm.lineage(kind))
            .iter()
            .enumerate()
            .step_by(one_in(4))
        {
            let name = format!("{}-{}", kind.object(), number + 1).to_lowercase();
            let life = Life::new(&client, &name, &backend, lives::ec()).await;
            let running = life.clone();
            doomed.push(Doomed {
                place: format!("{name} ({})", seen.effect),
                stop: stops.stop(&life.lineage(kind), When::Before, Which::Number(number + 1)),
                running: AbortOnDropHandle::new(tokio::spawn(async move { running.whole().await })),
                life,
                backend: backend.clone(),
            });
        }
    }
    for one in &mut doomed {
        // How many statuses are written depends on who is faster: such a life may be over before that place.
        tokio::select! {
            () = one.stop.reached() => one.running.abort(),
            ended = &mut one.running => assert!(ended.is_ok() && one.place.contains("(Show"), "{}: {ended:?}", one.place),
        }
    }
    let had: Vec<_> = doomed.iter().map(|one| recorded(&one.life)).collect();
    each(doomed.iter().map(Doomed::goes)).await;
    each(doomed.iter().map(Doomed::rests)).await;
    let all = doomed
        .iter()
        .zip(&had)
        .map(|(one, had)| one.comes_back(had));
    futures::future::join_all(all).await;
}
