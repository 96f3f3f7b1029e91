//! The rules as a user sees them: on a real control plane, with the real kubectl where a user would use it. One plane and
//! one operator for all of them, a namespace for each test. The backend is the reference in memory, so that a test can ask it what it refuses.

mod operator;

#[path = "rules_on_the_plane/deleting.rs"]
mod deleting;
#[path = "rules_on_the_plane/disasters.rs"]
mod disasters;
#[path = "rules_on_the_plane/hindrances.rs"]
mod hindrances;
#[path = "rules_on_the_plane/hsms.rs"]
mod hsms;
#[path = "rules_on_the_plane/material.rs"]
mod material;
#[path = "rules_on_the_plane/names.rs"]
mod names;
#[path = "rules_on_the_plane/proxies.rs"]
mod proxies;
#[path = "rules_on_the_plane/purging.rs"]
mod purging;
#[path = "rules_on_the_plane/recovering.rs"]
mod recovering;
#[path = "rules_on_the_plane/scene.rs"]
mod scene;
#[path = "rules_on_the_plane/switches.rs"]
mod switches;
#[path = "rules_on_the_plane/waiting.rs"]
mod waiting;

/// How long a day is for the operator of these tests: as long as any.
pub const DAY: chrono::Duration = chrono::Duration::days(1);
