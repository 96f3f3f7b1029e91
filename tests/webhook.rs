//! The webhook on the real API server: what it refuses and says, as kubectl prints it; that users go on where it is down, slow
//! or wrong; its certificates.

#[path = "process/mod.rs"]
mod process;

mod webhook {
    pub mod certificates;
    pub mod deleting;
    pub mod refusing;
    pub mod scene;
    pub mod without;
}
#[path = "operator/mod.rs"]
mod operator;
#[path = "user/mod.rs"]
mod user;
