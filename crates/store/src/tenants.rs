//! Tenants.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::{Limits, TenantBody, TenantState};
use laneway_tenancy::{OperatorScope, Placement, TenantId, TenantInfo};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub id: TenantId,
    pub body: TenantBody,
    pub control_version: i64,
    pub created_at: i64,
}

impl Tenant {
    pub(crate) fn into_info(self) -> TenantInfo {
        TenantInfo {
            id: self.id,
            slug: self.body.slug.clone(),
            body: self.body,
        }
    }
}

#[derive(Debug, Clone)]
pub struct NewTenant {
    pub id: TenantId,
    /// Checked by the caller ([`laneway_tenancy::control::is_slug`]).
    pub slug: String,
    pub placement: Placement,
    pub limits: Limits,
}

pub struct Tenants<'a> {
    store: &'a Store,
}

const COLUMNS: &str = "SELECT tenant_id, slug, parent, state, placement, limits, control_version, created_at FROM tenants";

impl<'a> Tenants<'a> {
    pub(crate) fn new(store: &'a Store, _operator: &'a OperatorScope) -> Self {
        Tenants { store }
    }

    pub async fn create(&self, new: NewTenant, at: i64) -> Result<Tenant> {
        let mut tx = self.store.write(Access::Platform).await?;
        let tenant = insert(&mut tx, new, at).await?;
        self.store.commit_change(tx).await?;
        Ok(tenant)
    }

    pub async fn find(&self, id: TenantId) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = by_id(&mut tx, id).await?;
        tx.commit().await?;
        Ok(found)
    }

    pub async fn by_slug(&self, slug: &str) -> Result<Option<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let found = by_slug(&mut tx, slug).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Tenants by id, after `after`.
    pub async fn list(&self, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2"
        )))
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing tenants")?;
        tx.commit().await?;
        rows.iter().map(tenant).collect()
    }

    pub async fn set_state(&self, id: TenantId, state: TenantState, at: i64) -> Result<Tenant> {
        self.change(id, at, |body| body.state = state).await
    }

    pub async fn set_limits(&self, id: TenantId, limits: Limits, at: i64) -> Result<Tenant> {
        self.change(id, at, |body| body.limits = limits).await
    }

    async fn change(
        &self,
        id: TenantId,
        at: i64,
        change: impl FnOnce(&mut TenantBody),
    ) -> Result<Tenant> {
        let mut tx = self.store.write(Access::Platform).await?;
        let version = next_version(&mut tx, id).await?;
        let mut tenant = by_id(&mut tx, id)
            .await?
            .ok_or_else(|| StoreError::Missing {
                what: format!("tenant {id}"),
            })?;
        change(&mut tenant.body);
        tenant.control_version = version;
        sqlx::query("UPDATE tenants SET state = $2, limits = $3 WHERE tenant_id = $1")
            .bind(id.to_string())
            .bind(variant_name(&tenant.body.state)?)
            .bind(to_json(&tenant.body.limits)?)
            .execute(&mut *tx.inner)
            .await
            .doing("changing a tenant")?;
        publish(&mut tx, &tenant, at).await?;
        self.store.commit_change(tx).await?;
        Ok(tenant)
    }
}

async fn insert(tx: &mut Tx, new: NewTenant, at: i64) -> Result<Tenant> {
    let body = TenantBody {
        slug: new.slug,
        parent: None,
        state: TenantState::Active,
        placement: new.placement,
        limits: new.limits,
    };
    let inserted = sqlx::query(
        "INSERT INTO tenants (tenant_id, slug, parent, state, placement, limits, control_version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.to_string())
    .bind(body.slug.as_str())
    .bind(body.parent.map(|p| p.to_string()))
    .bind(variant_name(&body.state)?)
    .bind(to_json(&body.placement)?)
    .bind(to_json(&body.limits)?)
    .bind(1i64)
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("creating a tenant")?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::Exists {
            what: format!("a tenant with the slug {}", body.slug),
        });
    }
    let tenant = Tenant {
        id: new.id,
        body,
        control_version: 1,
        created_at: at,
    };
    publish(tx, &tenant, at).await?;
    Ok(tenant)
}

async fn publish(tx: &mut Tx, tenant: &Tenant, at: i64) -> Result<()> {
    let id = tenant.id.to_string();
    let body = Some(to_json(&tenant.body)?);
    let version = tenant.control_version;
    emit(
        tx,
        Change {
            tenant: tenant.id,
            version,
            kind: ControlKind::Tenant,
            id: &id,
            deleted: false,
            body,
            at,
        },
    )
    .await
}

pub(crate) async fn by_id(tx: &mut Tx, id: TenantId) -> Result<Option<Tenant>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE tenant_id = $1"
    )))
    .bind(id.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a tenant")?;
    row.as_ref().map(tenant).transpose()
}

pub(crate) async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Tenant>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE slug = $1")))
        .bind(slug)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a tenant")?;
    row.as_ref().map(tenant).transpose()
}

fn tenant(row: &AnyRow) -> Result<Tenant> {
    let id: String = row.try_get("tenant_id").doing("reading a tenant")?;
    let row = Named::new("tenants", &id, row);
    let parent: Option<String> = row.get("parent")?;
    Ok(Tenant {
        id: row.parse("tenant_id")?,
        body: TenantBody {
            slug: row.get("slug")?,
            parent: match parent {
                Some(_) => Some(row.parse("parent")?),
                None => None,
            },
            state: row.variant("state")?,
            placement: row.json("placement")?,
            limits: row.json("limits")?,
        },
        control_version: row.get("control_version")?,
        created_at: row.get("created_at")?,
    })
}
