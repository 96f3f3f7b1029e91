//! The pages that people read: what they link to is there, and what of them is written from the code is as the code says. No cluster.

#[path = "docs/links.rs"]
mod links;
#[path = "docs/metrics.rs"]
mod metrics;
#[path = "docs/reference.rs"]
mod reference;
#[path = "docs/words.rs"]
mod words;
