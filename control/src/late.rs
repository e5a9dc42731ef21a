//! What comes late of erased devices. A device is erased at once; what it had sent before may
//! still be on its way, and is erased when it has come. That happens twice: when all has been
//! processed and written, and once more when the processor has said what it held back of the
//! device until it was idle.

use std::collections::HashSet;

use anyhow::Context;
use laneway_log::{Topic, groups};
use laneway_runtime::Lifecycle;
use laneway_store::Erasure;
use laneway_tenancy::{OperatorScope, TenantId};

use crate::erasing::{self, Of};
use crate::underway::{OF_ACCEPTED, behind};
use crate::{Control, rounds};

const LEASE: &str = "erasing";
const LEASE_US: i64 = 60_000_000;
/// It is renewed when it is this old.
const RENEW_US: i64 = LEASE_US / 6;
const PAGE: u32 = 100;

/// Erases what comes late until the drain.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    const FAILS: &str = "what comes late of erased devices is not being erased";
    rounds::until_drain(lifecycle, FAILS, || round(control)).await
}

async fn round(control: &Control) -> anyhow::Result<()> {
    let deps = &control.deps;
    let erasures = deps.store.erasures(&deps.authority);
    // Whose database is away does not keep the others waiting.
    let mut away: HashSet<TenantId> = HashSet::new();
    let mut last: Option<Erasure> = None;
    let mut leased_at = None;
    loop {
        let due = deps
            .clock
            .now_us()
            .saturating_sub(deps.settings.settle_us());
        let page = erasures.open(due, last.as_ref(), PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for erasure in &page {
            let now = deps.clock.now_us();
            if leased_at.is_none_or(|at| at + RENEW_US <= now) {
                let leases = deps.store.leases(&deps.authority);
                let node = &deps.settings.node;
                if !leases.take(LEASE, node, now, LEASE_US).await? {
                    return Ok(());
                }
                leased_at = Some(now);
            }
            if away.contains(&erasure.tenant) {
                continue;
            }
            if let Err(error) = go_on(control, erasure).await {
                tracing::warn!(
                    tenant = %erasure.tenant,
                    error = format!("{error:#}"),
                    "what comes late of a tenant's erased devices is not erased yet; trying again"
                );
                away.insert(erasure.tenant);
            }
        }
        last = page.into_iter().next_back();
    }
}

/// Goes one step further, where it can.
async fn go_on(control: &Control, erasure: &Erasure) -> anyhow::Result<()> {
    let deps = &control.deps;
    let operator = OperatorScope::of_role(&deps.authority);
    let scope = operator.scope(erasure.tenant);
    let devices = deps.store.devices(&scope);
    if erasure.registered {
        devices.erase_late(erasure, None).await?;
        return Ok(());
    }
    let of = Of::Device(erasure.tenant, &erasure.device);
    let found = deps.store.tenants(&operator).find(erasure.tenant).await?;
    let found = found.context("a tenant whose devices are erased is not in the store")?;
    let placement = &found.body.placement;
    let log = &*deps.log;
    let Some(processed_at) = erasure.processed_at else {
        let settle = deps.settings.settle_us();
        let until = erasure.accepted_until.saturating_add(settle);
        if behind(log, of, placement, &OF_ACCEPTED, until)
            .await?
            .is_none()
        {
            let erasures = deps.store.erasures(&deps.authority);
            erasures.processed(erasure, deps.clock.now_us()).await?;
        }
        return Ok(());
    };
    if behind(log, of, placement, &[groups::PROJECTION], processed_at)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let held_back_us = deps.settings.idle_close_seconds.saturating_mul(1_000_000);
    let idle = erasure.asked_at.saturating_add_unsigned(held_back_us);
    let next = (erasure.accepted_until < idle).then_some(idle);
    let states = erasing::erase(control, &operator, of, Topic::ProcessorState).await?;
    let rows = devices.erase_late(erasure, next).await?;
    if states + rows > 0 {
        tracing::info!(tenant = %erasure.tenant, rows, states, "what came late of an erased device is erased");
    }
    Ok(())
}
