//! The webhook's own certificates: made, kept in a Secret of the operator's namespace, trusted through the
//! ValidatingWebhookConfiguration's `caBundle`, and changed at two thirds of their life without a moment of mismatch.
//!
//! The Secret is the one truth, and each write to it is at the resourceVersion of the look: any number of operators, killed
//! anywhere, converge. An authority signs one certificate; its key is thrown away at once.

mod files;
mod keeper;
mod kept;
mod made;
mod step;

pub use files::Files;
pub use keeper::{Keeper, Places};

/// How the certificate comes to the server: by [`crate::http::Identity::set`]. Half a sentence where it cannot be used.
pub type Serve = Box<dyn Fn(&[u8], &[u8]) -> Result<(), String> + Send + Sync>;
