//! When devices were last seen: what the projection wrote, where the tenant's data is.

use std::collections::HashMap;

use laneway_tenancy::DeviceId;
use sqlx::Row;

use super::{Device, Devices, Seen};
use crate::access::{Access, Tx};
use crate::chunks::{chunks, list};
use crate::codec::Named;
use crate::error::{Doing, Result};

impl Devices<'_> {
    /// The same devices, each with when it was seen.
    pub(super) async fn seen(&self, mut devices: Vec<Device>) -> Result<Vec<Device>> {
        let ids: Vec<&DeviceId> = devices.iter().map(|device| &device.id).collect();
        let mut seen = self.last_seen(&ids).await?;
        for device in &mut devices {
            device.seen = seen.remove(device.id.as_str());
        }
        Ok(devices)
    }

    /// When they were seen, by their ids; without those that never were.
    pub(super) async fn last_seen(&self, ids: &[&DeviceId]) -> Result<HashMap<String, Seen>> {
        let mut seen = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(seen);
        }
        let tenant = self.scope.tenant();
        let data = self.store.data(tenant).await?;
        let mut tx = data.read(Access::Tenant(tenant)).await?;
        for chunk in chunks(ids) {
            self.look_for(&mut tx, chunk, &mut seen).await?;
        }
        tx.commit().await?;
        Ok(seen)
    }

    async fn look_for(
        &self,
        tx: &mut Tx,
        ids: &[&DeviceId],
        seen: &mut HashMap<String, Seen>,
    ) -> Result<()> {
        const DOING: &str = "looking when devices were seen";
        let places = list(2, ids.len());
        let sql = format!(
            "SELECT device_id, recorded_at, received_at FROM latest_positions
             WHERE tenant_id = $1 AND device_id IN ({places})"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(self.scope.tenant().to_string());
        for id in ids {
            query = query.bind(id.as_str());
        }
        for row in query.fetch_all(&mut *tx.inner).await.doing(DOING)? {
            let id: String = row.try_get("device_id").doing(DOING)?;
            let row = Named::new("latest_positions", &id, &row);
            let its = Seen {
                recorded_at: row.get("recorded_at")?,
                received_at: row.get("received_at")?,
            };
            seen.insert(id, its);
        }
        Ok(())
    }
}
