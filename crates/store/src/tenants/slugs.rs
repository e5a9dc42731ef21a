//! Slugs: unique over all tenants, and kept for a while after a tenant was renamed.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::FormerSlug;
use laneway_tenancy::slug::appearance;
use sqlx::Row;

use super::{Tenant, by_id, by_slug};
use crate::access::Tx;
use crate::codec::Named;
use crate::creations;
use crate::error::{Doing, Result, StoreError};

/// Takes a slug for a tenant. One that another tenant had before is free again once it leads
/// there no more.
pub(crate) async fn take(tx: &mut Tx, slug: &str, tenant: TenantId, now: i64) -> Result<()> {
    let appearance = appearance(slug);
    sqlx::query(
        "DELETE FROM slugs WHERE appearance = $1 AND (until <= $2 OR (until IS NOT NULL AND tenant_id = $3))",
    )
    .bind(appearance.as_str())
    .bind(now)
    .bind(tenant.to_string())
    .execute(&mut *tx.inner)
    .await
    .doing("freeing a slug")?;
    let exists = || StoreError::Exists {
        what: format!("a tenant with the slug {slug}, or with one that looks like it,"),
    };
    if creations::holds(tx, &appearance, tenant).await? {
        return Err(exists());
    }
    let taken = sqlx::query(
        "INSERT INTO slugs (slug, tenant_id, appearance) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(slug)
    .bind(tenant.to_string())
    .bind(appearance)
    .execute(&mut *tx.inner)
    .await
    .doing("taking a slug")?;
    if taken.rows_affected() == 0 {
        return Err(exists());
    }
    Ok(())
}

/// Lets a slug lead to its tenant until then, and be free after.
pub(super) async fn leave(tx: &mut Tx, slug: &str, until: i64) -> Result<()> {
    sqlx::query("UPDATE slugs SET until = $2 WHERE slug = $1")
        .bind(slug)
        .bind(until)
        .execute(&mut *tx.inner)
        .await
        .doing("leaving a slug")?;
    Ok(())
}

/// Whose a slug was.
pub(super) async fn former(tx: &mut Tx, slug: &str, now: i64) -> Result<Option<TenantId>> {
    let row = sqlx::query("SELECT tenant_id FROM slugs WHERE slug = $1 AND until > $2")
        .bind(slug)
        .bind(now)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a former slug")?;
    let Some(row) = row else { return Ok(None) };
    let _: String = row
        .try_get("tenant_id")
        .doing("looking for a former slug")?;
    Named::new("slugs", slug, &row).parse("tenant_id").map(Some)
}

/// The tenant that is called so, or was until lately. The transaction goes on as that tenant.
pub(crate) async fn called(tx: &mut Tx, slug: &str, now: i64) -> Result<Option<Tenant>> {
    if let Some(found) = by_slug(tx, slug).await? {
        tx.narrow(found.id).await?;
        return Ok(Some(found));
    }
    let Some(id) = former(tx, slug, now).await? else {
        return Ok(None);
    };
    tx.narrow(id).await?;
    by_id(tx, id).await
}

/// Former slugs that every role is told of.
const TOLD: i64 = 20;

/// What a tenant was called and is found by still, the last ones first.
pub(super) async fn former_of(tx: &mut Tx, tenant: TenantId, now: i64) -> Result<Vec<FormerSlug>> {
    let rows = sqlx::query(
        "SELECT slug, until FROM slugs WHERE tenant_id = $1 AND until > $2 ORDER BY until DESC LIMIT $3",
    )
    .bind(tenant.to_string())
    .bind(now)
    .bind(TOLD)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing the former slugs of a tenant")?;
    rows.iter()
        .map(|row| {
            let slug: String = row
                .try_get("slug")
                .doing("listing the former slugs of a tenant")?;
            let until = Named::new("slugs", &slug, row).get("until")?;
            Ok(FormerSlug { slug, until })
        })
        .collect()
}
