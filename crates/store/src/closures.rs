//! Closing tenants: what is done of it survives whoever does it.

use laneway_tenancy::control::{RoleAuthority, TenantState};
use laneway_tenancy::{OperatorScope, TenantId, TenantScope};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json};
use crate::error::{Doing, Result};
use crate::open::Kind;
use crate::shards::{OF_TENANTS, unmark};

/// Tables whose rows of a tenant are erased with it, in its own database and in the main one, each
/// before those that it refers to; beside them those of [`OF_TENANTS`], wherever they are. What
/// stays is the tenant's own row and slugs, its audit trail without personal fields, and counts by
/// day. Its creation is forgotten since it was created.
const ERASED: [&str; 18] = [
    "credentials",
    "enrolments",
    "provisioning_keys",
    "device_labels",
    "devices",
    "erasures",
    "api_keys",
    "service_accounts",
    "destinations",
    "hosts",
    "partner_grants",
    "config_entries",
    "idempotent_answers",
    "usage_devices",
    "rate_shares",
    "socket_shares",
    "secret_homes",
    "audit_personal",
];
/// Rows that one transaction erases.
const CHUNK: i64 = 5000;

/// A step of a closure that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosureStep {
    /// What went: `destinations`, `grants`, `rows`, a topic's name; or, of a step that waits, what
    /// for: `accepted`, `derived`.
    pub what: String,
    /// How many.
    pub count: u64,
    pub at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    pub tenant: TenantId,
    pub begun_at: i64,
    pub done: Vec<ClosureStep>,
    pub closed_at: Option<i64>,
}

impl Closure {
    pub fn has_done(&self, what: &str) -> bool {
        self.done.iter().any(|step| step.what == what)
    }
}

/// For the worker that carries closures out.
pub struct Closures<'a> {
    store: &'a Store,
}

const COLUMNS: &str = "SELECT tenant_id, begun_at, done, closed_at FROM closures";

impl Store {
    pub fn closures(&self, _authority: &RoleAuthority) -> Closures<'_> {
        Closures { store: self }
    }

    /// What is known of the closing of a tenant.
    pub async fn closure(&self, scope: &TenantScope) -> Result<Option<Closure>> {
        // What is over is in the main database, too.
        let mut tx = self.read(Access::Here(scope.tenant())).await?;
        let over = find(&mut tx, scope.tenant()).await?;
        tx.commit().await?;
        if over.is_some() {
            return Ok(over);
        }
        let mut tx = self.read(Access::Tenant(scope.tenant())).await?;
        let found = find(&mut tx, scope.tenant()).await?;
        tx.commit().await?;
        Ok(found)
    }
}

pub(crate) async fn find(tx: &mut Tx, tenant: TenantId) -> Result<Option<Closure>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE tenant_id = $1"
    )))
    .bind(tenant.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a closure")?;
    row.as_ref().map(closure).transpose()
}

impl Closures<'_> {
    /// Those that are not finished, but for what is in a database that is away.
    pub async fn open(&self, limit: u32) -> Result<Vec<Closure>> {
        let tenant = |closure: &Closure| closure.tenant;
        self.store.of_each(tenant, |store| open(store, limit)).await
    }

    /// Whether all news of the tenant is in the log.
    pub async fn is_told(&self, tenant: TenantId) -> Result<bool> {
        let mut tx = self.store.read(Access::Tenant(tenant)).await?;
        let left = sqlx::query("SELECT seq FROM outbox WHERE tenant_id = $1 LIMIT 1")
            .bind(tenant.to_string())
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("looking for news of a tenant")?;
        tx.commit().await?;
        Ok(left.is_none())
    }

    /// Notes that a step is done.
    pub async fn note(&self, closure: &mut Closure, step: ClosureStep) -> Result<()> {
        closure.done.push(step);
        let mut tx = self.store.write(Access::Tenant(closure.tenant)).await?;
        sqlx::query("UPDATE closures SET done = $2 WHERE tenant_id = $1")
            .bind(closure.tenant.to_string())
            .bind(to_json(&closure.done)?)
            .execute(&mut *tx.inner)
            .await
            .doing("noting a step of a closure")?;
        tx.commit().await
    }

    /// Erases the tenant's rows, wherever they are; how many there were. Its shard, where it has
    /// one, is marked as its own no more.
    pub async fn erase(&self, tenant: TenantId) -> Result<u64> {
        let mut erased = 0;
        let data = self.store.data(tenant).await?;
        for table in OF_TENANTS {
            erased += erase_from(data, table, tenant).await?;
        }
        let home = self.store.home_apart(tenant).await?;
        for store in home.into_iter().chain([self.store]) {
            for table in ERASED {
                erased += erase_from(store, table, tenant).await?;
            }
        }
        erased += crate::schemas::erase(self.store, tenant).await?;
        if data.is_shard() {
            unmark(data, tenant).await?;
        }
        Ok(erased)
    }

    /// The tenant is closed, for ever.
    pub async fn finish(&self, operator: &OperatorScope, tenant: TenantId, at: i64) -> Result<()> {
        let tenants = self.store.tenants(operator);
        tenants.set_state(tenant, TenantState::Closed, at).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        sqlx::query("UPDATE closures SET closed_at = $2 WHERE tenant_id = $1")
            .bind(tenant.to_string())
            .bind(at)
            .execute(&mut *tx.inner)
            .await
            .doing("finishing a closure")?;
        tx.commit().await?;
        self.store.mirror(tenant).await
    }
}

/// Those of one database.
async fn open(store: Store, limit: u32) -> Result<Vec<Closure>> {
    let mut tx = store.read(Access::Platform).await?;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE closed_at IS NULL ORDER BY tenant_id LIMIT $1"
    )))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing closures")?;
    tx.commit().await?;
    rows.iter().map(closure).collect()
}

/// Erases the tenant's rows of a table, some at a time.
async fn erase_from(store: &Store, table: &str, tenant: TenantId) -> Result<u64> {
    let row = match store.0.kind {
        Kind::Sqlite => "rowid",
        Kind::Postgres => "ctid",
    };
    let sql = format!(
        "DELETE FROM {table} WHERE tenant_id = $1 AND {row} IN
            (SELECT {row} FROM {table} WHERE tenant_id = $1 LIMIT {CHUNK})"
    );
    let mut erased = 0;
    loop {
        let mut tx = store.write(Access::Here(tenant)).await?;
        let gone = sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .bind(tenant.to_string())
            .execute(&mut *tx.inner)
            .await
            .doing("erasing what a closed tenant had")?
            .rows_affected();
        tx.commit().await?;
        if gone == 0 {
            return Ok(erased);
        }
        erased += gone;
    }
}

/// In the transaction that begins to close the tenant.
pub(crate) async fn begin(tx: &mut Tx, tenant: TenantId, at: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO closures (tenant_id, begun_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.to_string())
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("beginning to close a tenant")?;
    Ok(())
}

fn closure(row: &AnyRow) -> Result<Closure> {
    let id: String = row.try_get("tenant_id").doing("reading a closure")?;
    let row = Named::new("closures", &id, row);
    Ok(Closure {
        tenant: row.parse("tenant_id")?,
        begun_at: row.get("begun_at")?,
        done: row.json("done")?,
        closed_at: row.get("closed_at")?,
    })
}
