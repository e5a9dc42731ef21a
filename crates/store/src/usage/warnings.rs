//! Warnings that a quota is nearly used up: one a tenant, day and quota.

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::Access;
use crate::codec::Named;
use crate::error::{Doing, Result};

/// A warning, as it was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaWarningRow {
    pub tenant: TenantId,
    pub day: i64,
    /// The limit's name, such as `events_per_day`.
    pub quota: String,
    pub used: i64,
    pub limit: i64,
    /// In microseconds.
    pub warned_at: i64,
}

/// What became of a warning that somebody wanted to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warned {
    /// It is the first: whoever asked has to write its event.
    First(QuotaWarningRow),
    /// It was decided on before, and whether its event was written is not known.
    Unfinished(QuotaWarningRow),
    /// Its event is written.
    Written,
}

pub struct Warnings<'a> {
    pub(crate) store: &'a Store,
}

impl Warnings<'_> {
    /// Decides on a warning, once.
    pub async fn decide(&self, wanted: &QuotaWarningRow) -> Result<Warned> {
        let access = Access::Projection(wanted.tenant.to_string());
        let mut tx = self.store.write(access).await?;
        let inserted = sqlx::query(
            "INSERT INTO usage_warnings (tenant_id, day, quota, used, quota_is, warned_at, written)
             VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (tenant_id, day, quota) DO NOTHING",
        )
        .bind(wanted.tenant.to_string())
        .bind(wanted.day)
        .bind(wanted.quota.as_str())
        .bind(wanted.used)
        .bind(wanted.limit)
        .bind(wanted.warned_at)
        .execute(&mut *tx.inner)
        .await
        .doing("deciding on a quota's warning")?;
        if inserted.rows_affected() == 1 {
            tx.commit().await?;
            return Ok(Warned::First(wanted.clone()));
        }
        let row = sqlx::query(
            "SELECT used, quota_is, warned_at, written FROM usage_warnings
             WHERE tenant_id = $1 AND day = $2 AND quota = $3",
        )
        .bind(wanted.tenant.to_string())
        .bind(wanted.day)
        .bind(wanted.quota.as_str())
        .fetch_one(&mut *tx.inner)
        .await
        .doing("reading a quota's warning")?;
        tx.commit().await?;
        let row = Named::new("usage_warnings", &wanted.quota, &row);
        if row.get::<i64>("written")? != 0 {
            return Ok(Warned::Written);
        }
        Ok(Warned::Unfinished(QuotaWarningRow {
            used: row.get("used")?,
            limit: row.get("quota_is")?,
            warned_at: row.get("warned_at")?,
            ..wanted.clone()
        }))
    }

    /// The event of a warning is in the tenant's stream.
    pub async fn written(&self, warning: &QuotaWarningRow) -> Result<()> {
        let access = Access::Projection(warning.tenant.to_string());
        let mut tx = self.store.write(access).await?;
        sqlx::query(
            "UPDATE usage_warnings SET written = 1
             WHERE tenant_id = $1 AND day = $2 AND quota = $3",
        )
        .bind(warning.tenant.to_string())
        .bind(warning.day)
        .bind(warning.quota.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("noting that a quota's warning is written")?;
        tx.commit().await
    }

    /// How many quotas were warned of on a day, of all tenants.
    pub async fn count(&self, day: i64) -> Result<u64> {
        let doing = "counting the warnings of a day";
        let mut tx = self.store.read(Access::Platform).await?;
        let row = sqlx::query("SELECT COUNT(*) FROM usage_warnings WHERE day = $1")
            .bind(day)
            .fetch_one(&mut *tx.inner)
            .await
            .doing(doing)?;
        tx.commit().await?;
        let count: i64 = row.try_get(0).doing(doing)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Forgets what is only needed while a day lasts, of days before `day`: the devices that were
    /// seen, what nodes let through, and which quotas were warned of. The counts stay.
    pub async fn forget_before(&self, tenant: TenantId, day: i64) -> Result<()> {
        let mut tx = self.store.write(Access::Here(tenant)).await?;
        for sql in [
            "DELETE FROM usage_devices WHERE tenant_id = $1 AND day < $2",
            "DELETE FROM usage_admitted WHERE tenant_id = $1 AND day < $2",
            "DELETE FROM usage_warnings WHERE tenant_id = $1 AND day < $2",
        ] {
            sqlx::query(sql)
                .bind(tenant.to_string())
                .bind(day)
                .execute(&mut *tx.inner)
                .await
                .doing("forgetting what counts of past days were made of")?;
        }
        tx.commit().await
    }
}
