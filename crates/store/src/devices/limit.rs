//! How many devices a tenant may have.

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::access::Tx;
use crate::error::{Doing, Result, StoreError};
use crate::tenants;

/// Room for more devices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) left: u64,
    pub(crate) most: u64,
}

/// The transaction has to hold the tenant's row ([`crate::outbox::next_versions`]): then nobody
/// else registers devices before it ends, and what is counted stays true.
pub(crate) async fn room(tx: &mut Tx, tenant: TenantId) -> Result<Room> {
    let found = tenants::by_id(tx, tenant)
        .await?
        .ok_or_else(|| StoreError::Missing {
            what: format!("tenant {tenant}"),
        })?;
    let most = u64::from(found.body.limits.devices);
    if most == 0 {
        return Ok(Room {
            left: u64::MAX,
            most,
        });
    }
    let row = sqlx::query("SELECT COUNT(*) FROM devices WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_one(&mut *tx.inner)
        .await
        .doing("counting devices")?;
    let count: i64 = row.try_get(0).doing("counting devices")?;
    let left = most.saturating_sub(u64::try_from(count).unwrap_or(0));
    Ok(Room { left, most })
}
