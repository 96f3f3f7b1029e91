//! The operator on a real node, installed by the real Helm: `make e2e-node`. Each story has a node of its own, in namespaces of its own,
//! and the machine is compared before and after. Elsewhere than there this is skipped: it needs root, and a while.

#[path = "node/backup.rs"]
mod backup;
#[path = "node/certificates.rs"]
mod certificates;
#[path = "node/ends.rs"]
mod ends;
#[path = "node/house.rs"]
mod house;
#[path = "node/machine.rs"]
mod machine;
#[path = "node/module.rs"]
mod module;
mod operator;
#[path = "node/release.rs"]
mod release;
mod softhsm;
#[path = "node/tenant.rs"]
mod tenant;
#[path = "node/trouble.rs"]
mod trouble;
mod user;
#[path = "node/versions.rs"]
mod versions;

use house::on_a_node;

/// The test runs itself by its name, so that is said once.
macro_rules! stories {
    ($($name:ident: $story:path,)*) => {$(
        #[test]
        fn $name() {
            on_a_node(stringify!($name), $story);
        }
    )*};
}

stories! {
    a_key_and_a_namespace_come_back_as_they_were: release::life,
    what_would_end_keys_is_refused: release::guarded,
    a_pod_that_is_killed_forced_away_or_drained_loses_no_key: trouble::of_the_pod,
    a_volume_that_goes_and_comes_back_loses_no_key: trouble::of_the_volume,
    an_upgrade_under_load_loses_no_key_and_an_older_operator_refuses_newer_records: versions::upgraded_and_back,
    a_backup_puts_every_key_back_by_the_commands_of_the_docs: backup::put_back,
    of_two_pods_over_a_module_one_opens_it_and_the_other_takes_over: module::two_pods,
    cert_manager_keeps_the_webhooks_certificate: certificates::kept,
    an_uninstall_keeps_every_key_and_installed_again_all_is_there: ends::uninstalled_and_back,
    hsms_in_the_operators_own_release_are_not_lost_with_it: ends::in_one_release,
    all_goes_for_good_where_somebody_says_so: ends::for_good,
}
