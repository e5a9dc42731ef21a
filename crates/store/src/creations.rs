//! Creating a tenant in a shard: two databases, and no transaction over both. So it is done step by
//! step, and how far it is is stored.
//!
//! 1. *Reserved*: the main database knows of the creation, and the slug is taken. There is no
//!    tenant yet: nothing finds it, and nothing lets it in. Undone by forgetting the creation.
//! 2. *Marked*, and *placed* once that is noted: the shard has answered, and has the tenant's
//!    mark. Undone by taking the mark back.
//! 3. *Made*: in the shard there is the tenant with its key, its hosts and the news of it, which is
//!    not told yet. Undone by erasing it, with the mark; the one above it gets its limits back.
//! 4. *Activated*: the main database has the copy of the tenant, its slug and whose its first
//!    secret is, and the creation is forgotten: one transaction.
//!
//! Invariant: what is interrupted before the last step is undone, never finished by somebody else:
//! the one who asked was given no answer, and the first key's secret was known to nobody else.
//! Undoing begins with saying so in the creation, from when on it cannot be activated, and takes
//! the mark, from when on it cannot be made.

use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::slug::appearance;
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};
use crate::shards::{is_there, keep_mark, unmark_in};
use crate::{NewTenant, Store, tenants};

/// How long a creation may take before it counts as interrupted: longer than the patience with a
/// database, several times.
const AT_MOST_US: i64 = 60_000_000;

/// A step of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreationStep {
    Reserved,
    /// The shard has its mark; that is not noted yet.
    Marked,
    Placed,
    Made,
    Activated,
}

impl CreationStep {
    pub const ALL: [CreationStep; 5] = [
        CreationStep::Reserved,
        CreationStep::Marked,
        CreationStep::Placed,
        CreationStep::Made,
        CreationStep::Activated,
    ];
}

/// Creations that are under way, for the worker that undoes what was interrupted.
pub struct Creations<'a> {
    store: &'a Store,
}

impl Store {
    pub fn creations(&self, _authority: &RoleAuthority) -> Creations<'_> {
        Creations { store: self }
    }
}

impl Creations<'_> {
    /// Those that were interrupted: begun so long ago that nobody is at work on them.
    pub async fn interrupted(&self, now: i64, limit: u32) -> Result<Vec<TenantId>> {
        if self.store.0.shards.is_empty() {
            // It begins none, and could undo none of another process's.
            return Ok(Vec::new());
        }
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT tenant_id FROM creations WHERE begun_at <= $1 ORDER BY tenant_id LIMIT $2",
        )
        .bind(now - AT_MOST_US)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("looking for creations that were interrupted")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let id: String = row
                    .try_get(0)
                    .doing("looking for creations that were interrupted")?;
                Named::new("creations", &id, row).parse("tenant_id")
            })
            .collect()
    }

    /// Undoes one, as far as it came. May be done twice.
    pub async fn undo(&self, tenant: TenantId) -> Result<()> {
        undo(self.store, tenant).await
    }
}

/// Takes the slug, and says in which shard the tenant will be.
pub(crate) async fn reserve(store: &Store, new: &NewTenant, shard: &str, at: i64) -> Result<()> {
    let mut tx = store.write(Access::Platform).await?;
    let taken = || StoreError::Exists {
        what: format!(
            "a tenant with the slug {}, or with one that looks like it,",
            new.slug
        ),
    };
    let looks = appearance(&new.slug);
    let held = sqlx::query(
        "SELECT slug FROM slugs WHERE appearance = $1 AND (until IS NULL OR until > $2)",
    )
    .bind(looks.as_str())
    .bind(at)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a slug")?;
    if held.is_some() {
        return Err(taken());
    }
    let reserved = sqlx::query(
        "INSERT INTO creations (tenant_id, appearance, shard, step, begun_at)
         VALUES ($1, $2, $3, 'reserved', $4) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.to_string())
    .bind(looks)
    .bind(shard)
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("reserving a tenant")?;
    if reserved.rows_affected() == 0 {
        return Err(taken());
    }
    tx.commit().await
}

/// Notes that the shard is marked.
pub(crate) async fn placed(store: &Store, tenant: TenantId) -> Result<()> {
    let mut tx = store.write(Access::Platform).await?;
    let placed = sqlx::query(
        "UPDATE creations SET step = 'placed' WHERE tenant_id = $1 AND step = 'reserved'",
    )
    .bind(tenant.to_string())
    .execute(&mut *tx.inner)
    .await
    .doing("noting a step of a creation")?;
    if placed.rows_affected() == 0 {
        return Err(interrupted());
    }
    tx.commit().await
}

/// In the transaction that makes the tenant: its creation is over.
pub(crate) async fn end(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    let ended = sqlx::query("DELETE FROM creations WHERE tenant_id = $1 AND step = 'placed'")
        .bind(tenant.to_string())
        .execute(&mut *tx.inner)
        .await
        .doing("ending a creation")?;
    if ended.rows_affected() == 0 {
        return Err(interrupted());
    }
    Ok(())
}

/// Whether another tenant with a slug that looks like this is being created.
pub(crate) async fn holds(tx: &mut Tx, looks: &str, but: TenantId) -> Result<bool> {
    let row =
        sqlx::query("SELECT tenant_id FROM creations WHERE appearance = $1 AND tenant_id <> $2")
            .bind(looks)
            .bind(but.to_string())
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("looking for a creation")?;
    Ok(row.is_some())
}

/// Undoes what one's own creation came to, and what was made in a shard after somebody else had
/// undone it.
pub(crate) async fn undo_own(store: &Store, tenant: TenantId, shard: &str, at: i64) -> Result<()> {
    undo(store, tenant).await?;
    if !is_there(store, tenant).await? {
        unmake(store.0.shards.get(shard)?, tenant, at).await?;
    }
    Ok(())
}

/// Undoes a creation that was not activated; where it was, or is undone, there is nothing to do.
pub(crate) async fn undo(store: &Store, tenant: TenantId) -> Result<()> {
    const DOING: &str = "undoing a creation";
    let mut tx = store.write(Access::Platform).await?;
    let row = sqlx::query(
        "UPDATE creations SET step = 'undoing' WHERE tenant_id = $1 RETURNING shard, begun_at",
    )
    .bind(tenant.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(DOING)?;
    tx.commit().await?;
    let Some(row) = row else { return Ok(()) };
    let id = tenant.to_string();
    let row = Named::new("creations", &id, &row);
    let (shard, begun_at): (String, i64) = (row.get("shard")?, row.get("begun_at")?);
    unmake(store.0.shards.get(&shard)?, tenant, begun_at).await?;
    let mut tx = store.write(Access::Platform).await?;
    sqlx::query("DELETE FROM creations WHERE tenant_id = $1 AND step = 'undoing'")
        .bind(id)
        .execute(&mut *tx.inner)
        .await
        .doing(DOING)?;
    tx.commit().await
}

/// Tables of a tenant that was made and never was, each before those that it refers to.
const MADE: [&str; 5] = ["outbox", "api_keys", "hosts", "slugs", "tenants"];

/// Takes back what a shard has of a tenant that is not to be. Its audit trail says so.
async fn unmake(shard: &Store, tenant: TenantId, at: i64) -> Result<()> {
    let mut tx = shard.write(Access::Platform).await?;
    keep_mark(&mut tx, tenant).await?;
    if let Some(made) = tenants::by_id(&mut tx, tenant).await? {
        if let Some(above) = made.body.parent {
            tenants::divide_anew(&mut tx, above, tenant, None, at).await?;
        }
        for table in MADE {
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE tenant_id = $1"
            )))
            .bind(tenant.to_string())
            .execute(&mut *tx.inner)
            .await
            .doing("taking back what was made of a tenant")?;
        }
        tx.touches(tenant, "tenant", &tenant.to_string(), true, at);
    }
    unmark_in(&mut tx, tenant).await?;
    tx.commit_recorded().await
}

pub(crate) fn interrupted() -> StoreError {
    StoreError::Unavailable {
        doing: "creating a tenant",
        reason: "it took too long, and was undone".to_owned(),
    }
}
