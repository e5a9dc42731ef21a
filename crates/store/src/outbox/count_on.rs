//! Numbers of changes after a database was put back from a backup.

use laneway_tenancy::TenantId;
use sqlx::Row;

use super::Outbox;
use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result};

impl Outbox<'_> {
    /// Sees to it that changes from now on have numbers that nobody has read before: a database
    /// that was put back from a backup counts on from where it was then. `read` says up to which
    /// number a tenant's changes were read. Answers of how many tenants that was so.
    pub async fn count_on(&self, read: impl Fn(TenantId) -> i64) -> Result<u64> {
        const DOING: &str = "looking where tenants' changes are";
        const PAGE: i64 = 1000;
        let (here, mut after, mut raised) = (self.here()?, String::new(), 0);
        let home = self.shard.unwrap_or_default();
        loop {
            let mut tx = here.read(Access::Platform).await?;
            let rows = sqlx::query(
                "SELECT tenant_id, control_version FROM tenants
                 WHERE tenant_id > $1 AND home = $2 ORDER BY tenant_id LIMIT $3",
            )
            .bind(after.as_str())
            .bind(home)
            .bind(PAGE)
            .fetch_all(&mut *tx.inner)
            .await
            .doing(DOING)?;
            tx.commit().await?;
            let Some(last) = rows.last() else {
                return Ok(raised);
            };
            for row in &rows {
                let id: String = row.try_get("tenant_id").doing(DOING)?;
                let row = Named::new("tenants", &id, row);
                let read = read(row.parse("tenant_id")?);
                if row.get::<i64>("control_version")? < read {
                    raised += raise(here, &id, read).await?;
                }
            }
            after = last.try_get("tenant_id").doing(DOING)?;
        }
    }
}

async fn raise(here: &Store, tenant: &str, version: i64) -> Result<u64> {
    let mut tx = here.write(Access::Platform).await?;
    let raised = sqlx::query(
        "UPDATE tenants SET control_version = $2 WHERE tenant_id = $1 AND control_version < $2",
    )
    .bind(tenant)
    .bind(version)
    .execute(&mut *tx.inner)
    .await
    .doing("letting a tenant's changes count on")?;
    tx.commit().await?;
    Ok(raised.rows_affected())
}
