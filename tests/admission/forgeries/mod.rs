//! What somebody tries who may not, or who may do all that RBAC can give: each is refused, and a test is named after it. Of each policy
//! one forgery is here that it alone stops: a run takes each policy away in turn, and then that forgery passes.

mod alike;
mod ground;
mod ways;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, DeleteParams};
use kube::{Client, ResourceExt as _};
use managed_hsm_operator::admission::policies::{bindings, policies};
use testplane::{Options, borrow, eventually};

use super::scene::{SOON, apply, install, installation, refused};
use crate::guarded_plane;
use ground::Ground;

/// A dry run of what one policy alone stops.
pub struct Forgery {
    /// The test that is named after it.
    pub test: &'static str,
    pub policy: &'static str,
    act: for<'a> fn(&'a Ground) -> BoxFuture<'a, kube::Result<()>>,
}

/// Each is a test, and all of them a list: so the run that takes policies away tries the very requests of the tests.
macro_rules! forgeries {
    ($($(#[$doc:meta])* async fn $test:ident() is $act:ident, stopped by $policy:literal, saying $words:literal;)*) => {
        pub const ALL: &[Forgery] = &[$(Forgery {
            test: stringify!($test),
            policy: $policy,
            act: |ground| Ground::$act(ground).boxed(),
        }),*];

        $($(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let answer = with_ground($policy, |ground| Ground::$act(ground).boxed()).await;
            refused(answer, $policy, $words);
        })*
    };
}

forgeries! {
    async fn a_purge_in_anothers_name_is_refused() is asks_in_anothers_name, stopped by "purges", saying "requested by alice, not the user admin";
    async fn a_purge_that_executes_is_not_withdrawn() is withdraws_what_executes, stopped by "withdrawal", saying "what is executing ends by itself";
    /// Its namespace is another tenant's now.
    async fn the_keys_of_a_namespace_that_was_taken_over_stay_where_they_are() is accepts_a_taken_namespace, stopped by "recovers", saying "may not recover deletedhsmkeys";
    async fn the_mode_of_a_standing_object_is_not_switched_by_who_may_not_recover() is switches_the_mode, stopped by "create-mode", saying "which createMode CreateOrRecover asks for";
    async fn on_an_undeletable_cluster_no_purge_is_asked_for() is asks_in_his_own_name, stopped by "undeletable-purges", saying "undeletable";
    async fn on_an_undeletable_cluster_no_hsm_is_made_without_soft_delete() is makes_an_hsm_without_soft_delete, stopped by "undeletable-hsms", saying "soft-delete";
    async fn a_proxy_is_not_written_by_hand() is writes_a_proxy, stopped by "proxies", saying "Only the operator may create deletedhsmkeys";
    async fn the_public_key_of_a_live_key_is_not_swapped() is swaps_a_public_key, stopped by "status", saying "Only the operator may update hsmkeys signing";
    async fn our_finalizer_is_not_stripped() is strips_our_finalizer, stopped by "finalizer", saying "keep metadata.finalizers as they are";
    async fn the_retention_of_an_hsm_is_not_shortened() is shortens_a_retention, stopped by "fixed-in-hsms", saying "30 days in effect, and cannot become 7";
    async fn the_protection_of_a_key_is_not_taken_off() is takes_protection_off, stopped by "fixed-in-keys", saying "can never be turned off again";
    async fn a_recover_is_not_turned_to_another_object() is turns_a_recover, stopped by "written-once", saying "spec was fixed as a whole";
    async fn our_definitions_are_not_deleted() is deletes_a_definition, stopped by "definitions", saying "nobody may delete it by mistake";
    async fn the_pins_are_not_deleted() is deletes_the_pins, stopped by "store", saying "Every key hangs on secrets pins";
}

/// Of an undeletable cluster, where the policy is.
fn is_of_an_undeletable(policy: &str) -> bool {
    policy.starts_with("undeletable-")
}

async fn with_ground<T>(
    policy: &str,
    act: impl for<'a> FnOnce(&'a Ground) -> BoxFuture<'a, T>,
) -> T {
    if is_of_an_undeletable(policy) {
        let plane = borrow(Options::without_controllers()).await;
        let ground = Ground::new(&plane, policy).await;
        install(&plane, &installation(true)).await;
        act(&ground).await
    } else {
        act(&Ground::new(guarded_plane().await, policy).await).await
    }
}

#[test]
fn each_policy_has_its_forgery() {
    for policy in policies(&installation(true)) {
        let name = policy.name_any();
        let its = |forgery: &&Forgery| format!("{}.managedhsm.dev", forgery.policy) == name;
        assert_eq!(ALL.iter().filter(its).count(), 1, "{name}");
    }
}

/// A policy and its binding.
struct Pair(ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding);

impl Pair {
    fn of(policy: &str) -> Self {
        let name = format!("{policy}.managedhsm.dev");
        let of = installation(true);
        let one = policies(&of).into_iter().find(|one| one.name_any() == name);
        let its = bindings(&of).into_iter().find(|one| one.name_any() == name);
        Self(one.expect("a policy"), its.expect("its binding"))
    }

    async fn stand(&self, client: &Client) {
        apply(client, &self.0).await;
        apply(client, &self.1).await;
    }

    async fn go(&self, client: &Client) {
        let (name, now) = (self.0.name_any(), DeleteParams::default());
        let bound: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        bound.delete(&name, &now).await.expect("it was there");
        let all: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        all.delete(&name, &now).await.expect("it was there");
    }
}

/// Waits until the forgery is stopped by its own policy, or by none.
async fn becomes(ground: &Ground, forgery: &Forgery, stopped: bool) {
    let by = format!("'{}.managedhsm.dev'", forgery.policy);
    let what = format!("{} is stopped: {stopped}", forgery.test);
    eventually(&what, SOON, async || match (forgery.act)(ground).await {
        Ok(()) if !stopped => Ok(()),
        Err(kube::Error::Api(status)) if stopped && status.message.contains(&by) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Without its policy each forgery passes, so that its test would fail; with it back, it is stopped again.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_single_policy_its_forgery_passes() {
    let plane = borrow(Options::without_controllers()).await;
    let ground = Ground::new(&plane, "without").await;
    for undeletable in [false, true] {
        install(&plane, &installation(undeletable)).await;
        for forgery in ALL
            .iter()
            .filter(|forgery| is_of_an_undeletable(forgery.policy) == undeletable)
        {
            let pair = Pair::of(forgery.policy);
            becomes(&ground, forgery, true).await;
            pair.go(&ground.scene.admin).await;
            becomes(&ground, forgery, false).await;
            pair.stand(&ground.scene.admin).await;
            becomes(&ground, forgery, true).await;
        }
    }
}
