//! When credentials were used, from where they are verified to the store.

use std::sync::Arc;
use std::time::Duration;

use laneway_runtime::Lifecycle;
use laneway_store::Store;
use laneway_tenancy::Authenticator;
use laneway_tenancy::control::RoleAuthority;

const EVERY: Duration = Duration::from_secs(30);

/// Notes them until the drain. What cannot be noted is left: the next use says the same.
pub async fn note(
    authenticator: Arc<Authenticator>,
    store: Store,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let authority = RoleAuthority::for_role("authentication");
    let draining = lifecycle.draining();
    tokio::pin!(draining);
    loop {
        let drained = tokio::select! {
            () = &mut draining => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let uses = authenticator.drain_uses();
        if let Err(error) = store.note_uses(&authority, &uses).await {
            tracing::debug!(%error, "the last uses of credentials are not noted");
        }
        if drained {
            return Ok(());
        }
    }
}
