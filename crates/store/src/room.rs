//! How many of something a tenant may have.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::Limits;
use sqlx::Row;

use crate::access::Tx;
use crate::error::{Doing, Result, StoreError};
use crate::tenants;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    Devices,
    Destinations,
}

impl Counted {
    /// As the limit and the table are called.
    fn name(self) -> &'static str {
        match self {
            Counted::Devices => "devices",
            Counted::Destinations => "destinations",
        }
    }

    fn most(self, limits: &Limits) -> u64 {
        match self {
            Counted::Devices => limits.devices.into(),
            Counted::Destinations => limits.destinations.into(),
        }
    }
}

/// Room for more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    limit: &'static str,
    pub(crate) left: u64,
    pub(crate) most: u64,
}

impl Room {
    /// Where there are so many.
    pub(crate) fn beside(limit: &'static str, count: u64, most: u64) -> Self {
        let left = most.saturating_sub(count);
        Room { limit, left, most }
    }

    /// Whether one more fits.
    pub(crate) fn for_one(self) -> Result<()> {
        if self.left > 0 {
            return Ok(());
        }
        Err(StoreError::LimitReached {
            limit: self.limit,
            most: self.most,
        })
    }
}

/// The transaction has to hold the tenant's row ([`crate::outbox::next_versions`]): then nobody
/// else adds to them before it ends, and what is counted stays true.
pub(crate) async fn room(tx: &mut Tx, tenant: TenantId, counted: Counted) -> Result<Room> {
    let limit = counted.name();
    let found = tenants::by_id(tx, tenant)
        .await?
        .ok_or_else(|| StoreError::Missing {
            what: format!("tenant {tenant}"),
        })?;
    let most = counted.most(&found.body.limits);
    if most == 0 {
        return Ok(Room {
            limit,
            left: u64::MAX,
            most,
        });
    }
    Ok(Room::beside(limit, count(tx, limit, tenant).await?, most))
}

/// How many rows of a table are the tenant's, whose row the transaction has to hold likewise.
pub(crate) async fn count(tx: &mut Tx, table: &'static str, tenant: TenantId) -> Result<u64> {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE tenant_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tenant.to_string())
        .fetch_one(&mut *tx.inner)
        .await
        .doing("counting what a tenant has")?;
    let count: i64 = row.try_get(0).doing("counting what a tenant has")?;
    Ok(u64::try_from(count).unwrap_or(0))
}
