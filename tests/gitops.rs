//! HSMs and keys that live in Git, with the real controllers of Flux and of Argo CD, the real Git and the real kubectl: `make e2e-gitops`. What
//! they print stands in `docs/gitops.md`. Elsewhere than there this is skipped: it builds four large programs.
#![cfg(feature = "embedded")]

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
    a_release_of_the_chart_and_one_of_a_teams_hsm_come_and_go_and_no_key_goes_with_them: flux_releases::come_and_go,
    it_is_ready_when_its_hsms_are_and_never_without_an_operator: flux_stories::ready,
    what_was_pruned_and_put_back_says_how_it_comes_back_and_a_recover_in_git_does_it: flux_stories::pruned,
    without_the_webhook_it_stands_and_says_so_and_a_recover_beside_it_fills_it: flux_stories::without_webhook,
    what_git_declares_with_create_or_recover_comes_back_by_itself: flux_stories::by_itself,
    a_namespace_that_git_makes_anew_gets_its_keys_back_by_the_recover_that_is_named: flux_stories::namespace,
    force_deletes_nothing_for_a_fixed_field_and_what_it_deletes_for_nonsense_comes_back: flux_stories::forced,
    what_must_not_be_pruned_is_not: flux_stories::kept,
    of_ten_changes_one_that_is_refused_holds_up_all_and_says_why: flux_stories::one_of_ten,
}
