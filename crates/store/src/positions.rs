//! Latest positions, as the projection wrote them.

use laneway_tenancy::{DeviceId, TenantScope};

use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result};

#[derive(Debug, Clone, PartialEq)]
pub struct LatestPosition {
    pub recorded_at: i64,
    pub fix_id: String,
    pub revision: i64,
    /// JSON, as the projection wrote it.
    pub body: String,
}

/// The latest positions of one tenant's devices.
pub struct Positions<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Positions<'_> {
    pub async fn latest(&self, device: &DeviceId) -> Result<Option<LatestPosition>> {
        let tenant = self.scope.tenant();
        let data = self.store.data(tenant).await?;
        let mut tx = data.read(Access::Tenant(tenant)).await?;
        let row = sqlx::query(
            "SELECT recorded_at, fix_id, revision, body FROM latest_positions
             WHERE tenant_id = $1 AND device_id = $2",
        )
        .bind(tenant.to_string())
        .bind(device.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("reading a latest position")?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let row = Named::new("latest_positions", device.as_str(), &row);
        Ok(Some(LatestPosition {
            recorded_at: row.get("recorded_at")?,
            fix_id: row.get("fix_id")?,
            revision: row.get("revision")?,
            body: row.get("body")?,
        }))
    }
}
