//! The platform's own tenant: operators' keys belong to it.

use std::time::Duration;

use laneway_log::{Log, Topic};
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
    let tenants = store.tenants(operator);
    if let Some(found) = tenants.by_slug(PLATFORM_SLUG).await? {
        return Ok(found);
    }
    let id = TenantId::from_u128(new_id(random, now_us));
    let placement = Placement::first(id, 1, log.partitions(Topic::LocationUpdates));
    let new = NewTenant {
        kind: TenantKind::Platform,
        ..NewTenant::plain(id, PLATFORM_SLUG, placement)
    };
    match tenants.create(new, now_us).await {
        // Another node was first.
        Err(StoreError::Exists { .. }) => {
            let found = tenants.by_slug(PLATFORM_SLUG).await?;
            found.ok_or_else(|| StoreError::Missing {
                what: "tenant platform".to_owned(),
            })
        }
        created => created,
    }
}

/// Tries until the store is there, or the drain begins.
pub(crate) async fn ensure_until_drain(
    deps: &ControlDeps,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let operator = OperatorScope::of_role(&deps.authority);
    loop {
        let ensured = ensure_platform(
            &deps.store,
            &operator,
            &*deps.log,
            &*deps.random,
            deps.clock.now_us(),
        )
        .await;
        match ensured {
            Ok(_) => return Ok(()),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the platform's tenant cannot be looked up; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}
