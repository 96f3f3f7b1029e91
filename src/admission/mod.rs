//! What the API server asks before it takes a write: policies that stand in it (`policies`), so that they hold while no
//! operator runs, and a webhook that knows more and may be missing (`webhook`).

pub mod policies;
pub mod webhook;
