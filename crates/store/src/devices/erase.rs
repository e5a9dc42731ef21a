//! Erasing a device: it, and what the store knows of it.

use laneway_tenancy::{DeviceId, Principal};

use super::{Devices, list, missing, remove};
use crate::Store;
use crate::access::{Access, Tx};
use crate::audit::principal_name;
use crate::erasures::{self, Erasure};
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
    /// says of it that is personal. Also of one that was removed before: `known` says that there
    /// was such a device, of which nothing may have been written yet. What is on its way is noted
    /// to be erased when it has come.
    pub async fn erase(&self, id: &DeviceId, known: bool, at: i64) -> Result<ErasedDevice> {
        let tenant = self.scope.tenant();
        let shard = self.store.data_apart(tenant).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        next_versions(&mut tx, tenant, 0).await?;
        let there = list::one(&mut tx, tenant, id).await?.is_some();
        let projected = self.erase_projected(shard, &mut tx, id).await?;
        let personal = self.erase_personal(&mut tx, id).await?;
        if there {
            remove(&mut tx, self.scope, id, at).await?;
        } else if known || projected + personal > 0 {
            tx.touches(tenant, "device", id.as_str(), true, at);
        } else {
            return Err(missing(id));
        }
        erasures::begin(&mut tx, self.scope, id, at).await?;
        self.store.commit_change(tx).await?;
        Ok(ErasedDevice {
            projected,
            personal,
        })
    }

    /// Erases what the projection has written of a device since it was erased, and what is
    /// personal in the audit trail's entries of refusals, which come up to a minute late: how
    /// much. The erasure then waits for what is accepted before `next`, or is done: then metering
    /// forgets that it was seen, too. One that is registered again keeps what it has, and nothing
    /// more is waited for.
    pub async fn erase_late(&self, erasure: &Erasure, next: Option<i64>) -> Result<u64> {
        let tenant = self.scope.tenant();
        let shard = self.store.data_apart(tenant).await?;
        let apart = self.store.home_apart(tenant).await?.is_some();
        if apart && next.is_none() && !erasure.registered {
            // Usage is in the main database.
            let mut tx = self.store.write(Access::Here(tenant)).await?;
            self.erase_rows(&mut tx, &["usage_devices"], &erasure.device)
                .await?;
            tx.commit().await?;
        }
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Nobody registers it meanwhile.
        next_versions(&mut tx, tenant, 0).await?;
        let there = list::one(&mut tx, tenant, &erasure.device).await?.is_some();
        let (erased, next) = if there {
            (0, None)
        } else {
            let device = &erasure.device;
            let erased = self.erase_projected(shard, &mut tx, device).await?;
            let personal = self.erase_personal(&mut tx, device).await?;
            if next.is_none() {
                self.erase_rows(&mut tx, &["usage_devices"], device).await?;
            }
            (erased + personal, next)
        };
        erasures::end(&mut tx, erasure, next).await?;
        tx.commit().await?;
        Ok(erased)
    }

    /// What is personal in the audit trail.
    async fn erase_personal(&self, tx: &mut Tx, id: &DeviceId) -> Result<u64> {
        let named = principal_name(&Principal::Device(id.clone()));
        crate::audit::erase(tx, self.scope.tenant(), &named).await
    }

    /// What a shard has goes first: what is interrupted after it is asked for again.
    async fn erase_projected(
        &self,
        shard: Option<&Store>,
        tx: &mut Tx,
        id: &DeviceId,
    ) -> Result<u64> {
        let Some(shard) = shard else {
            return self.erase_rows(tx, &OF_TENANTS, id).await;
        };
        let mut there = shard.write(Access::Tenant(self.scope.tenant())).await?;
        let erased = self.erase_rows(&mut there, &OF_TENANTS, id).await?;
        there.commit().await?;
        Ok(erased)
    }

    async fn erase_rows(&self, tx: &mut Tx, tables: &[&str], id: &DeviceId) -> Result<u64> {
        let mut erased = 0;
        for table in tables {
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
