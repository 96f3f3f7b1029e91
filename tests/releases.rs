//! A tenant's own release of an HSM and twenty keys, installed by the real Helm with `--wait`, which reads each resource's status as kstatus does: it
//! waits for what gets on, and gives a release up at the first `Stalled` that it sees.
#![cfg(feature = "embedded")]

mod operator;
mod process;
mod user;

#[path = "releases/shop.rs"]
mod shop;

use std::collections::BTreeSet;

use process::Process;
use shop::{KEYS, Shop, TIMEOUT};
use testplane::each;

const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_an_hsm_and_its_keys_is_ready_when_helm_says_so_time_after_time() {
    let shop = Shop::new().await;
    let _operator = shop.operator();
    let mut seen = BTreeSet::new();
    for round in 1..=ROUNDS / each(6) {
        let (said, took) = shop.install(&[], TIMEOUT);
        said.unwrap_or_else(|said| panic!("round {round}: {said}"));
        println!("round {round}: {:.1} s", took.as_secs_f32());
        seen.extend(shop.thumbprints().await);
        assert_eq!(seen.len(), round * KEYS, "each key is another one");
        shop.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_cannot_become_ready_is_given_up_long_before_its_timeout() {
    let shop = Shop::new().await;
    let _operator = shop.operator();
    for (value, cause) in [
        (
            "keys=4,backend=nowhere",
            "The backend nowhere is not configured",
        ),
        // Of two keys of one name one has it, and the other stands.
        (
            "taken=key-3",
            "The key name key-3 in this HSM belongs to the HsmKey shop/",
        ),
    ] {
        let (said, took) = shop.install(&["--set", value], TIMEOUT);
        let said = said.expect_err(value);
        let says = format!("not ready. status: Failed, message: {cause}");
        assert!(said.contains(&says), "{said}");
        assert!(
            took < TIMEOUT / 2,
            "{value}: {took:?} of {TIMEOUT:?}: {said}"
        );
        shop.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_no_release_succeeds_and_one_that_comes_later_has_it_succeed() {
    let shop = Shop::new().await;
    let (said, took) = shop.install(&[], shop::SHORT);
    let said = said.expect_err("nobody made anything");
    // It waits to the end, since somebody may come.
    let waits = format!("HsmKey/shop/key-{} not ready. status: InProgress", KEYS - 1);
    assert!(said.contains(&waits), "after {took:?}: {said}");
    assert!(said.contains("context deadline exceeded"), "{said}");
    let _operator: Process = shop.operator();
    let (said, _) = shop.upgrade(TIMEOUT);
    said.unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(shop.thumbprints().await.len(), KEYS);
}
