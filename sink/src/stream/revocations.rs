//! News of revocations: what is kept of the credential is forgotten, and its open connections
//! end.

use std::sync::Arc;

use laneway_directory::Directory;
use laneway_tenancy::Authenticator;
use tokio::sync::broadcast::error::RecvError;

use super::StreamContext;

/// Follows control changes until the sink stops.
pub async fn follow(
    context: Arc<StreamContext>,
    authenticator: Arc<Authenticator>,
    directory: Arc<Directory>,
) {
    let mut changes = directory.changes();
    loop {
        let change = tokio::select! {
            () = context.stop.cancelled() => return,
            change = changes.recv() => change,
        };
        match change {
            Ok(change) => {
                change.forget_in(&authenticator);
                context.connections.apply(&change);
            }
            Err(RecvError::Lagged(_)) => {
                directory.forget_all_in(&authenticator);
                context.connections.end_all();
            }
            Err(RecvError::Closed) => return,
        }
    }
}
