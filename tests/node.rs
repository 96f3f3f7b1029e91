//! The operator on a real node, installed by the real Helm: `make e2e-node`. Each story has a node of its own, in namespaces of its own,
//! and the machine is compared before and after. Elsewhere than there this is skipped: it needs root, and a while.

#[path = "node/ends.rs"]
mod ends;
#[path = "node/house.rs"]
mod house;
#[path = "node/machine.rs"]
mod machine;
mod operator;
#[path = "node/release.rs"]
mod release;
#[path = "node/tenant.rs"]
mod tenant;
#[path = "node/trouble.rs"]
mod trouble;
mod user;
#[path = "node/versions.rs"]
mod versions;

use house::on_a_node;

#[test]
fn a_key_and_a_namespace_come_back_as_they_were() {
    on_a_node(
        "a_key_and_a_namespace_come_back_as_they_were",
        release::life,
    );
}

#[test]
fn what_would_end_keys_is_refused() {
    on_a_node("what_would_end_keys_is_refused", release::guarded);
}

#[test]
fn a_pod_that_is_killed_forced_away_or_drained_loses_no_key() {
    on_a_node(
        "a_pod_that_is_killed_forced_away_or_drained_loses_no_key",
        trouble::of_the_pod,
    );
}

#[test]
fn a_volume_that_goes_and_comes_back_loses_no_key() {
    on_a_node(
        "a_volume_that_goes_and_comes_back_loses_no_key",
        trouble::of_the_volume,
    );
}

#[test]
fn an_upgrade_under_load_loses_no_key_and_an_older_operator_refuses_newer_records() {
    on_a_node(
        "an_upgrade_under_load_loses_no_key_and_an_older_operator_refuses_newer_records",
        versions::upgraded_and_back,
    );
}

#[test]
fn an_uninstall_keeps_every_key_and_installed_again_all_is_there() {
    on_a_node(
        "an_uninstall_keeps_every_key_and_installed_again_all_is_there",
        ends::uninstalled_and_back,
    );
}

#[test]
fn hsms_in_the_operators_own_release_are_not_lost_with_it() {
    on_a_node(
        "hsms_in_the_operators_own_release_are_not_lost_with_it",
        ends::in_one_release,
    );
}

#[test]
fn all_goes_for_good_where_somebody_says_so() {
    on_a_node("all_goes_for_good_where_somebody_says_so", ends::for_good);
}
