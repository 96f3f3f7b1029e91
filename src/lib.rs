//! A Kubernetes operator that gives HSMs and the keys in them the soft-delete of Azure Managed HSM.

// Product code does not panic; where it provably cannot, an `expect` with its reason says so.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

#[forbid(unsafe_code)]
pub mod admission;
#[forbid(unsafe_code)]
pub mod api;
pub mod backend;
#[forbid(unsafe_code)]
pub mod clock;
#[forbid(unsafe_code)]
pub mod config;
#[forbid(unsafe_code)]
pub mod controller;
#[forbid(unsafe_code)]
pub mod http;
#[forbid(unsafe_code)]
pub mod leader;
#[forbid(unsafe_code)]
pub mod manifests;
#[forbid(unsafe_code)]
pub mod metrics;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod run;
#[forbid(unsafe_code)]
pub mod softdelete;
#[forbid(unsafe_code)]
pub mod telemetry;
