//! Records that a ledger lost, and material that no record explains.

use managed_hsm_operator::backend::memory::MemoryBackend;
use managed_hsm_operator::backend::{HsmBackend, TokenLabel};
use managed_hsm_operator::controller::ledger::{Answer, Wish};
use managed_hsm_operator::plan::ids;
use managed_hsm_operator::softdelete::RecordId;
use testplane::{Options, borrow, eventually};

use crate::acts::*;
use crate::operator::{Operator, condition, gone, until};

fn record_id(of: &kube::api::DynamicObject) -> RecordId {
    ids::record_id(&uid(of).into())
}

/// Waits until the ledger has a record of that id again, and answers its generation.
async fn written_again(backend: &MemoryBackend, id: &RecordId) -> u64 {
    eventually("the record is there again", PATIENCE, async || {
        let found = backend.read(&id.0).map_err(|error| error.to_string())?;
        let one = found.first().ok_or("it is not")?;
        Ok::<_, String>(one.generation)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_record_that_is_lost_is_written_again_where_status_or_proxy_and_material_agree() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("lost").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    let second = document(
        &ns,
        "HsmKey",
        "second",
        "{hsm: safe, keyType: oct, keySize: 256}",
    );
    apply(&plane, &(safe_and_key(&ns) + &second)).await;
    let hsm = ready(&plane, &ns, HSM, "safe").await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    let gone_key = ready(&plane, &ns, KEY, "second").await;
    delete(&plane, &ns, "hsmkey/second").await;
    let proxy = format!("{ns}.second");
    let kept = until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    let material = backend.inspect();
    first.crash().await;
    for object in [&hsm, &key, &gone_key] {
        backend.lose_record(&record_id(object).0);
    }

    let _next = Operator::start(&plane, backend.clone()).await;
    for (object, shown) in [(&hsm, &hsm), (&key, &key), (&gone_key, &kept)] {
        let generation = written_again(&backend, &record_id(object)).await;
        let seen = shown.data["status"]["recordGeneration"].as_u64();
        assert!(Some(generation) > seen, "above what was seen: {seen:?}");
    }
    let same = ready(&plane, &ns, KEY, "signing").await;
    assert_eq!(versions(&same), versions(&key));
    let still = until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
    for field in ["deletionTime", "scheduledPurgeTime", "retentionDays"] {
        assert_eq!(still.data["spec"][field], kept.data["spec"][field]);
    }
    assert_eq!(backend.inspect(), material, "nothing of it was touched");
    let asked = format!("uid: {}", uid(&gone_key));
    recovered(&plane, &ns, "HsmKey", "second", &asked).await;
    let back = ready(&plane, &ns, KEY, "second").await;
    for field in ["materialId", "checkValue"] {
        assert_eq!(versions(&back)[0][field], versions(&gone_key)[0][field]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd28_a_lost_record_that_the_material_contradicts_is_shown_and_nothing_is_let_go() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("doubt").await;
    let backend = MemoryBackend::new();
    let first = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    let key = ready(&plane, &ns, KEY, "signing").await;
    first.crash().await;
    backend.lose_record(&record_id(&key).0);
    let other = "A".repeat(43);
    let lie =
        format!(r#"[{{"op":"replace","path":"/status/versions/0/thumbprint","value":"{other}"}}]"#);
    let patch = [
        "patch",
        "-n",
        &ns,
        "hsmkey/signing",
        "--subresource=status",
        "--type=json",
        "-p",
        &lie,
    ];
    plane.kubectl(&patch, "").await.ok();

    let _next = Operator::start(&plane, backend.clone()).await;
    let reason = "RecordDisagrees";
    let shown = until(&plane, KEY, Some(&ns), "signing", "Stalled", "True", reason).await;
    let (_, _, sentence) = condition(&shown, "Stalled").expect("told");
    assert!(
        sentence.contains("it is lost, and the material does not prove"),
        "{sentence}"
    );
    let material = backend.inspect();
    plane
        .kubectl(&["delete", "-n", &ns, "hsmkey/signing", "--wait=false"], "")
        .await
        .ok();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let of = Some(ns.as_str());
    let held = crate::operator::get(&plane, KEY, of, "signing").await;
    assert!(
        held.is_some(),
        "its material can still be used, so it is kept"
    );
    assert_eq!(backend.inspect(), material);

    // The way out: what is old is put back.
    let truth = format!(
        r#"[{{"op":"replace","path":"/status/versions/0/thumbprint","value":{}}}]"#,
        key.data["status"]["versions"][0]["thumbprint"]
    );
    let patch = [
        "patch",
        "-n",
        &ns,
        "hsmkey/signing",
        "--subresource=status",
        "--type=json",
        "-p",
        &truth,
    ];
    plane.kubectl(&patch, "").await.ok();
    gone(&plane, KEY, Some(&ns), "signing").await;
    let proxy = format!("{ns}.signing");
    until(&plane, KEY_PROXY, None, &proxy, "Ready", "True", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn material_that_no_record_explains_is_listed_and_counted_and_left_as_it_is() {
    let plane = borrow(Options::default()).await;
    let ns = plane.namespace("orphans").await;
    let backend = MemoryBackend::new();
    let operator = Operator::start(&plane, backend.clone()).await;
    apply(&plane, &safe_and_key(&ns)).await;
    ready(&plane, &ns, KEY, "signing").await;
    let label = "00112233445566778899aabbccddeeff";
    backend
        .create_token(&TokenLabel(label.into()))
        .expect("made");
    let before = backend.inspect();
    let Answer::Rows(rows, away) = operator.ask(Wish::List).await else {
        panic!("no list");
    };
    assert_eq!(away, Vec::<String>::new());
    let orphans: Vec<_> = rows.iter().filter(|row| row.state == "orphaned").collect();
    assert_eq!(orphans.len(), 1, "{rows:?}");
    assert_eq!(
        (orphans[0].id.as_str(), orphans[0].backend.as_str()),
        (label, "default")
    );
    assert_eq!(rows.iter().filter(|row| row.state == "live").count(), 2);
    assert!(operator.metrics.text().contains("managedhsm_orphans 1\n"));
    assert!(
        backend
            .tokens()
            .expect("listed")
            .contains(&TokenLabel(label.into()))
    );
    assert_eq!(backend.inspect(), before);
}
