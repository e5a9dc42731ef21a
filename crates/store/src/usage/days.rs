//! Usage, as it is read.

use std::collections::BTreeMap;

use laneway_tenancy::{OperatorScope, TenantId, TenantScope};
use sqlx::Row;

use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result};

/// What a tenant used on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageDay {
    /// Since 1970-01-01.
    pub day: i64,
    pub events: i64,
    pub bytes: i64,
    pub devices: i64,
    pub deliveries: i64,
    /// The most connections at once of each node, added up.
    pub sockets_peak: i64,
    /// How long all connections together were open, in microseconds.
    pub sockets_open_us: i64,
}

/// The usage of one tenant.
pub struct Usage<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Usage<'_> {
    /// Of the days from `from` to `to`, both included, on which there was any.
    pub async fn days(&self, from: i64, to: i64) -> Result<Vec<UsageDay>> {
        let doing = "reading usage";
        let tenant = self.scope.tenant().to_string();
        let mut tx = self.store.read(Access::Here(self.scope.tenant())).await?;
        let counted = sqlx::query(
            "SELECT day, events, bytes, devices, deliveries FROM usage_daily
             WHERE tenant_id = $1 AND day BETWEEN $2 AND $3",
        )
        .bind(tenant.as_str())
        .bind(from)
        .bind(to)
        .fetch_all(&mut *tx.inner)
        .await
        .doing(doing)?;
        let sockets = sqlx::query(
            "SELECT day, CAST(SUM(peak) AS BIGINT) AS peak, CAST(SUM(open_us) AS BIGINT) AS open_us
             FROM (SELECT day, node, MAX(peak) AS peak, SUM(open_us) AS open_us FROM usage_sockets
                   WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 GROUP BY day, node) AS by_node
             GROUP BY day",
        )
        .bind(tenant.as_str())
        .bind(from)
        .bind(to)
        .fetch_all(&mut *tx.inner)
        .await
        .doing(doing)?;
        tx.commit().await?;
        let mut days: BTreeMap<i64, UsageDay> = BTreeMap::new();
        for row in &counted {
            let row = Named::new("usage_daily", &tenant, row);
            let day: i64 = row.get("day")?;
            days.insert(day, counts(day, &row)?);
        }
        for row in &sockets {
            let row = Named::new("usage_sockets", &tenant, row);
            let day: i64 = row.get("day")?;
            let known = days.entry(day).or_insert(UsageDay {
                day,
                ..UsageDay::default()
            });
            known.sockets_peak = row.get("peak")?;
            known.sockets_open_us = row.get("open_us")?;
        }
        Ok(days.into_values().collect())
    }
}

fn counts(day: i64, row: &Named<'_>) -> Result<UsageDay> {
    Ok(UsageDay {
        day,
        events: row.get("events")?,
        bytes: row.get("bytes")?,
        devices: row.get("devices")?,
        deliveries: row.get("deliveries")?,
        ..UsageDay::default()
    })
}

/// What a tenant used on a day, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantUsage {
    pub tenant: TenantId,
    pub slug: String,
    pub usage: UsageDay,
    /// Bytes of the events of that day and those before it, as far back as was asked.
    pub kept_bytes: i64,
}

/// The usage of all tenants.
pub struct Usages<'a> {
    pub(crate) store: &'a Store,
    pub(crate) _operator: &'a OperatorScope,
}

impl Usages<'_> {
    /// Of a day, tenants in the order of their ids; `kept_days` is how long events are kept.
    pub async fn of_day(
        &self,
        day: i64,
        kept_days: i64,
        after: Option<TenantId>,
        limit: u32,
    ) -> Result<Vec<TenantUsage>> {
        let doing = "reading the usage of a day";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT t.tenant_id, t.slug, COALESCE(u.events, 0) AS events, COALESCE(u.bytes, 0) AS bytes,
                COALESCE(u.devices, 0) AS devices, COALESCE(u.deliveries, 0) AS deliveries,
                (SELECT CAST(COALESCE(SUM(k.bytes), 0) AS BIGINT) FROM usage_daily k
                  WHERE k.tenant_id = t.tenant_id AND k.day BETWEEN $2 AND $1) AS kept_bytes,
                (SELECT CAST(COALESCE(SUM(n.peak), 0) AS BIGINT) FROM
                  (SELECT MAX(s.peak) AS peak FROM usage_sockets s
                    WHERE s.tenant_id = t.tenant_id AND s.day = $1 GROUP BY s.node) AS n) AS peak,
                (SELECT CAST(COALESCE(SUM(s.open_us), 0) AS BIGINT) FROM usage_sockets s
                  WHERE s.tenant_id = t.tenant_id AND s.day = $1) AS open_us
             FROM tenants t LEFT JOIN usage_daily u ON u.tenant_id = t.tenant_id AND u.day = $1
             WHERE t.tenant_id > $3 ORDER BY t.tenant_id LIMIT $4",
        )
        .bind(day)
        .bind(day.saturating_sub(kept_days.max(1) - 1))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing(doing)?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("tenant_id").doing(doing)?;
                let row = Named::new("usage_daily", &id, row);
                Ok(TenantUsage {
                    tenant: row.parse("tenant_id")?,
                    slug: row.get("slug")?,
                    usage: UsageDay {
                        sockets_peak: row.get("peak")?,
                        sockets_open_us: row.get("open_us")?,
                        ..counts(day, &row)?
                    },
                    kept_bytes: row.get("kept_bytes")?,
                })
            })
            .collect()
    }
}
