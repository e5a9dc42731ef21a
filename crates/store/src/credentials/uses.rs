//! When credentials were used last, as the roles that authenticate them say.

use std::collections::BTreeMap;
use std::sync::Arc;

use laneway_tenancy::control::RoleAuthority;
use laneway_tenancy::{CredentialUse, NOTED_EVERY_US, SecretId, TenantId};

use crate::Store;
use crate::access::Access;
use crate::chunks::{chunks, placeholders_from};
use crate::error::{Doing, Result};

impl Store {
    /// Notes uses, a few hundred credentials a statement, under the newest of their times. What
    /// another node has noted a moment ago stays. Where a database is away, the others are told
    /// all the same.
    pub async fn note_uses(
        &self,
        _authority: &RoleAuthority,
        uses: &[CredentialUse],
    ) -> Result<()> {
        let mut tenants: Vec<TenantId> = uses.iter().map(|used| used.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let places = self.places(&tenants).await?;
        let mut by_home: BTreeMap<Option<Arc<str>>, Vec<&CredentialUse>> = BTreeMap::new();
        for used in uses {
            let home = places.get(&used.tenant).and_then(|p| p.home.clone());
            by_home.entry(home).or_default().push(used);
        }
        let mut noted = Ok(());
        for (home, uses) in by_home {
            let there = async { self.in_place(home.as_deref())?.note_here(uses).await };
            noted = noted.and(there.await);
        }
        noted
    }

    async fn note_here(&self, uses: Vec<&CredentialUse>) -> Result<()> {
        let (keys, credentials): (Vec<_>, Vec<_>) = uses
            .into_iter()
            .partition(|used| matches!(used.secret, SecretId::Key(_)));
        self.note("credentials", "credential_id", &credentials)
            .await?;
        self.note("api_keys", "key_id", &keys).await
    }

    async fn note(
        &self,
        table: &'static str,
        column: &'static str,
        uses: &[&CredentialUse],
    ) -> Result<()> {
        for chunk in chunks(uses) {
            let at = chunk.iter().map(|used| used.at).max().unwrap_or_default();
            // In the order of their keys, so that two nodes lock them in the same order.
            let mut chunk = chunk.to_vec();
            chunk.sort_unstable_by_key(|used| (used.tenant, used.secret));
            let sql = format!(
                "UPDATE {table} SET last_used_at = $1
                 WHERE (last_used_at IS NULL OR last_used_at < $2)
                    AND (tenant_id, {column}) IN (VALUES {})",
                placeholders_from(3, 2, chunk.len())
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(at)
                .bind(at.saturating_sub(NOTED_EVERY_US));
            for used in &chunk {
                let id = match used.secret {
                    SecretId::Credential(id) => id.to_string(),
                    SecretId::Key(id) => id.to_string(),
                };
                query = query.bind(used.tenant.to_string()).bind(id);
            }
            let mut tx = self.write(Access::Platform).await?;
            query
                .execute(&mut *tx.inner)
                .await
                .doing("noting when credentials were used")?;
            tx.commit().await?;
        }
        Ok(())
    }
}
