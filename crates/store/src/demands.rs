//! What nodes tell each other of a tenant, for limits that hold over all of them: how much of its
//! traffic each ingest node sees, how many of its connections each sink has open.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::codec::Named;
use crate::error::{Doing, Result};

/// The demands of one kind, in a table of their own.
pub struct Demands<'a> {
    store: &'a Store,
    table: &'static str,
}

impl Store {
    /// Events a second. The arithmetic is [`laneway_tenancy::limits::allowance`].
    pub fn rate_shares(&self, _authority: &RoleAuthority) -> Demands<'_> {
        Demands {
            store: self,
            table: "rate_shares",
        }
    }

    /// Open connections.
    pub fn socket_shares(&self, _authority: &RoleAuthority) -> Demands<'_> {
        Demands {
            store: self,
            table: "socket_shares",
        }
    }
}

/// What all nodes together reported for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub tenant: TenantId,
    /// This node's own included.
    pub total: i64,
    /// Nodes that reported it, this one included.
    pub nodes: u32,
}

impl Demands<'_> {
    /// Reports this node's demands until `expires_at`, in place of what it reported before, and
    /// returns the sums for the tenants that it reported.
    pub async fn exchange(
        &self,
        node: &str,
        demands: &[(TenantId, i64)],
        now: i64,
        expires_at: i64,
    ) -> Result<Vec<Share>> {
        let table = self.table;
        let mut tx = self.store.write(Access::Platform).await?;
        let clear = format!("DELETE FROM {table} WHERE node = $1 OR expires_at <= $2");
        sqlx::query(sqlx::AssertSqlSafe(clear))
            .bind(node)
            .bind(now)
            .execute(&mut *tx.inner)
            .await
            .doing("clearing reported demands")?;
        for chunk in chunks(demands) {
            insert(&mut tx, table, node, chunk, expires_at).await?;
        }
        let sums = format!(
            "SELECT tenant_id, CAST(SUM(demand) AS BIGINT) AS total, COUNT(*) AS nodes FROM {table}
             WHERE tenant_id IN (SELECT tenant_id FROM {table} WHERE node = $1) GROUP BY tenant_id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sums))
            .bind(node)
            .fetch_all(&mut *tx.inner)
            .await
            .doing("reading reported demands")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("tenant_id").doing("reading reported demands")?;
                let row = Named::new(table, &id, row);
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
    table: &str,
    node: &str,
    demands: &[(TenantId, i64)],
    expires_at: i64,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO {table} (tenant_id, node, demand, expires_at) VALUES {}",
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
