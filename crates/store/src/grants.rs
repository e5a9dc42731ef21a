//! Grants: what partners may read of tenants. A row is its tenant's; the partner sees it too, and
//! can change nothing of it.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::GrantBody;
use laneway_tenancy::{GrantId, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::Access;
use crate::codec::{Named, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};
use crate::room::{Room, count};

/// Grants that a tenant may have, expired ones included.
const MOST: u64 = 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct PartnerGrant {
    pub id: GrantId,
    /// Whose stream it is.
    pub tenant: TenantId,
    pub name: String,
    pub body: GrantBody,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct NewGrant {
    pub id: GrantId,
    /// Says what it is for.
    pub name: String,
    /// Its partner is one: the caller has looked.
    pub body: GrantBody,
}

/// What one tenant grants.
pub struct PartnerGrants<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

/// What is granted to one partner.
pub struct Granted<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str =
    "tenant_id, grant_id, partner_id, name, event_types, devices, expires_at, created_at";

impl PartnerGrants<'_> {
    pub async fn create(&self, new: NewGrant, at: i64) -> Result<PartnerGrant> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Locks the tenant's row: what is counted stays true.
        let version = next_version(&mut tx, tenant).await?;
        let counted = count(&mut tx, "partner_grants", tenant).await?;
        Room::beside("grants", counted, MOST).for_one()?;
        let id = new.id.to_string();
        sqlx::query(
            "INSERT INTO partner_grants (tenant_id, grant_id, partner_id, name, event_types, devices,
                expires_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tenant.to_string())
        .bind(id.as_str())
        .bind(new.body.partner.to_string())
        .bind(new.name.as_str())
        .bind(to_json(&new.body.event_types)?)
        .bind(to_json(&new.body.devices)?)
        .bind(new.body.expires_at)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("granting a stream to a partner")?;
        let change = Change {
            tenant,
            version,
            kind: ControlKind::Grant,
            id: &id,
            deleted: false,
            body: Some(to_json(&new.body)?),
            at,
        };
        emit(&mut tx, change).await?;
        self.store.commit_change(tx).await?;
        Ok(PartnerGrant {
            id: new.id,
            tenant,
            name: new.name,
            body: new.body,
            created_at: at,
        })
    }

    pub async fn find(&self, id: GrantId) -> Result<Option<PartnerGrant>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM partner_grants WHERE tenant_id = $1 AND grant_id = $2"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(id.to_string())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a grant")?;
        tx.commit().await?;
        row.as_ref().map(read).transpose()
    }

    /// Grants by id, after `after`.
    pub async fn list(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<PartnerGrant>> {
        const OF_TENANT: &str = "WHERE tenant_id = $1 AND grant_id > $2 ORDER BY grant_id LIMIT $3";
        let home = self.store.home(self.scope.tenant()).await?;
        list(home, self.scope, OF_TENANT, after, limit).await
    }

    /// Revokes one.
    pub async fn delete(&self, id: GrantId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let id_text = id.to_string();
        let deleted =
            sqlx::query("DELETE FROM partner_grants WHERE tenant_id = $1 AND grant_id = $2")
                .bind(tenant.to_string())
                .bind(id_text.as_str())
                .execute(&mut *tx.inner)
                .await
                .doing("revoking a grant")?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::Missing {
                what: format!("grant {id}"),
            });
        }
        let change = Change {
            tenant,
            version,
            kind: ControlKind::Grant,
            id: &id_text,
            deleted: true,
            body: None,
            at,
        };
        emit(&mut tx, change).await?;
        self.store.commit_change(tx).await
    }
}

impl Granted<'_> {
    /// Grants of all tenants to the partner by id, after `after`, whichever database they are in;
    /// none of them where one is away.
    pub async fn list(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<PartnerGrant>> {
        const TO_PARTNER: &str =
            "WHERE partner_id = $1 AND grant_id > $2 ORDER BY grant_id LIMIT $3";
        let mut all = Vec::new();
        for store in self.store.databases()? {
            all.extend(list(store, self.scope, TO_PARTNER, after, limit).await?);
        }
        all.sort_unstable_by_key(|grant| grant.id);
        all.truncate(limit as usize);
        Ok(all)
    }
}

async fn list(
    store: &Store,
    scope: &TenantScope,
    condition: &'static str,
    after: Option<GrantId>,
    limit: u32,
) -> Result<Vec<PartnerGrant>> {
    let mut tx = store.read(Access::Here(scope.tenant())).await?;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM partner_grants {condition}"
    )))
    .bind(scope.tenant().to_string())
    .bind(after.map_or_else(String::new, |id| id.to_string()))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing grants")?;
    tx.commit().await?;
    rows.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<PartnerGrant> {
    let id: String = row.try_get("grant_id").doing("reading a grant")?;
    let row = Named::new("partner_grants", &id, row);
    Ok(PartnerGrant {
        id: row.parse("grant_id")?,
        tenant: row.parse("tenant_id")?,
        name: row.get("name")?,
        body: GrantBody {
            partner: row.parse("partner_id")?,
            event_types: row.json("event_types")?,
            devices: row.json("devices")?,
            expires_at: row.get("expires_at")?,
        },
        created_at: row.get("created_at")?,
    })
}
