//! A Kubernetes operator that gives HSMs and the keys in them the soft-delete of Azure Managed HSM.

#[forbid(unsafe_code)]
pub mod api;
pub mod backend;
#[forbid(unsafe_code)]
pub mod controller;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod softdelete;
