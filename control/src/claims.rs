//! Claims in the main database that nothing stands behind any more: released, so that a slug or a
//! host is free again, and hashes of secrets that are gone do not pile up.

use std::sync::{Mutex, PoisonError};

use laneway_runtime::Lifecycle;

use crate::{Control, rounds};

const LEASE: &str = "claims";
const LEASE_US: i64 = 60_000_000;
/// From the end of a sweep to the next one.
const EVERY_US: i64 = 3600 * 1_000_000;
/// Secrets that are looked at in one round.
const PAGE: u32 = 500;

/// How far a sweep is.
#[derive(Debug, Clone, Default)]
struct Sweep {
    /// The last secret's hash that was looked at.
    after: String,
    not_before: i64,
}

/// Sweeps until the drain, a page a round.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let sweep = Mutex::new(Sweep::default());
    let fails = "old claims of tenants in databases of their own are not released";
    rounds::until_drain(lifecycle, fails, || round(control, &sweep)).await
}

async fn round(control: &Control, sweep: &Mutex<Sweep>) -> anyhow::Result<()> {
    let deps = &control.deps;
    let now = deps.clock.now_us();
    let at = sweep.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if now < at.not_before {
        return Ok(());
    }
    let leases = deps.store.leases(&deps.authority);
    if !leases
        .take(LEASE, &deps.settings.node, now, LEASE_US)
        .await?
    {
        return Ok(());
    }
    let claims = deps.store.claims(&deps.authority);
    if at.after.is_empty() {
        claims.sweep_names(now).await?;
    }
    let swept = claims.sweep_secrets(&at.after, now, PAGE).await?;
    let not_before = match swept.next {
        Some(_) => now,
        None => now + EVERY_US,
    };
    let after = swept.next.unwrap_or_default();
    *sweep.lock().unwrap_or_else(PoisonError::into_inner) = Sweep { after, not_before };
    Ok(())
}
