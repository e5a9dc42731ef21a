//! Devices that were erased while something that they had sent may have been on its way: it is
//! erased too when it has come ([`Devices::erase_late`](crate::Devices::erase_late)).

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{DeviceId, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub asked_at: i64,
    /// What was accepted before is waited for.
    pub accepted_until: i64,
    /// When that had been through the processor.
    pub processed_at: Option<i64>,
    /// There is a device of this name again.
    pub registered: bool,
}

/// For the worker that erases what comes late.
pub struct Erasures<'a> {
    store: &'a Store,
}

impl Store {
    pub fn erasures(&self, _authority: &RoleAuthority) -> Erasures<'_> {
        Erasures { store: self }
    }
}

impl Erasures<'_> {
    /// Those that wait for what was accepted before a time up to `until`, and those whose device
    /// is registered again; by tenant and device, after `after`. Without those whose database is
    /// away.
    pub async fn open(
        &self,
        until: i64,
        after: Option<&Erasure>,
        limit: u32,
    ) -> Result<Vec<Erasure>> {
        let tenant = |erasure: &Erasure| erasure.tenant;
        let ask = |store| open(store, until, after, limit);
        let mut open = self.store.of_each(tenant, ask).await?;
        open.sort_by(|a, b| (a.tenant, &a.device).cmp(&(b.tenant, &b.device)));
        open.truncate(limit as usize);
        Ok(open)
    }

    /// What it waits for has been through the processor.
    pub async fn processed(&self, erasure: &Erasure, at: i64) -> Result<()> {
        let mut tx = self.store.write(Access::Tenant(erasure.tenant)).await?;
        sqlx::query(
            "UPDATE erasures SET processed_at = $4
             WHERE tenant_id = $1 AND device_id = $2 AND accepted_until = $3",
        )
        .bind(erasure.tenant.to_string())
        .bind(erasure.device.as_str())
        .bind(erasure.accepted_until)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("noting how far an erasure is")?;
        tx.commit().await
    }
}

/// Those of one database.
async fn open(
    store: Store,
    until: i64,
    after: Option<&Erasure>,
    limit: u32,
) -> Result<Vec<Erasure>> {
    let mut tx = store.read(Access::Platform).await?;
    let rows = sqlx::query(
        "SELECT e.tenant_id, e.device_id, e.asked_at, e.accepted_until, e.processed_at, d.since
         FROM erasures e
         LEFT JOIN devices d ON d.tenant_id = e.tenant_id AND d.device_id = e.device_id
         WHERE (e.accepted_until <= $1 OR d.since IS NOT NULL)
            AND (e.tenant_id, e.device_id) > ($2, $3)
         ORDER BY e.tenant_id, e.device_id LIMIT $4",
    )
    .bind(until)
    .bind(after.map_or_else(String::new, |e| e.tenant.to_string()))
    .bind(after.map_or("", |e| e.device.as_str()))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing erasures of devices")?;
    tx.commit().await?;
    rows.iter().map(erasure).collect()
}

/// In the transaction that erases the device. What was asked for before is asked for anew.
pub(crate) async fn begin(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    at: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO erasures (tenant_id, device_id, asked_at, accepted_until)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (tenant_id, device_id) DO UPDATE SET asked_at = excluded.asked_at,
            accepted_until = excluded.accepted_until, processed_at = NULL",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("noting the erasure of a device")?;
    Ok(())
}

/// It goes on waiting, for what is accepted before `next`; or it is done. Nothing changes where it
/// was asked for anew meanwhile.
pub(crate) async fn end(tx: &mut Tx, erasure: &Erasure, next: Option<i64>) -> Result<()> {
    const ITS: &str = "WHERE tenant_id = $1 AND device_id = $2 AND accepted_until = $3";
    let sql = match next {
        Some(_) => {
            format!("UPDATE erasures SET accepted_until = $4, processed_at = NULL {ITS}")
        }
        None => format!("DELETE FROM erasures {ITS}"),
    };
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(erasure.tenant.to_string())
        .bind(erasure.device.as_str())
        .bind(erasure.accepted_until);
    if let Some(next) = next {
        query = query.bind(next);
    }
    query
        .execute(&mut *tx.inner)
        .await
        .doing("ending the erasure of a device")?;
    Ok(())
}

fn erasure(row: &AnyRow) -> Result<Erasure> {
    let id: String = row.try_get("tenant_id").doing("reading an erasure")?;
    let row = Named::new("erasures", &id, row);
    Ok(Erasure {
        tenant: row.parse("tenant_id")?,
        device: row.parse("device_id")?,
        asked_at: row.get("asked_at")?,
        accepted_until: row.get("accepted_until")?,
        processed_at: row.get("processed_at")?,
        registered: row.get::<Option<i64>>("since")?.is_some(),
    })
}
