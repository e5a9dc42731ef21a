//! Open connections of subscribers, as each node tells them.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;

use super::tenant_list;
use crate::Store;
use crate::access::Access;
use crate::chunks::{chunks, placeholders};
use crate::error::{Doing, Result};

/// What a node has seen of a tenant on a day since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketUse {
    pub tenant: TenantId,
    pub day: i64,
    /// The most that were open at once.
    pub peak: i64,
    /// How long all of them together were open, in microseconds.
    pub open_us: i64,
}

impl Store {
    /// Writes what a node has seen in its life, in place of what it said before: saying it again
    /// changes nothing.
    pub async fn meter_sockets(
        &self,
        _authority: &RoleAuthority,
        (node, life): (&str, i64),
        seen: &[SocketUse],
    ) -> Result<()> {
        let tenants = tenant_list(seen.iter().map(|s| s.tenant));
        let mut tx = self.write(Access::Projection(tenants)).await?;
        for chunk in chunks(seen) {
            let sql = format!(
                "INSERT INTO usage_sockets (tenant_id, day, node, life, peak, open_us) VALUES {}
                 ON CONFLICT (tenant_id, day, node, life) DO UPDATE SET
                    peak = excluded.peak, open_us = excluded.open_us",
                placeholders(6, chunk.len())
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for seen in chunk {
                query = query
                    .bind(seen.tenant.to_string())
                    .bind(seen.day)
                    .bind(node)
                    .bind(life)
                    .bind(seen.peak)
                    .bind(seen.open_us);
            }
            query
                .execute(&mut *tx.inner)
                .await
                .doing("writing the connections of a day")?;
        }
        tx.commit().await
    }
}
