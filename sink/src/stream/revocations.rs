//! News of revocations: what is kept of the credential is forgotten, and its open connections
//! end, as those do whose credential ends by itself.

use std::sync::Arc;
use std::time::Duration;

use laneway_directory::Directory;
use laneway_runtime::Clock;
use laneway_tenancy::Authenticator;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use super::StreamContext;

/// How long a connection may outlive its credential.
const OUTLIVED: Duration = Duration::from_millis(250);

/// Follows control changes until the sink stops, and the time at which credentials end.
pub async fn follow(
    context: Arc<StreamContext>,
    authenticator: Arc<Authenticator>,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
) {
    let mut changes = directory.changes();
    let mut tick = tokio::time::interval(OUTLIVED);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            () = context.stop.cancelled() => return,
            _ = tick.tick() => {
                context.connections.end_outlived(clock.now_us());
                continue;
            }
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
