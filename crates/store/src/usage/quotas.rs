//! What the ingest nodes let through of tenants with a quota, exchanged between them.

use std::collections::HashMap;

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::codec::Named;
use crate::error::{Doing, Result};

/// Events of a tenant, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    pub tenant: TenantId,
    pub events: i64,
    pub bytes: i64,
}

/// What a node has let through of a tenant, all in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Says it: what it said before is replaced.
    pub node: String,
    pub admitted: Admitted,
}

pub struct Quotas<'a> {
    pub(crate) store: &'a Store,
}

impl Quotas<'_> {
    /// Says what was let through on a day. Returns what is used of `tenants`: what all nodes have let through, or
    /// what metering has counted where that is more. So a node that was killed before it said its
    /// last is made up for.
    pub async fn exchange(
        &self,
        day: i64,
        said: &[Said],
        tenants: &[TenantId],
    ) -> Result<Vec<Admitted>> {
        let mut tx = if said.is_empty() {
            self.store.read(Access::Platform).await?
        } else {
            self.store.write(Access::Platform).await?
        };
        for chunk in chunks(said) {
            say(&mut tx, day, chunk).await?;
        }
        let mut used = HashMap::new();
        for chunk in chunks(tenants) {
            add(&mut tx, day, chunk, &mut used).await?;
        }
        tx.commit().await?;
        Ok(used.into_values().collect())
    }
}

async fn say(tx: &mut Tx, day: i64, said: &[Said]) -> Result<()> {
    let sql = format!(
        "INSERT INTO usage_admitted (tenant_id, day, node, events, bytes) VALUES {}
         ON CONFLICT (tenant_id, day, node) DO UPDATE SET
            events = excluded.events, bytes = excluded.bytes",
        placeholders(5, said.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for Said { node, admitted } in said {
        query = query
            .bind(admitted.tenant.to_string())
            .bind(day)
            .bind(node.as_str())
            .bind(admitted.events)
            .bind(admitted.bytes);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("saying what was let through")?;
    Ok(())
}

async fn add(
    tx: &mut Tx,
    day: i64,
    tenants: &[TenantId],
    used: &mut HashMap<TenantId, Admitted>,
) -> Result<()> {
    let doing = "reading what is used of quotas";
    let named: Vec<String> = (2..tenants.len() + 2).map(|n| format!("${n}")).collect();
    let named = named.join(", ");
    let queries = [
        format!(
            "SELECT tenant_id, events, bytes FROM usage_daily
             WHERE day = $1 AND tenant_id IN ({named})"
        ),
        format!(
            "SELECT tenant_id, CAST(SUM(events) AS BIGINT) AS events, CAST(SUM(bytes) AS BIGINT) AS bytes
             FROM usage_admitted WHERE day = $1 AND tenant_id IN ({named}) GROUP BY tenant_id"
        ),
    ];
    for sql in queries {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(day);
        for tenant in tenants {
            query = query.bind(tenant.to_string());
        }
        for row in query.fetch_all(&mut *tx.inner).await.doing(doing)? {
            let id: String = row.try_get("tenant_id").doing(doing)?;
            let row = Named::new("usage", &id, &row);
            let tenant: TenantId = row.parse("tenant_id")?;
            let (events, bytes) = (row.get("events")?, row.get("bytes")?);
            let known = used.entry(tenant).or_insert(Admitted {
                tenant,
                events: 0,
                bytes: 0,
            });
            known.events = known.events.max(events);
            known.bytes = known.bytes.max(bytes);
        }
    }
    Ok(())
}
