//! The plugin as people call it: the real kubectl finds it on the PATH, on a real control plane with the real operator, as users who may
//! do all, some or nothing.

#[path = "plugin/choosing.rs"]
mod choosing;
#[path = "plugin/completing.rs"]
mod completing;
mod operator;
#[cfg(feature = "embedded")]
#[path = "plugin/page.rs"]
mod page;
#[cfg(feature = "embedded")]
#[path = "plugin/playing.rs"]
mod playing;
mod process;
#[path = "plugin/purging.rs"]
mod purging;
#[path = "plugin/recovering.rs"]
mod recovering;
#[path = "plugin/rights.rs"]
mod rights;
#[path = "plugin/scene.rs"]
mod scene;
mod user;
#[path = "plugin/without.rs"]
mod without;
