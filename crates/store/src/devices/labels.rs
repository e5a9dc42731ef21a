//! Labels as rows, by which devices are found.

use laneway_tenancy::details::Labels;
use laneway_tenancy::{DeviceId, TenantId};

use crate::access::Tx;
use crate::chunks::{chunks, placeholders};
use crate::error::{Doing, Result};

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    devices: &[(&DeviceId, &Labels)],
) -> Result<()> {
    let rows: Vec<(&str, &str, &str)> = devices
        .iter()
        .flat_map(|(id, labels)| {
            labels
                .iter()
                .map(|(name, value)| (id.as_str(), name.as_str(), value.as_str()))
        })
        .collect();
    let tenant = tenant.to_string();
    for chunk in chunks(&rows) {
        let sql = format!(
            "INSERT INTO device_labels (tenant_id, device_id, name, value) VALUES {}",
            placeholders(4, chunk.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (device, name, value) in chunk {
            query = query
                .bind(tenant.as_str())
                .bind(*device)
                .bind(*name)
                .bind(*value);
        }
        query
            .execute(&mut *tx.inner)
            .await
            .doing("labelling devices")?;
    }
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx, tenant: TenantId, device: &DeviceId) -> Result<()> {
    sqlx::query("DELETE FROM device_labels WHERE tenant_id = $1 AND device_id = $2")
        .bind(tenant.to_string())
        .bind(device.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("removing the labels of a device")?;
    Ok(())
}
