//! What becomes of HSMs under Argo CD.

use crate::argocd;
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn playground() {
    let house = House::new().await;
    argocd::start(&house).await;
    std::fs::write("/tmp/argoup/pg", format!("export KUBECONFIG={}; cd {}; export URL={}; export PATH={}:/root/.cache/managed-hsm-operator/controlplane-e3e1069a607cb5b5:$PATH FOLDER={}\n", house.plane.kubeconfig().display(), house.repository.clone_folder().display(), house.repository.url(), argocd::program().parent().unwrap().display(), house.plane.folder().display())).unwrap();
    while std::path::Path::new("/tmp/argoup/pg").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
