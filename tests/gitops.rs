//! HSMs and keys that live in Git, with the real controllers of Flux and of Argo CD, the real Git and the real kubectl: `make e2e-gitops`. What
//! they print stands in `docs/gitops.md`. Elsewhere than there this is skipped: it builds four large programs.
#![cfg(feature = "embedded")]

#[path = "gitops/flux.rs"]
mod flux;
#[path = "gitops/flux_stories.rs"]
mod flux_stories;
#[path = "gitops/house.rs"]
mod house;
mod operator;
mod process;
#[path = "gitops/repository.rs"]
mod repository;
mod user;
