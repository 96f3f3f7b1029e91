//! cert-manager's own controllers issue the webhook's certificate and say whom to trust, as docs/install.md has it.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use managed_hsm_operator::manifests::{NAME, NAMESPACE};
use testplane::{blocks, eventually, source, tools};

use crate::house::House;
use crate::release::advised;
use crate::tenant::{made, proven};

const SECRET: &str = "hsm-webhook-tls";

pub async fn kept(house: &House) {
    house.install();
    let keys = made(house, "shop").await;
    advised(house).await;
    let _certifier = Certifier::start(house);
    let all = blocks("docs/install.md", "To have cert-manager keep it");
    let [certificate, commands] = &all[..] else {
        panic!("two blocks: {all:#?}");
    };
    let desk = House::desk();
    std::fs::write(desk.path().join("certificate.yaml"), certificate).expect("written");
    house.typed(desk.path(), commands);
    let first = issued(house, "").await;
    advised(house).await;

    // It is lost, and another one is issued.
    house
        .kubectl(&format!("delete secret {SECRET} -n {NAMESPACE}"))
        .await;
    issued(house, &first).await;
    advised(house).await;
    served(house, 2).await;
    advised(house).await;
    proven(house, "shop", &keys).await;
}

/// Waits until what cert-manager issued is among what the API server trusts, and is another one than before.
async fn issued(house: &House, before: &str) -> String {
    let of = format!("get secret {SECRET} -n {NAMESPACE} --ignore-not-found -o jsonpath");
    let issued = format!("{of}={{.data.ca\\.crt}}");
    let of = format!("get validatingwebhookconfiguration {NAME} -o jsonpath");
    let trusted = format!("{of}={{.webhooks[0].clientConfig.caBundle}}");
    eventually(
        "a certificate is trusted",
        Duration::from_secs(120),
        async || {
            let [issued, trusted] = [house.read(&issued).await, house.read(&trusted).await];
            if !issued.is_empty() && issued != before && trusted.contains(&issued) {
                Ok(issued)
            } else {
                Err(format!("issued: {issued}; trusted: {trusted}"))
            }
        },
    )
    .await
}

/// Waits until the pod serves that manieth one: the kubelet brings it there.
async fn served(house: &House, count: usize) {
    let says = "the webhook has a certificate, from files";
    let logs = format!("logs deployment/{NAME} -n {NAMESPACE}");
    eventually("it is served", Duration::from_secs(300), async || {
        let said = house.asked(&logs).await.stdout;
        if said.matches(says).count() == count {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}

/// A process beside the node's.
struct Certifier {
    process: Child,
    log: PathBuf,
}

impl Certifier {
    fn start(house: &House) -> Self {
        let crds = source("cert-manager").join("deploy/crds");
        house.plane.apply_crds(&crds).expect("they are served");
        let program = tools("certifier").expect("built").join("certifier");
        let log = house.plane.folder().join("certifier.log");
        let said = std::fs::File::create(&log).expect("a log");
        let mut command = Command::new(program);
        let process = command.arg(house.plane.kubeconfig()).stderr(said).spawn();
        let process = process.expect("it starts");
        Self { process, log }
    }
}

impl Drop for Certifier {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- the certifier said:\n{said}");
        }
    }
}
