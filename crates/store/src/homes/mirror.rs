//! Copying what the main database has of a tenant elsewhere.

use laneway_tenancy::TenantId;
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::closures::{self, Closure};
use crate::codec::{Named, to_json, variant_name};
use crate::error::{Doing, Result};
use crate::tenants::{self, Tenant};

/// What there is to copy of a tenant.
struct Own {
    tenant: Tenant,
    slugs: Vec<Slug>,
    closure: Option<Closure>,
}

struct Slug {
    slug: String,
    until: Option<i64>,
}

impl Store {
    /// Copies a tenant that is elsewhere as it is there now. A copy that is newer stays.
    pub(crate) async fn mirror(&self, tenant: TenantId) -> Result<()> {
        let Some(home) = self.home_apart(tenant).await? else {
            return Ok(());
        };
        let Some(own) = read(home, tenant).await? else {
            return Ok(());
        };
        let mut tx = self.write(Access::Platform).await?;
        if copy_row(&mut tx, &own.tenant).await? {
            copy_slugs(&mut tx, tenant, &own.slugs).await?;
            if let Some(closure) = own.closure.filter(|c| c.closed_at.is_some()) {
                copy_closure(&mut tx, &closure).await?;
            }
        }
        tx.commit().await
    }

    /// The same; what fails is done with the news of the change.
    pub(crate) async fn mirror_soon(&self, tenants: &[TenantId]) {
        for tenant in tenants {
            if let Err(error) = self.mirror(*tenant).await {
                tracing::debug!(%tenant, %error, "a tenant is copied to the main database later");
            }
        }
    }
}

async fn read(home: &Store, tenant: TenantId) -> Result<Option<Own>> {
    const DOING: &str = "reading the slugs of a tenant";
    let mut tx = home.read(Access::Here(tenant)).await?;
    let Some(row) = tenants::by_id(&mut tx, tenant).await? else {
        return Ok(None);
    };
    let rows = sqlx::query("SELECT slug, until FROM slugs WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
    let closure = closures::find(&mut tx, tenant).await?;
    tx.commit().await?;
    let slug = |row| {
        let slug: String = Row::try_get(row, "slug").doing(DOING)?;
        let until = Named::new("slugs", &slug, row).get("until")?;
        Ok(Slug { slug, until })
    };
    Ok(Some(Own {
        tenant: row,
        slugs: rows.iter().map(slug).collect::<Result<_>>()?,
        closure,
    }))
}

/// Whether what is copied is as new as what there is. A slug has been claimed before.
async fn copy_row(tx: &mut Tx, tenant: &Tenant) -> Result<bool> {
    let copied = sqlx::query(
        "UPDATE tenants SET slug = $2, name = $3, plan = $4, state = $5, held = $6, limits = $7,
            total_limits = $8, options = $9, version = $10, control_version = $11
         WHERE tenant_id = $1 AND control_version <= $11
            AND EXISTS (SELECT 1 FROM slugs WHERE slug = $2 AND tenant_id = $1)",
    )
    .bind(tenant.id.to_string())
    .bind(tenant.body.slug.as_str())
    .bind(tenant.name.as_str())
    .bind(tenant.plan.as_str())
    .bind(variant_name(&tenant.own_state)?)
    .bind(i64::from(tenant.held))
    .bind(to_json(&tenant.body.limits)?)
    .bind(to_json(&tenant.total_limits)?)
    .bind(to_json(&tenant.body.options)?)
    .bind(tenant.version)
    .bind(tenant.control_version)
    .execute(&mut *tx.inner)
    .await
    .doing("copying a tenant")?;
    Ok(copied.rows_affected() > 0)
}

/// Claims that are at work stay.
async fn copy_slugs(tx: &mut Tx, tenant: TenantId, slugs: &[Slug]) -> Result<()> {
    for slug in slugs {
        sqlx::query(
            "UPDATE slugs SET until = $3, claimed_at = NULL WHERE slug = $1 AND tenant_id = $2",
        )
        .bind(slug.slug.as_str())
        .bind(tenant.to_string())
        .bind(slug.until)
        .execute(&mut *tx.inner)
        .await
        .doing("copying the slugs of a tenant")?;
    }
    Ok(())
}

async fn copy_closure(tx: &mut Tx, closure: &Closure) -> Result<()> {
    sqlx::query(
        "INSERT INTO closures (tenant_id, begun_at, done, closed_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id) DO UPDATE SET done = excluded.done, closed_at = excluded.closed_at",
    )
    .bind(closure.tenant.to_string())
    .bind(closure.begun_at)
    .bind(to_json(&closure.done)?)
    .bind(closure.closed_at)
    .execute(&mut *tx.inner)
    .await
    .doing("copying the closure of a tenant")?;
    Ok(())
}
