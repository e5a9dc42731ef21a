//! Reading devices.

use laneway_tenancy::{DeviceDetails, DeviceId, TenantId};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Device, Devices};
use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result};

const COLUMNS: &str =
    "SELECT d.device_id, d.since, d.version, d.created_at, d.name, d.device_group,
    d.labels, d.disabled";

/// Which devices; all where nothing is said.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    pub group: Option<String>,
    /// Name and value.
    pub label: Option<(String, String)>,
    pub disabled: Option<bool>,
}

impl Devices<'_> {
    pub async fn find(&self, id: &DeviceId) -> Result<Option<Device>> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.read(Access::Tenant(tenant)).await?;
        let found = one(&mut tx, tenant, id).await?;
        tx.commit().await?;
        let found = self.seen(found.into_iter().collect()).await?;
        Ok(found.into_iter().next())
    }

    /// Devices by id, after `after`.
    pub async fn list(&self, after: Option<&DeviceId>, limit: u32) -> Result<Vec<Device>> {
        self.select(&DeviceFilter::default(), after, limit).await
    }

    /// Those that the filter names, by id, after `after`.
    pub async fn select(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Device>> {
        // Which pieces there are depends on the filter; what a caller says is bound alone.
        let from = match filter.label {
            Some(_) => {
                "FROM device_labels l JOIN devices d
                    ON d.tenant_id = l.tenant_id AND d.device_id = l.device_id"
            }
            None => "FROM devices d",
        };
        let id = match filter.label {
            Some(_) => "l.tenant_id = $1 AND l.name = $4 AND l.value = $5 AND l.device_id",
            None => "d.tenant_id = $1 AND d.device_id",
        };
        let mut conditions = format!("{id} > $2");
        if filter.group.is_some() {
            let parameter = if filter.label.is_some() { 6 } else { 4 };
            conditions.push_str(&format!(" AND d.device_group = ${parameter}"));
        }
        conditions.push_str(match filter.disabled {
            None => "",
            Some(true) => " AND d.disabled = 1",
            Some(false) => " AND d.disabled = 0",
        });
        let order = match filter.label {
            Some(_) => "l.device_id",
            None => "d.device_id",
        };
        let sql = format!("{COLUMNS} {from} WHERE {conditions} ORDER BY {order} LIMIT $3");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(self.scope.tenant().to_string())
            .bind(after.map_or("", DeviceId::as_str))
            .bind(i64::from(limit));
        if let Some((name, value)) = &filter.label {
            query = query.bind(name.as_str()).bind(value.as_str());
        }
        if let Some(group) = &filter.group {
            query = query.bind(group.as_str());
        }
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = query
            .fetch_all(&mut *tx.inner)
            .await
            .doing("listing devices")?;
        tx.commit().await?;
        let devices: Result<Vec<Device>> = rows.iter().map(device).collect();
        self.seen(devices?).await
    }
}

/// Without when it was seen.
pub(super) async fn one(tx: &mut Tx, tenant: TenantId, id: &DeviceId) -> Result<Option<Device>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} FROM devices d WHERE d.tenant_id = $1 AND d.device_id = $2"
    )))
    .bind(tenant.to_string())
    .bind(id.as_str())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a device")?;
    row.as_ref().map(device).transpose()
}

fn device(row: &AnyRow) -> Result<Device> {
    let id: String = row.try_get("device_id").doing("reading a device")?;
    let row = Named::new("devices", &id, row);
    let since = row.get("since")?;
    Ok(Device {
        id: row.parse("device_id")?,
        since,
        version: row.get::<i64>("version")?.max(since),
        created_at: row.get("created_at")?,
        details: DeviceDetails {
            name: row.get("name")?,
            group: row.get("device_group")?,
            labels: row.json("labels")?,
        },
        disabled: row.get::<i64>("disabled")? != 0,
        seen: None,
    })
}
