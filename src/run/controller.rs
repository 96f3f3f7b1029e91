//! Where the controller is started, once this process leads.

use super::Shared;

/// Works until told to stop.
pub(super) async fn start(shared: Shared) -> Result<(), std::convert::Infallible> {
    shared.stop.cancelled().await;
    Ok(())
}
