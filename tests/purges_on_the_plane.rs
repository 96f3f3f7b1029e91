//! Purges by the clock, and what limits those on request: on a real control plane, with a day of two seconds. One plane and one operator for the first,
//! others of their own settings, or clock, for the rest.

mod operator;

#[path = "purges_on_the_plane/clock.rs"]
mod clock;
#[path = "purges_on_the_plane/limits.rs"]
mod limits;
#[path = "purges_on_the_plane/retention.rs"]
mod retention;
#[allow(
    dead_code,
    reason = "shared with the rules' tests, which use all of it"
)]
#[path = "rules_on_the_plane/scene.rs"]
mod scene;

/// How long a day is for the operator of these tests.
pub const DAY: chrono::Duration = chrono::Duration::seconds(2);
