//! HSMs and keys that live in Git, with the real controllers of Flux and of Argo CD, the real Git and the real kubectl: `make e2e-gitops`. What
//! they print stands in `docs/gitops.md`. Elsewhere than there this is skipped: it builds four large programs.
#![cfg(feature = "embedded")]

#[path = "gitops/argo_back.rs"]
mod argo_back;
#[path = "gitops/argo_bad.rs"]
mod argo_bad;
#[path = "gitops/argo_prune.rs"]
mod argo_prune;
#[path = "gitops/argo_stories.rs"]
mod argo_stories;
#[path = "gitops/argocd.rs"]
mod argocd;
#[path = "gitops/flux.rs"]
mod flux;
#[path = "gitops/flux_releases.rs"]
mod flux_releases;
#[path = "gitops/flux_stories.rs"]
mod flux_stories;
#[path = "gitops/health.rs"]
mod health;
#[path = "gitops/house.rs"]
mod house;
mod operator;
mod process;
#[path = "gitops/repository.rs"]
mod repository;
#[path = "gitops/team.rs"]
mod team;
mod user;

/// What becomes of HSMs that Git declares, each story on a plane of its own.
macro_rules! stories {
    ($($name:ident: $story:path,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            if std::env::var_os("E2E_GITOPS").is_none() {
                return eprintln!("skipped: make e2e-gitops runs this");
            }
            $story().await;
        }
    )*};
}

stories! {
    argo_cd_says_of_each_object_what_its_conditions_say: health::of_each_object,
    argo_cd_is_green_when_its_hsms_are_ready_and_never_without_an_operator: argo_stories::ready,
    argo_cd_gives_a_reserved_name_up_and_the_recover_that_it_names_ends_it: argo_stories::refused,
    argo_cd_recovers_by_git_in_the_wave_before: argo_back::in_git,
    argo_cd_recovers_by_git_and_applies_server_side: argo_back::in_git_server_side,
    argo_cd_holds_the_next_wave_for_a_recover_that_failed: argo_back::wrong_uid,
    argo_cd_gets_back_by_itself_what_was_declared_so: argo_back::by_itself,
    argo_cd_makes_a_namespace_anew_and_the_recover_that_is_named_fills_it: argo_back::namespace,
    argo_cd_may_give_up_a_namespace_of_its_own_and_a_sync_ends_it: argo_back::namespace_in_git,
    argo_cd_prunes_nothing_that_says_so: argo_prune::kept,
    argo_cd_asks_before_it_prunes: argo_prune::confirmed,
    argo_cd_deletes_an_application_with_all_that_comes_back: argo_prune::cascade,
    argo_cd_replaces_and_no_key_is_lost: argo_prune::replaced,
    argo_cd_replaces_by_force_and_no_key_is_lost: argo_prune::forced,
    argo_cd_replaces_by_force_what_may_not_come_back_by_itself: argo_prune::forced_and_refused,
    argo_cd_never_prunes_what_was_deleted: argo_prune::by_label,
    argo_cd_of_ten_changes_one_is_refused: argo_bad::one_of_ten,
    argo_cd_of_ten_changes_one_is_refused_server_side: argo_bad::one_of_ten_server_side,
    argo_cd_without_the_webhook_shows_what_stands_as_degraded: argo_stories::stands,
    flux_releases_of_the_chart_and_of_a_team_come_and_go_and_no_key_goes_with_them: flux_releases::come_and_go,
    flux_is_ready_when_its_hsms_are_and_never_without_an_operator: flux_stories::ready,
    flux_says_how_what_was_pruned_comes_back_and_a_recover_in_git_does_it: flux_stories::pruned,
    flux_without_the_webhook_shows_what_stands_and_a_recover_beside_it_fills_it: flux_stories::without_webhook,
    flux_gets_back_by_itself_what_was_declared_so: flux_stories::by_itself,
    flux_makes_a_namespace_anew_and_the_recover_that_is_named_fills_it: flux_stories::namespace,
    flux_forces_no_fixed_field_and_what_it_deletes_for_nonsense_comes_back: flux_stories::forced,
    flux_prunes_nothing_that_says_so: flux_stories::kept,
    flux_of_ten_changes_one_holds_up_all_and_says_why: flux_stories::one_of_ten,
}
