//! Claims in the main database on what is unique over all tenants. They do nothing for a tenant
//! whose tables are in the main database: its own rows are unique there.

use std::time::{Duration, Instant};

use laneway_tenancy::control::HostState;
use laneway_tenancy::{HostPattern, TenantId};
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, placeholders};
use crate::codec::{Named, hex, variant_name};
use crate::error::{Doing, Result, StoreError};
use crate::shards::has;
use crate::tenants;

/// How long a claim may be used after it was made; an old one is swept much later.
const USED_WITHIN: Duration = Duration::from_secs(60);

/// Says that a name is claimed, until it is used.
#[must_use]
pub(crate) struct Claim(Instant);

impl Claim {
    pub(crate) fn now() -> Self {
        Claim(Instant::now())
    }

    /// Right before the transaction that it was made for is committed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.elapsed() < USED_WITHIN {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            doing: "using a claim in the main database",
            reason: "it took too long, and may be somebody else's by now".to_owned(),
        })
    }
}

impl Store {
    /// Says whose secrets of these keyed hashes will be.
    pub(crate) async fn claim_secrets(
        &self,
        tenant: TenantId,
        hashes: &[[u8; 32]],
        at: i64,
    ) -> Result<()> {
        if hashes.is_empty() || self.home_apart(tenant).await?.is_none() {
            return Ok(());
        }
        let mut tx = self.write(Access::Here(tenant)).await?;
        insert_secrets(&mut tx, tenant, hashes, at).await?;
        tx.commit().await
    }
}

/// Whose a secret is, of tenants elsewhere.
pub(crate) async fn owner_of_secret(tx: &mut Tx, hash: &str) -> Result<Option<TenantId>> {
    let row = sqlx::query("SELECT tenant_id FROM secret_homes WHERE token_hash = $1")
        .bind(hash)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking whose a secret is")?;
    let Some(row) = row else { return Ok(None) };
    let row = Named::new("secret_homes", "of a secret", &row);
    row.parse("tenant_id").map(Some)
}

pub(crate) async fn insert_secrets(
    tx: &mut Tx,
    tenant: TenantId,
    hashes: &[[u8; 32]],
    at: i64,
) -> Result<()> {
    let tenant = tenant.to_string();
    for chunk in chunks(hashes) {
        let sql = format!(
            "INSERT INTO secret_homes (token_hash, tenant_id, claimed_at) VALUES {}",
            placeholders(3, chunk.len())
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for hash in chunk {
            query = query.bind(hex(hash)).bind(tenant.as_str()).bind(at);
        }
        query
            .execute(&mut *tx.inner)
            .await
            .doing("saying whose secrets are")?;
    }
    Ok(())
}

/// Takes slugs for tenants elsewhere, all or none. One that a tenant had before is its own still.
pub(crate) async fn claim_slugs(
    main: &Store,
    slugs: &[(TenantId, String)],
    at: i64,
) -> Result<Claim> {
    let claim = Claim::now();
    let mut tx = main.write(Access::Platform).await?;
    for (tenant, slug) in slugs {
        if !note_claim(&mut tx, *tenant, slug, at).await? {
            tenants::take_slug(&mut tx, slug, *tenant, at).await?;
            note_claim(&mut tx, *tenant, slug, at).await?;
        }
    }
    tx.commit().await?;
    Ok(claim)
}

/// Whether it is the tenant's.
async fn note_claim(tx: &mut Tx, tenant: TenantId, slug: &str, at: i64) -> Result<bool> {
    let noted = sqlx::query(
        "UPDATE slugs SET claimed_at = $3
         WHERE slug = $1 AND tenant_id = $2 AND (until IS NULL OR until > $3)",
    )
    .bind(slug)
    .bind(tenant.to_string())
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("claiming a slug")?;
    Ok(noted.rows_affected() > 0)
}

/// Frees slugs that were claimed and not given; those that a tenant had before stay.
pub(crate) async fn release_slugs(main: &Store, slugs: &[(TenantId, String)]) -> Result<()> {
    let mut tx = main.write(Access::Platform).await?;
    for (tenant, slug) in slugs {
        for sql in [
            "DELETE FROM slugs
             WHERE tenant_id = $1 AND slug = $2 AND claimed_at IS NOT NULL AND until IS NULL",
            "UPDATE slugs SET claimed_at = NULL WHERE tenant_id = $1 AND slug = $2",
        ] {
            sqlx::query(sql)
                .bind(tenant.to_string())
                .bind(slug.as_str())
                .execute(&mut *tx.inner)
                .await
                .doing("releasing a slug")?;
        }
    }
    tx.commit().await
}

/// When the copy of a host is due to be proved: its own row says that.
pub(crate) const NEVER: i64 = i64::MAX;

/// Claims a host for a tenant elsewhere, as the row of a live host that says nothing else.
/// [`StoreError::Exists`] where it is live for another tenant.
pub(crate) async fn claim_host(
    main: &Store,
    tenant: TenantId,
    host: &HostPattern,
    at: i64,
) -> Result<Claim> {
    let claim = Claim::now();
    let mut tx = main.write(Access::Here(tenant)).await?;
    let claimed = sqlx::query(
        "INSERT INTO hosts (tenant_id, host, state, token, next_check_at, created_at)
         VALUES ($1, $2, $3, '', $4, $5)
         ON CONFLICT (tenant_id, host) DO UPDATE SET created_at = excluded.created_at",
    )
    .bind(tenant.to_string())
    .bind(host.as_str())
    .bind(variant_name(&HostState::Live)?)
    .bind(NEVER)
    .bind(at)
    .execute(&mut *tx.inner)
    .await;
    match claimed {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::Exists {
                what: format!("the host {host}, live for another tenant,"),
            })
        }
        claimed => {
            claimed.doing("claiming a host")?;
            tx.commit().await?;
            Ok(claim)
        }
    }
}

/// Releases a host where it is not live any more; whether it was claimed. A claim that is made
/// meanwhile stays.
pub(crate) async fn release_host(
    main: &Store,
    tenant: TenantId,
    host: &HostPattern,
) -> Result<bool> {
    const DOING: &str = "releasing a host";
    let mut tx = main.read(Access::Here(tenant)).await?;
    let claim = sqlx::query(
        "SELECT created_at FROM hosts WHERE tenant_id = $1 AND host = $2 AND next_check_at = $3",
    )
    .bind(tenant.to_string())
    .bind(host.as_str())
    .bind(NEVER)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(DOING)?;
    tx.commit().await?;
    let Some(claim) = claim else { return Ok(false) };
    let claimed_at: i64 = claim.try_get(0).doing(DOING)?;
    let mut tx = main.read(Access::Tenant(tenant)).await?;
    let live = sqlx::query(
        "SELECT host FROM hosts WHERE tenant_id = $1 AND host = $2 AND state = $3
            AND next_check_at <> $4",
    )
    .bind(tenant.to_string())
    .bind(host.as_str())
    .bind(variant_name(&HostState::Live)?)
    .bind(NEVER)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(DOING)?;
    let knows = !tx.in_shard || has(&mut tx, tenant).await?;
    tx.commit().await?;
    if live.is_some() || !knows {
        return Ok(false);
    }
    let mut tx = main.write(Access::Here(tenant)).await?;
    let released = sqlx::query(
        "DELETE FROM hosts WHERE tenant_id = $1 AND host = $2 AND next_check_at = $3
            AND created_at = $4",
    )
    .bind(tenant.to_string())
    .bind(host.as_str())
    .bind(NEVER)
    .bind(claimed_at)
    .execute(&mut *tx.inner)
    .await
    .doing(DOING)?;
    tx.commit().await?;
    Ok(released.rows_affected() > 0)
}
