//! Erasing a device: it, and what the store knows of it.

use laneway_tenancy::DeviceId;

use super::{Devices, list, missing, remove};
use crate::access::{Access, Tx};
use crate::error::{Doing, Result};
use crate::outbox::next_versions;
use crate::shards::OF_TENANTS;

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedDevice {
    /// Positions and sessions.
    pub projected: u64,
    /// Addresses and other personal values in the audit trail.
    pub personal: u64,
}

impl Devices<'_> {
    /// Removes a device with its credentials, positions and sessions, and what the audit trail
    /// says of it that is personal. Also of one that was removed before. `personal` is the name
    /// under which the trail has it.
    pub async fn erase(&self, id: &DeviceId, personal: &str, at: i64) -> Result<ErasedDevice> {
        let tenant = self.scope.tenant();
        let shard = match self.store.shard_of(tenant).await? {
            Some(name) => Some(self.store.0.shards.get(&name)?),
            None => None,
        };
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        next_versions(&mut tx, tenant, 0).await?;
        let there = list::one(&mut tx, tenant, id).await?.is_some();
        // What a shard has goes first: what is interrupted after it is asked for again.
        let projected = match shard {
            Some(shard) => {
                let mut there = shard.write(Access::Tenant(tenant)).await?;
                let erased = self.erase_projected(&mut there, id).await?;
                there.commit().await?;
                erased
            }
            None => self.erase_projected(&mut tx, id).await?,
        };
        let personal = crate::audit::erase(&mut tx, tenant, personal).await?;
        if there {
            remove(&mut tx, self.scope, id, at).await?;
        } else if projected + personal > 0 {
            tx.touches(tenant, "device", id.as_str(), true, at);
        } else {
            return Err(missing(id));
        }
        self.store.commit_change(tx).await?;
        Ok(ErasedDevice {
            projected,
            personal,
        })
    }

    async fn erase_projected(&self, tx: &mut Tx, id: &DeviceId) -> Result<u64> {
        let mut erased = 0;
        for table in OF_TENANTS {
            erased += sqlx::query(sqlx::AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE tenant_id = $1 AND device_id = $2"
            )))
            .bind(self.scope.tenant().to_string())
            .bind(id.as_str())
            .execute(&mut *tx.inner)
            .await
            .doing("erasing a device")?
            .rows_affected();
        }
        Ok(erased)
    }
}
