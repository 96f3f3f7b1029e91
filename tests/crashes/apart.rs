//! The operator in a process of its own over the embedded store, stopped where a test says and killed there: this very executable, with a
//! role to play, since the operator's own knows no stops.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use kube::Client;
use managed_hsm_operator::backend::HsmBackend;
use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::pkcs11::{Module, embedded};
use managed_hsm_operator::controller::stops::{Stops, When};
use managed_hsm_operator::plan::{Lineage, ids};
use managed_hsm_operator::softdelete::Kind;
use testplane::Plane;
use tokio::sync::oneshot;

use crate::house::{Place, Reached, reached_in};
use crate::operator::Build;

/// What tells the other process its role.
const FOLDER: &str = "CRASHES_FOLDER";
const PLACES: &str = "CRASHES_PLACES";

/// Before the number of a place at which a lineage stands.
const STANDS: &str = "stands at ";

/// A process that operates. Killed when it is dropped.
pub struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Apart {
    /// Over the store in that folder.
    pub fn start(plane: &Plane, folder: &Path, places: &[Place]) -> (Self, Vec<Reached>) {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "apart::operates_for_another_test", "--nocapture"])
            .env("KUBECONFIG", plane.kubeconfig())
            .env(FOLDER, folder)
            .env(PLACES, written(places))
            // It ends with whoever started it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the operator starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tells, reached): (Vec<_>, Vec<_>) = places.iter().map(|_| told()).unzip();
        std::thread::spawn(move || {
            let mut tells: Vec<_> = tells.into_iter().map(Some).collect();
            for line in lines.map_while(Result::ok) {
                let number = line.rsplit_once(STANDS).map(|(_, number)| number.parse());
                if let Some(Ok::<usize, _>(number)) = number {
                    // Nobody waits any more for what stands after its life ended.
                    _ = tells[number].take().map(|tell| tell.send(()));
                }
            }
        });
        (Self(child), reached)
    }
}

fn told() -> (oneshot::Sender<()>, Reached) {
    let (tell, told) = oneshot::channel();
    let reached = async move { told.await.expect("the operator stands before it ends") };
    (tell, Box::pin(reached))
}

/// As the other process reads them.
fn written(places: &[Place]) -> String {
    let one = |place: &Place| {
        let Lineage {
            kind,
            namespace,
            name,
        } = &place.lineage;
        let (kind, when) = (kind.object(), place.when);
        format!("{kind} {namespace} {name} {when:?} {}", place.number)
    };
    places.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn read(places: &str) -> Vec<Place> {
    let one = |line: &str| {
        let [kind, namespace, name, when, number] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("five words: {line}");
        };
        let kind = [Kind::Hsm, Kind::Key]
            .into_iter()
            .find(|it| it.object() == kind);
        let when = [When::Before, When::After]
            .into_iter()
            .find(|it| format!("{it:?}") == when);
        Place {
            lineage: Lineage::new(kind.expect("a kind"), namespace, name),
            when: when.expect("a side"),
            number: number.parse().expect("a number"),
        }
    };
    places.lines().map(one).collect()
}

fn open(folder: &Path) -> Module {
    let config = embedded::Config::new(folder.join("data"), &folder.join("pins"));
    embedded::open(&config, ids::tokens_to_keep).expect("the store opens")
}

pub fn ledger(folder: &Path) -> PathBuf {
    folder.join("data").join("ledger.db")
}

/// No token is left in the store that the operator has left.
pub fn assert_empty(folder: &Path) {
    assert_eq!(open(folder).tokens(), Ok(Vec::new()));
}

/// Not a test of its own: the other side of `Apart::start`.
#[tokio::test(flavor = "multi_thread")]
async fn operates_for_another_test() {
    let (Ok(folder), Ok(places)) = (std::env::var(FOLDER), std::env::var(PLACES)) else {
        return;
    };
    let client = Client::try_default().await.expect("a kubeconfig");
    let stops = Stops::default();
    for (number, reached) in reached_in(&stops, &read(&places)).into_iter().enumerate() {
        tokio::spawn(async move {
            reached.await;
            println!("\n{STANDS}{number}");
        });
    }
    // The one in memory is nobody's.
    let mut build = Build::on(client, MemoryBackend::new()).await;
    let module = Arc::new(open(Path::new(&folder)));
    build.backends.insert("default".to_owned(), module);
    let _operator = build.with_stops(&stops).start().await;
    let ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    _ = ended.await;
}
