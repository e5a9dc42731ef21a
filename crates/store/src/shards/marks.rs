//! Which tenants a shard is for, said in the shard itself: a dedicated one is for one tenant and
//! those below it, whoever else wants it at the same moment.

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};

/// Tables that the stream writes of tenants. No row of them outlives its tenant.
pub(crate) const OF_TENANTS: [&str; 2] = ["latest_positions", "sessions"];

/// Marks a shard as a tenant's. With `alone` it is its alone from then on, or the call is refused.
/// Done twice, it is as done once.
pub(crate) async fn mark(
    main: &Store,
    name: &str,
    tenant: TenantId,
    alone: bool,
    at: i64,
) -> Result<()> {
    let shard = main.0.shards.get(name)?;
    while alone && let Some(other) = other_tenant(shard, tenant).await? {
        if is_there(main, other).await? {
            return Err(StoreError::Refused(format!(
                "the database {name} is another tenant's"
            )));
        }
        // Whoever created it was stopped before it could take its mark back.
        unmark(shard, other).await?;
    }
    let mut tx = shard.write(Access::Platform).await?;
    let marked = sqlx::query(
        "INSERT INTO shard_tenants (tenant_id, alone, since) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) DO NOTHING",
    )
    .bind(tenant.to_string())
    .bind(i64::from(alone))
    .bind(at)
    .execute(&mut *tx.inner)
    .await;
    match marked {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(
            StoreError::Refused(format!("the database {name} is another tenant's")),
        ),
        marked => {
            marked.doing("marking a shard as a tenant's")?;
            tx.commit().await
        }
    }
}

/// Whether a shard has the tenant's mark, which stays until the transaction ends.
pub(crate) async fn keep_mark(tx: &mut Tx, tenant: TenantId) -> Result<bool> {
    let kept = sqlx::query("UPDATE shard_tenants SET since = since WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .execute(&mut *tx.inner)
        .await
        .doing("keeping the mark of a shard")?;
    Ok(kept.rows_affected() > 0)
}

/// Takes the mark back, with what the stream has written of the tenant.
pub(crate) async fn unmark(shard: &Store, tenant: TenantId) -> Result<()> {
    let mut tx = shard.write(Access::Platform).await?;
    unmark_in(&mut tx, tenant).await?;
    tx.commit().await
}

pub(crate) async fn unmark_in(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    for table in OF_TENANTS.iter().chain(&["shard_tenants"]) {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE tenant_id = $1"
        )))
        .bind(tenant.to_string())
        .execute(&mut *tx.inner)
        .await
        .doing("taking back the mark of a shard")?;
    }
    Ok(())
}

/// Another tenant whose mark a shard has.
async fn other_tenant(shard: &Store, tenant: TenantId) -> Result<Option<TenantId>> {
    let mut tx = shard.read(Access::Platform).await?;
    let row = sqlx::query("SELECT tenant_id FROM shard_tenants WHERE tenant_id <> $1 LIMIT 1")
        .bind(tenant.to_string())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking whose a shard is")?;
    tx.commit().await?;
    row.map(|row| {
        let id: String = row.try_get(0).doing("looking whose a shard is")?;
        Named::new("shard_tenants", &id, &row).parse("tenant_id")
    })
    .transpose()
}

/// Whether there is such a tenant, or it is being created.
pub(crate) async fn is_there(main: &Store, tenant: TenantId) -> Result<bool> {
    let mut tx = main.read(Access::Platform).await?;
    let row = sqlx::query(
        "SELECT tenant_id FROM tenants WHERE tenant_id = $1 AND state <> 'closed'
         UNION ALL SELECT tenant_id FROM creations WHERE tenant_id = $1",
    )
    .bind(tenant.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a tenant")?;
    tx.commit().await?;
    Ok(row.is_some())
}
