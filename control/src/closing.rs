//! Closing tenants: everything that a tenant has is erased, step by step. Each step may be done
//! twice and is noted when it is done, so that a node that dies on the way leaves nothing behind
//! that the next one would not finish.

use laneway_log::Topic;
use laneway_runtime::Lifecycle;
use laneway_store::{Closure, ClosureStep, StoreError, TenantChange};
use laneway_tenancy::control::{TenantKind, TenantState};
use laneway_tenancy::{OperatorScope, TenantScope};

use crate::erasing::{self, Of};
use crate::{Control, rounds};

const LEASE: &str = "closing";
const LEASE_US: i64 = 60_000_000;
/// Closures that are looked at in one round.
const MOST: u32 = 100;
const PAGE: u32 = 500;

/// Compacted topics that a tenant leaves records in, by the name of their step.
const TOPICS: [Topic; 4] = [
    Topic::TenantEvents,
    Topic::ProcessorState,
    Topic::SinkCursors,
    Topic::SinkSignals,
];

/// Carries closures out until the drain.
pub(crate) async fn run(control: &Control, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    rounds::until_drain(lifecycle, "tenants are not being closed", || round(control)).await
}

async fn round(control: &Control) -> anyhow::Result<()> {
    let deps = &control.deps;
    let closures = deps.store.closures(&deps.authority);
    for mut closure in closures.open(MOST).await? {
        let leases = deps.store.leases(&deps.authority);
        let now = deps.clock.now_us();
        if !leases
            .take(LEASE, &deps.settings.node, now, LEASE_US)
            .await?
        {
            return Ok(());
        }
        // One whose database is away does not keep the others waiting.
        if let Err(error) = close(control, &mut closure).await {
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
async fn close(control: &Control, closure: &mut Closure) -> anyhow::Result<()> {
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
