//! Releasing claims with nothing behind them: of what was given back, and of what was claimed by a
//! process that came no further.

use std::collections::{BTreeMap, HashSet};

use laneway_tenancy::TenantId;
use laneway_tenancy::control::RoleAuthority;
use sqlx::Row;

use super::claims::{NEVER, release_host};
use crate::Store;
use crate::access::{Access, Tx};
use crate::chunks::{chunks, list};
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};
use crate::shards::has;

/// How old a claim is that nobody uses any more: much longer than it may be used.
const OLD_US: i64 = 3600 * 1_000_000;

/// The claims in the main database, for the worker that releases them.
pub struct Claims<'a> {
    store: &'a Store,
}

/// What came of a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    pub released: u64,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

/// A claim as it is stored, by the key of its table.
struct Old {
    tenant: TenantId,
    name: String,
}

/// A kind of claims: rows with `claimed_at`.
struct Kind {
    table: &'static str,
    name: &'static str,
    /// Where a tenant's own database has what is claimed: queries for names among `{names}`.
    behind: &'static [&'static str],
}

const SECRETS: Kind = Kind {
    table: "secret_homes",
    name: "token_hash",
    behind: &[
        "SELECT token_hash AS name FROM credentials WHERE token_hash IN ({names})",
        "SELECT token_hash AS name FROM api_keys WHERE token_hash IN ({names})",
        "SELECT former_hash AS name FROM api_keys WHERE former_hash IN ({names})",
        "SELECT token_hash AS name FROM provisioning_keys WHERE token_hash IN ({names})",
    ],
};

const SLUGS: Kind = Kind {
    table: "slugs",
    name: "slug",
    behind: &["SELECT slug AS name FROM slugs WHERE slug IN ({names})"],
};

impl Store {
    pub fn claims(&self, _authority: &RoleAuthority) -> Claims<'_> {
        Claims { store: self }
    }
}

impl Claims<'_> {
    /// Releases what is old and has nothing behind it, of up to `limit` secrets after `after`.
    /// What is in a database that is away stays.
    pub async fn sweep_secrets(&self, after: &str, now: i64, limit: u32) -> Result<Swept> {
        let old = self.old(&SECRETS, after, now, limit).await?;
        let next = match old.last() {
            Some(last) if old.len() == limit as usize => Some(last.name.clone()),
            _ => None,
        };
        let released = self.release(&SECRETS, old, now).await?;
        Ok(Swept { released, next })
    }

    /// The same of all slugs and hosts, of which few are old. A slug that a tenant has is
    /// copied, and is no claim any more.
    pub async fn sweep_names(&self, now: i64) -> Result<u64> {
        const MOST: u32 = 1000;
        let slugs = self.old(&SLUGS, "", now, MOST).await?;
        let tenants: Vec<TenantId> = slugs.iter().map(|slug| slug.tenant).collect();
        self.store.mirror_soon(&tenants).await;
        let slugs = self.release(&SLUGS, slugs, now).await?;
        Ok(slugs + self.sweep_hosts(now).await?)
    }

    async fn old(&self, kind: &Kind, after: &str, now: i64, limit: u32) -> Result<Vec<Old>> {
        const DOING: &str = "looking for old claims";
        let Kind { table, name, .. } = kind;
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT tenant_id, {name} AS name FROM {table}
             WHERE {name} > $1 AND claimed_at < $2 ORDER BY {name} LIMIT $3"
        )))
        .bind(after)
        .bind(now - OLD_US)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let name: String = row.try_get("name").doing(DOING)?;
                let tenant = Named::new(table, "of a claim", row).parse("tenant_id")?;
                Ok(Old { tenant, name })
            })
            .collect()
    }

    async fn release(&self, kind: &Kind, old: Vec<Old>, now: i64) -> Result<u64> {
        let mut by_tenant: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
        for Old { tenant, name } in old {
            by_tenant.entry(tenant).or_default().push(name);
        }
        let Kind { table, name, .. } = kind;
        let mut released = 0;
        for (tenant, names) in by_tenant {
            let behind = match self.behind(kind, tenant, &names).await {
                Err(away) if away.is_transient() => continue,
                behind => behind?,
            };
            let orphans: Vec<&String> = names.iter().filter(|n| !behind.contains(*n)).collect();
            let mut tx = self.store.write(Access::Here(tenant)).await?;
            for orphan in orphans {
                let sql = format!(
                    "DELETE FROM {table} WHERE {name} = $1 AND claimed_at < $2 AND tenant_id = $3"
                );
                released += sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(orphan.as_str())
                    .bind(now - OLD_US)
                    .bind(tenant.to_string())
                    .execute(&mut *tx.inner)
                    .await
                    .doing("releasing a claim")?
                    .rows_affected();
            }
            tx.commit().await?;
        }
        Ok(released)
    }

    /// Which of the names the tenant has in its own database; an error where that is not there, or
    /// not the one that it was.
    async fn behind(
        &self,
        kind: &Kind,
        tenant: TenantId,
        names: &[String],
    ) -> Result<HashSet<String>> {
        let mut there = HashSet::new();
        let mut tx = self.store.read(Access::Tenant(tenant)).await?;
        if tx.in_shard && !has(&mut tx, tenant).await? {
            return Err(StoreError::Unavailable {
                doing: "looking what is behind claims",
                reason: format!("the database of {tenant} knows nothing of it"),
            });
        }
        for chunk in chunks(names) {
            let places = list(1, chunk.len());
            for sql in kind.behind {
                there.extend(found(&mut tx, &sql.replace("{names}", &places), chunk).await?);
            }
        }
        tx.commit().await?;
        Ok(there)
    }

    async fn sweep_hosts(&self, now: i64) -> Result<u64> {
        const DOING: &str = "releasing hosts that are live no more";
        let mut tx = self.store.read(Access::Platform).await?;
        let rows = sqlx::query(
            "SELECT tenant_id, host FROM hosts WHERE next_check_at = $1 AND created_at < $2",
        )
        .bind(NEVER)
        .bind(now - OLD_US)
        .fetch_all(&mut *tx.inner)
        .await
        .doing(DOING)?;
        tx.commit().await?;
        let mut released = 0;
        for row in rows {
            let name: String = row.try_get("host").doing(DOING)?;
            let row = Named::new("hosts", &name, &row);
            let (tenant, host) = (row.parse("tenant_id")?, row.parse("host")?);
            match release_host(self.store, tenant, &host).await {
                Err(away) if away.is_transient() => {}
                gone => released += u64::from(gone?),
            }
        }
        Ok(released)
    }
}

async fn found(tx: &mut Tx, sql: &str, names: &[String]) -> Result<Vec<String>> {
    const DOING: &str = "looking what is behind claims";
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).persistent(false);
    for name in names {
        query = query.bind(name.as_str());
    }
    let rows = query.fetch_all(&mut *tx.inner).await.doing(DOING)?;
    rows.iter()
        .map(|row| row.try_get("name").doing(DOING))
        .collect()
}
