//! How much of each tenant's traffic the ingest nodes see, for limits that hold over all of
//! them. The arithmetic is [`laneway_tenancy::limits::allowance`].

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::codec::Named;
use crate::error::{Doing, Result};

pub struct RateShares<'a> {
    pub(crate) store: &'a Store,
}

/// What all nodes together reported for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub tenant: TenantId,
    /// Events a second, this node's own included.
    pub total: i64,
    /// Nodes that see traffic of the tenant, this one included.
    pub nodes: u32,
}

impl RateShares<'_> {
    /// Reports this node's demands (events a second) until `expires_at`, in place of what it
    /// reported before, and returns the sums for the tenants that it sees.
    pub async fn exchange(
        &self,
        node: &str,
        demands: &[(TenantId, i64)],
        now: i64,
        expires_at: i64,
    ) -> Result<Vec<Share>> {
        let mut tx = self.store.write(Access::Platform).await?;
        sqlx::query("DELETE FROM rate_shares WHERE node = $1 OR expires_at <= $2")
            .bind(node)
            .bind(now)
            .execute(&mut *tx.inner)
            .await
            .doing("clearing reported demands")?;
        for chunk in chunks(demands) {
            insert(&mut tx, node, chunk, expires_at).await?;
        }
        let rows = sqlx::query(
            "SELECT tenant_id, CAST(SUM(demand) AS BIGINT) AS total, COUNT(*) AS nodes FROM rate_shares
             WHERE tenant_id IN (SELECT tenant_id FROM rate_shares WHERE node = $1) GROUP BY tenant_id",
        )
        .bind(node)
        .fetch_all(&mut *tx.inner)
        .await
        .doing("reading reported demands")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("tenant_id").doing("reading reported demands")?;
                let row = Named::new("rate_shares", &id, row);
                Ok(Share {
                    tenant: row.parse("tenant_id")?,
                    total: row.get("total")?,
                    nodes: u32::try_from(row.get::<i64>("nodes")?).unwrap_or(u32::MAX),
                })
            })
            .collect()
    }
}

async fn insert(
    tx: &mut Tx,
    node: &str,
    demands: &[(TenantId, i64)],
    expires_at: i64,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO rate_shares (tenant_id, node, demand, expires_at) VALUES {}",
        placeholders(4, demands.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (tenant, demand) in demands {
        query = query
            .bind(tenant.to_string())
            .bind(node)
            .bind(*demand)
            .bind(expires_at);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("reporting demands")?;
    Ok(())
}
