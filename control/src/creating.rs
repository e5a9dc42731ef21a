//! Creations of tenants that were interrupted: undone, so that the slug is free again and nothing
//! of them is left. Any node does it, and it may be done twice.

use laneway_runtime::Lifecycle;

use crate::{Control, rounds};

/// Creations that are looked at in one round.
const MOST: u32 = 100;

/// Undoes until the drain.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let fails = "it cannot be looked for creations that were interrupted";
    rounds::until_drain(lifecycle, fails, || round(control)).await
}

async fn round(control: &Control) -> anyhow::Result<()> {
    let deps = &control.deps;
    let creations = deps.store.creations(&deps.authority);
    for tenant in creations.interrupted(deps.clock.now_us(), MOST).await? {
        match creations.undo(tenant).await {
            Ok(()) => tracing::info!(%tenant, "a creation that was interrupted is undone"),
            Err(error) => {
                tracing::warn!(%tenant, %error, "a creation that was interrupted is not undone yet");
            }
        }
    }
    Ok(())
}
