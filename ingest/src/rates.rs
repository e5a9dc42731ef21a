//! A tenant's rate holds over all ingest nodes together: each reports what it sees, and takes
//! its part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use laneway_directory::Directory;
use laneway_runtime::{Clock, Lifecycle};
use laneway_store::{Store, StoreError};
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::limits::{EXCHANGE_MS, SHARE_EXPIRES_MS, allowance};
use laneway_tenancy::{TenantId, TenantLimiter};

/// Exchanges demands with the other nodes.
pub struct Rates {
    store: Store,
    authority: RoleAuthority,
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    /// Tells the nodes apart.
    node: String,
    /// Tenants that this node has reported, and has a part of.
    reported: BTreeSet<TenantId>,
}

impl Rates {
    pub fn new(
        store: Store,
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        node: String,
    ) -> Self {
        let authority = RoleAuthority::for_role("ingest");
        Rates {
            store,
            authority,
            directory,
            clock,
            node,
            reported: BTreeSet::new(),
        }
    }

    /// Exchanges until the drain. While the store is away each node keeps the part it had.
    pub async fn run(
        mut self,
        limiter: &TenantLimiter,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(EXCHANGE_MS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        let mut last = self.clock.now_us();
        let mut away = false;
        loop {
            tokio::select! {
                () = &mut draining => return Ok(()),
                _ = tick.tick() => {}
            }
            let now = self.clock.now_us();
            let exchanged = self.exchange(limiter, now, now - last).await;
            last = now;
            match (&exchanged, away) {
                (Err(error), false) => {
                    tracing::warn!(%error, "rates are not exchanged with other nodes; each keeps its part until they are");
                }
                (Ok(()), true) => tracing::info!("rates are exchanged with other nodes again"),
                _ => {}
            }
            away = exchanged.is_err();
        }
    }

    async fn exchange(
        &mut self,
        limiter: &TenantLimiter,
        now: i64,
        elapsed_us: i64,
    ) -> Result<(), StoreError> {
        let per_second = |asked: u64| {
            let asked = i64::try_from(asked).unwrap_or(i64::MAX);
            asked.saturating_mul(1_000_000) / elapsed_us.max(1_000)
        };
        let demands: Vec<(TenantId, i64)> = limiter
            .drain_demand()
            .into_iter()
            .map(|(tenant, asked)| (tenant, per_second(asked)))
            .collect();
        if demands.is_empty() && self.reported.is_empty() {
            return Ok(());
        }
        let expires_at = now + i64::try_from(SHARE_EXPIRES_MS * 1000).unwrap_or(i64::MAX);
        let shares = self
            .store
            .rate_shares(&self.authority)
            .exchange(&self.node, &demands, now, expires_at)
            .await?;
        let own: BTreeMap<TenantId, i64> = demands.iter().copied().collect();
        let mut quiet = std::mem::take(&mut self.reported);
        for share in shares {
            let Some(limit) = self
                .directory
                .tenant(share.tenant)
                .map(|t| t.body.limits.events_per_second)
            else {
                continue;
            };
            let own = own.get(&share.tenant).copied().unwrap_or(0);
            limiter.set_allowance(share.tenant, part(limit, own, share.total, share.nodes));
            quiet.remove(&share.tenant);
            self.reported.insert(share.tenant);
        }
        // Their next events come when nobody knows of them yet: until then the whole limit.
        for tenant in quiet {
            limiter.set_allowance(tenant, 0.0);
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
fn part(limit: u32, own: i64, total: i64, nodes: u32) -> f64 {
    allowance(f64::from(limit), own as f64, total as f64, nodes)
}
