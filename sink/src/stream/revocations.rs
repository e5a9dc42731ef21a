//! News of revocations: what is kept of the credential is forgotten, and its open connections
//! end.

use std::sync::Arc;

use laneway_directory::{Directory, DirectoryChange};
use laneway_schemas::ControlKind;
use laneway_tenancy::{Authenticator, ChangeKind};
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
                forget(&authenticator, &change);
                context.connections.apply(&change);
            }
            Err(RecvError::Lagged(_)) => {
                for tenant in directory.tenants() {
                    authenticator.forget(tenant.id, ChangeKind::Tenant, "");
                }
                context.connections.end_all();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn forget(authenticator: &Authenticator, change: &DirectoryChange) {
    let kind = match change.kind {
        ControlKind::Tenant => ChangeKind::Tenant,
        ControlKind::Device => ChangeKind::Device,
        ControlKind::Credential => ChangeKind::Credential,
        ControlKind::Key => ChangeKind::Key,
        ControlKind::Destination => return,
    };
    authenticator.forget(change.tenant, kind, &change.id);
}
