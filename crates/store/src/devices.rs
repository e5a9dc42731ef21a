//! Devices.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::DeviceBody;
use laneway_tenancy::{DeviceId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub id: DeviceId,
    /// The control version that registered it.
    pub since: i64,
    pub created_at: i64,
}

/// The devices of one tenant.
pub struct Devices<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Devices<'_> {
    pub async fn create(&self, id: &DeviceId, at: i64) -> Result<Device> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let since = next_version(&mut tx, tenant).await?;
        let inserted = sqlx::query(
            "INSERT INTO devices (tenant_id, device_id, since, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.to_string())
        .bind(id.as_str())
        .bind(since)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("registering a device")?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::Exists {
                what: format!("device {id}"),
            });
        }
        let body = Some(to_json(&DeviceBody { since })?);
        emit(
            &mut tx,
            Change {
                tenant,
                version: since,
                kind: ControlKind::Device,
                id: id.as_str(),
                deleted: false,
                body,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await?;
        Ok(Device {
            id: id.clone(),
            since,
            created_at: at,
        })
    }

    pub async fn find(&self, id: &DeviceId) -> Result<Option<Device>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let row = sqlx::query(
            "SELECT device_id, since, created_at FROM devices WHERE tenant_id = $1 AND device_id = $2",
        )
        .bind(self.scope.tenant().to_string())
        .bind(id.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a device")?;
        tx.commit().await?;
        row.as_ref().map(device).transpose()
    }

    /// Devices by id, after `after`.
    pub async fn list(&self, after: Option<&DeviceId>, limit: u32) -> Result<Vec<Device>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(
            "SELECT device_id, since, created_at FROM devices
             WHERE tenant_id = $1 AND device_id > $2 ORDER BY device_id LIMIT $3",
        )
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or("", DeviceId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing devices")?;
        tx.commit().await?;
        rows.iter().map(device).collect()
    }

    /// Removes a device with its credentials. What it sent stays.
    pub async fn delete(&self, id: &DeviceId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let since = lock(&mut tx, self.scope, id).await?;
        let body = Some(to_json(&DeviceBody { since })?);
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Device,
                id: id.as_str(),
                deleted: true,
                body,
                at,
            },
        )
        .await?;
        crate::credentials::delete_of_device(&mut tx, self.scope, id, at).await?;
        sqlx::query("DELETE FROM devices WHERE tenant_id = $1 AND device_id = $2")
            .bind(tenant.to_string())
            .bind(id.as_str())
            .execute(&mut *tx.inner)
            .await
            .doing("removing a device")?;
        self.store.commit_change(tx).await
    }
}

/// The version that registered the device; fails where the tenant has none such. Changes of a
/// tenant take turns at its own row, so that it stays until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, scope: &TenantScope, id: &DeviceId) -> Result<i64> {
    let row = sqlx::query("SELECT since FROM devices WHERE tenant_id = $1 AND device_id = $2")
        .bind(scope.tenant().to_string())
        .bind(id.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a device")?
        .ok_or_else(|| StoreError::Missing {
            what: format!("device {id}"),
        })?;
    row.try_get("since").doing("looking for a device")
}

fn device(row: &AnyRow) -> Result<Device> {
    let id: String = row.try_get("device_id").doing("reading a device")?;
    let row = Named::new("devices", &id, row);
    Ok(Device {
        id: row.parse("device_id")?,
        since: row.get("since")?,
        created_at: row.get("created_at")?,
    })
}
