//! What the API server asks before it takes a write: policies that stand in it (`policies`), so that they hold while no
//! operator runs.

pub mod policies;
