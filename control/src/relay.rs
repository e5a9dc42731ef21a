//! The outbox relay: control changes from the store to `tenant-events`.
//!
//! Invariant: in the log, a tenant's changes come in the order of their versions; after trouble a
//! run of them may come once more, in the same order. One control node relays at a time, under a
//! lease that it renews before every append and that outlasts the append's own bound: when
//! another node takes over, nothing of the former's is still on its way.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use laneway_directory::record_key;
use laneway_log::{Records, Topic};
use laneway_runtime::Lifecycle;
use laneway_store::{Outbox, OutboxRow};

use crate::Control;

const LEASE: &str = "outbox-relay";
/// Changes relayed at once.
const BATCH: u32 = 500;
/// After trouble.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Relay {
    control: Arc<Control>,
}

impl Relay {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Relay { control }
    }

    /// Relays until the drain, each database by itself: one that is away holds up no other.
    pub(crate) async fn run(&self, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let deps = &self.control.deps;
        let outboxes = deps.store.outboxes(&deps.authority);
        join_all(outboxes.iter().map(|outbox| self.follow(outbox, lifecycle))).await;
        let released = deps
            .store
            .leases(&deps.authority)
            .release(LEASE, &deps.settings.node)
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "the lease of the outbox relay runs out by itself");
        }
        Ok(())
    }

    /// Trouble with the store or the log is retried.
    async fn follow(&self, outbox: &Outbox<'_>, lifecycle: &Lifecycle) {
        let mut changed = outbox.changed();
        let poll = Duration::from_millis(self.control.deps.settings.relay_poll_ms.max(1));
        let draining = lifecycle.draining();
        tokio::pin!(draining);
        let mut in_trouble = false;
        loop {
            // Never given up half-way: an append that is on its way is waited for.
            let relayed = self.relay(outbox).await;
            let wait = match &relayed {
                Ok(true) => Duration::ZERO,
                Ok(false) => poll,
                Err(_) => PAUSE,
            };
            if let Err(error) = &relayed
                && !in_trouble
            {
                tracing::warn!(
                    database = outbox.database(),
                    error = format!("{error:#}"),
                    "control changes are not relayed; trying again"
                );
            }
            in_trouble = relayed.is_err();
            tokio::select! {
                () = &mut draining => break,
                _ = changed.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One batch; whether there may be more.
    async fn relay(&self, outbox: &Outbox<'_>) -> anyhow::Result<bool> {
        let deps = &self.control.deps;
        if outbox.oldest(1).await?.is_empty() {
            return Ok(false);
        }
        if !self.hold_lease().await? {
            return Ok(false);
        }
        let rows = outbox.vetted(outbox.oldest(BATCH).await?).await?;
        let records = self.records(&rows)?;
        deps.log
            .append(records)
            .await
            .context("appending control changes to tenant-events")?;
        outbox.relayed(&rows).await?;
        Ok(!rows.is_empty())
    }

    async fn hold_lease(&self) -> anyhow::Result<bool> {
        let deps = &self.control.deps;
        let lease_us = i64::try_from(deps.settings.relay_lease_ms.saturating_mul(1000))
            .unwrap_or(i64::MAX / 2);
        let leases = deps.store.leases(&deps.authority);
        Ok(leases
            .take(LEASE, &deps.settings.node, deps.clock.now_us(), lease_us)
            .await?)
    }

    fn records(&self, rows: &[OutboxRow]) -> anyhow::Result<Records> {
        let deps = &self.control.deps;
        let mut records = Records::with_capacity(rows.len(), rows.len() * 256);
        let mut value = Vec::new();
        for row in rows {
            let event = row.event();
            value.clear();
            deps.codecs.encode(&event, &mut value).with_context(|| {
                format!("encoding control change {} of {}", row.version, row.tenant)
            })?;
            let key = record_key(&event).with_context(|| {
                format!("keying control change {} of {}", row.version, row.tenant)
            })?;
            records.push(
                Topic::TenantEvents,
                0,
                row.effective_from / 1000,
                key.as_bytes(),
                [],
                &value,
            );
        }
        Ok(records)
    }
}
