//! Closing tenants: everything that a tenant has is erased, step by step. Each step may be done
//! twice and is noted when it is done, so that a node that dies on the way leaves nothing behind
//! that the next one would not finish.
//!
//! What the tenant had sent before may still be on its way, and would write rows after they were
//! erased. So two steps wait before: until all that was accepted has been processed, and until
//! all that was derived of it has been written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use laneway_log::Topic;
use laneway_log::groups::{Group, PROJECTION};
use laneway_runtime::Lifecycle;
use laneway_store::{Closure, ClosureStep, StoreError, TenantChange};
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::{OperatorScope, TenantId, TenantScope};

use crate::erasing::{self, Of};
use crate::underway::{OF_ACCEPTED, behind};
use crate::{Control, rounds};

const LEASE: &str = "closing";
const LEASE_US: i64 = 60_000_000;
/// Closures that are looked at in one round.
const MOST: u32 = 100;
const PAGE: u32 = 500;

/// Steps that wait.
const ACCEPTED: &str = "accepted";
const DERIVED: &str = "derived";
/// Writes rows of what was derived.
const OF_DERIVED: [Group; 1] = [PROJECTION];

/// Compacted topics that a tenant leaves records in, by the name of their step.
const TOPICS: [Topic; 4] = [
    Topic::TenantEvents,
    Topic::ProcessorState,
    Topic::SinkCursors,
    Topic::SinkSignals,
];

/// Carries closures out until the drain.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let waits = Waits::default();
    let round = || round(control, &waits);
    rounds::until_drain(lifecycle, "tenants are not being closed", round).await
}

/// The group that each closure was last said to wait for.
#[derive(Default)]
struct Waits(Mutex<HashMap<TenantId, &'static str>>);

impl Waits {
    fn keep(&self, open: &[Closure]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|tenant, _| open.iter().any(|c| c.tenant == *tenant));
    }

    /// Whether it was not said before.
    fn first(&self, tenant: TenantId, group: &'static str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(tenant, group) != Some(group)
    }
}

async fn round(control: &Control, waits: &Waits) -> anyhow::Result<()> {
    let deps = &control.deps;
    let closures = deps.store.closures(&deps.authority);
    let open = closures.open(MOST).await?;
    waits.keep(&open);
    for mut closure in open {
        let leases = deps.store.leases(&deps.authority);
        let now = deps.clock.now_us();
        if !leases
            .take(LEASE, &deps.settings.node, now, LEASE_US)
            .await?
        {
            return Ok(());
        }
        // One whose database is away does not keep the others waiting.
        if let Err(error) = close(control, &mut closure, waits).await {
            tracing::warn!(
                tenant = %closure.tenant,
                error = format!("{error:#}"),
                "a tenant is not closed yet; trying again"
            );
        }
    }
    Ok(())
}

/// Goes as far as it can.
async fn close(control: &Control, closure: &mut Closure, waits: &Waits) -> anyhow::Result<()> {
    let deps = &control.deps;
    let operator = OperatorScope::of_role(&deps.authority);
    let scope = operator.scope(closure.tenant);
    if !below(control, &scope).await? {
        return Ok(());
    }
    let closures = deps.store.closures(&deps.authority);
    if !closure.has_done("destinations") {
        let count = destinations(control, &scope).await?;
        closures
            .note(closure, step(control, "destinations", count))
            .await?;
    }
    if !closure.has_done("grants") {
        let count = granted(control, &scope).await?;
        closures
            .note(closure, step(control, "grants", count))
            .await?;
    }
    if !nothing_under_way(control, closure, waits).await? {
        return Ok(());
    }
    if !closure.has_done("rows") {
        let count = closures.erase(closure.tenant).await?;
        closures.note(closure, step(control, "rows", count)).await?;
    }
    // What is still to be told of it would come after the marks.
    if !closures.is_told(closure.tenant).await? {
        return Ok(());
    }
    for topic in TOPICS {
        if !closure.has_done(topic.name()) {
            let count =
                erasing::erase(control, &operator, Of::Tenant(closure.tenant), topic).await?;
            closures
                .note(closure, step(control, topic.name(), count))
                .await?;
        }
    }
    closures
        .finish(&operator, closure.tenant, deps.clock.now_us())
        .await?;
    tracing::info!(tenant = %closure.tenant, "a tenant is closed");
    Ok(())
}

/// Whether nothing is on its way any more that would write something of the tenant.
async fn nothing_under_way(
    control: &Control,
    closure: &mut Closure,
    waits: &Waits,
) -> anyhow::Result<bool> {
    let deps = &control.deps;
    let closures = deps.store.closures(&deps.authority);
    let settled = closure.begun_at.saturating_add(deps.settings.settle_us());
    if !closure.has_done(ACCEPTED) {
        if deps.clock.now_us() < settled
            || is_waiting(control, closure, waits, &OF_ACCEPTED, settled).await?
        {
            return Ok(false);
        }
        closures.note(closure, step(control, ACCEPTED, 0)).await?;
    }
    if !closure.has_done(DERIVED) {
        let accepted = closure.done.iter().find(|step| step.what == ACCEPTED);
        let accepted_at = accepted.map_or(settled, |step| step.at);
        if is_waiting(control, closure, waits, &OF_DERIVED, accepted_at).await? {
            return Ok(false);
        }
        closures.note(closure, step(control, DERIVED, 0)).await?;
    }
    Ok(true)
}

/// Whether one of the groups has not read what there was of the tenant before a time.
async fn is_waiting(
    control: &Control,
    closure: &Closure,
    waits: &Waits,
    groups: &[Group],
    before: i64,
) -> anyhow::Result<bool> {
    let (deps, tenant) = (&control.deps, closure.tenant);
    let operator = OperatorScope::of_role(&deps.authority);
    let found = deps.store.tenants(&operator).find(tenant).await?;
    let found = found.context("a tenant that is being closed is not in the store")?;
    let placement = &found.body.placement;
    let behind = behind(&*deps.log, Of::Tenant(tenant), placement, groups, before).await?;
    if let Some(behind) = &behind
        && waits.first(tenant, behind.group)
    {
        tracing::info!(%tenant, %behind, "a tenant is closed once what it has sent is through");
    }
    Ok(behind.is_some())
}

fn step(control: &Control, what: &str, count: u64) -> ClosureStep {
    ClosureStep {
        what: what.to_owned(),
        count,
        at: control.deps.clock.now_us(),
    }
}

/// Whether all tenants and namespaces below are closed; those that are open begin to close.
async fn below(control: &Control, scope: &TenantScope) -> anyhow::Result<bool> {
    let deps = &control.deps;
    let family = deps.store.family(scope);
    let mut closed = true;
    for kind in [TenantKind::Tenant, TenantKind::Namespace] {
        let mut after = None;
        loop {
            let page = family.list(kind, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for tenant in page {
                closed &= tenant.own_state == TenantState::Closed;
                if matches!(
                    tenant.own_state,
                    TenantState::Active | TenantState::Suspended
                ) {
                    let change = TenantChange::State(TenantState::Closing);
                    family
                        .change(tenant.id, None, change, deps.clock.now_us())
                        .await?;
                }
            }
        }
    }
    Ok(closed)
}

/// Each with news of it: the sinks let go of them.
async fn destinations(control: &Control, scope: &TenantScope) -> anyhow::Result<u64> {
    let deps = &control.deps;
    let destinations = deps.store.destinations(scope);
    let mut count = 0;
    loop {
        let page = destinations.list(None, PAGE).await?;
        if page.is_empty() {
            return Ok(count);
        }
        for destination in page {
            destinations
                .delete(destination.id, deps.clock.now_us())
                .await?;
            count += 1;
        }
    }
}

/// What tenants have granted to it, where it is a partner: each with news in that tenant's name.
async fn granted(control: &Control, scope: &TenantScope) -> anyhow::Result<u64> {
    let deps = &control.deps;
    let operator = OperatorScope::of_role(&deps.authority);
    let granted = deps.store.granted(scope);
    let mut count = 0;
    loop {
        let page = granted.list(None, PAGE).await?;
        if page.is_empty() {
            return Ok(count);
        }
        for grant in page {
            let tenant = operator.scope(grant.tenant);
            let grants = deps.store.grants(&tenant);
            match grants.delete(grant.id, deps.clock.now_us()).await {
                // Its tenant was first.
                Ok(()) | Err(StoreError::Missing { .. }) => count += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
