//! What is there from the first start: the platform's own tenant, which operators' keys belong to,
//! the namespace that all tenants share, and that of the platform's notices.

use std::time::Duration;

use laneway_log::Log;
use laneway_notices::RUNTIME_SLUG;
use laneway_runtime::Lifecycle;
use laneway_store::{NewTenant, Store, StoreError, Tenant};
use laneway_tenancy::control::TenantKind;
use laneway_tenancy::{OperatorScope, Placement, Random, TenantId, new_id};

use crate::control::ControlDeps;

pub const PLATFORM_SLUG: &str = "platform";

/// The platform's tenant; created at the first start.
pub async fn ensure_platform(
    store: &Store,
    operator: &OperatorScope,
    log: &dyn Log,
    random: &dyn Random,
    now_us: i64,
) -> Result<Tenant, StoreError> {
    let slug = (PLATFORM_SLUG, TenantKind::Platform, 1);
    ensure(store, operator, slug, log, random, now_us).await
}

/// A tenant that is nobody's: its slug, its kind and its lanes.
async fn ensure(
    store: &Store,
    operator: &OperatorScope,
    (slug, kind, lanes): (&str, TenantKind, u32),
    log: &dyn Log,
    random: &dyn Random,
    now_us: i64,
) -> Result<Tenant, StoreError> {
    let tenants = store.tenants(operator);
    if let Some(found) = tenants.by_slug(slug).await? {
        return is_own(found, kind);
    }
    let id = TenantId::from_u128(new_id(random, now_us));
    let partitions = log.sets().size();
    let placement = Placement::first(id, lanes.min(partitions), partitions);
    let new = NewTenant {
        kind,
        ..NewTenant::plain(id, slug, placement)
    };
    match tenants.create(new, now_us).await {
        // Another node was first.
        Err(StoreError::Exists { .. }) => {
            let found = tenants.by_slug(slug).await?;
            let found = found.ok_or_else(|| StoreError::Missing {
                what: format!("tenant {slug}"),
            })?;
            is_own(found, kind)
        }
        created => created,
    }
}

/// Never a customer, whatever it is called.
fn is_own(found: Tenant, kind: TenantKind) -> Result<Tenant, StoreError> {
    if found.body.kind == kind {
        return Ok(found);
    }
    Err(StoreError::Config(format!(
        "{} is a customer's slug: hosts.default_namespace has to be another one",
        found.body.slug
    )))
}

/// Tries until the store is there, or the drain begins.
pub(crate) async fn ensure_until_drain(
    deps: &ControlDeps,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let operator = OperatorScope::of_role(&deps.authority);
    loop {
        let (log, random, now) = (&*deps.log, &*deps.random, deps.clock.now_us());
        let shared = deps.directory.hosts().default_namespace();
        let shared = (shared, TenantKind::Default, deps.settings.default_lanes);
        let ensured: Result<(), StoreError> = async {
            ensure_platform(&deps.store, &operator, log, random, now).await?;
            for namespace in [shared, (RUNTIME_SLUG, TenantKind::Runtime, 1)] {
                ensure(&deps.store, &operator, namespace, log, random, now).await?;
            }
            Ok(())
        }
        .await;
        match ensured {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the platform's own tenants cannot be looked up; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}
