//! Provisioning keys: with one of them a device enrols itself. Only control has to know them, and
//! it asks the store each time: no news of them goes to the other roles.

use laneway_tenancy::{DeviceDetails, ProvisioningKeyId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::Access;
use crate::codec::{Named, hex, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::next_versions;
use crate::room::count;

/// Provisioning keys that a tenant may have.
const MOST: u64 = 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct ProvisioningKey {
    pub id: ProvisioningKeyId,
    pub terms: ProvisioningTerms,
    /// Devices that came in with it.
    pub uses: u64,
    pub created_at: i64,
}

/// Whom a provisioning key lets in, and as what.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvisioningTerms {
    /// Says what the key is for.
    pub name: String,
    /// What the ids of its devices look like ([`laneway_tenancy::details::matches`]).
    pub pattern: String,
    /// What its devices get.
    pub details: DeviceDetails,
    /// 0 for no bound.
    pub max_uses: u64,
    pub expires_at: Option<i64>,
}

/// The provisioning keys of one tenant.
pub struct ProvisioningKeys<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

pub(crate) const COLUMNS: &str =
    "SELECT key_id, name, pattern, details, max_uses, uses, expires_at,
    created_at FROM provisioning_keys";

impl ProvisioningKeys<'_> {
    /// `token_hash` is the keyed hash of the key's token.
    pub async fn create(
        &self,
        id: ProvisioningKeyId,
        terms: ProvisioningTerms,
        token_hash: [u8; 32],
        at: i64,
    ) -> Result<ProvisioningKey> {
        let tenant = self.scope.tenant();
        self.store.claim_secrets(tenant, &[token_hash], at).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Locks the tenant's row: what is counted stays true.
        next_versions(&mut tx, tenant, 0).await?;
        if count(&mut tx, "provisioning_keys", tenant).await? >= MOST {
            return Err(StoreError::Refused(format!(
                "a tenant has at most {MOST} provisioning keys; revoke one"
            )));
        }
        sqlx::query(
            "INSERT INTO provisioning_keys (tenant_id, key_id, name, token_hash, pattern, details,
                max_uses, expires_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(terms.name.as_str())
        .bind(hex(&token_hash))
        .bind(terms.pattern.as_str())
        .bind(to_json(&terms.details)?)
        .bind(i64::try_from(terms.max_uses).unwrap_or(i64::MAX))
        .bind(terms.expires_at)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("creating a provisioning key")?;
        tx.touches(tenant, "provisioning_key", &id.to_string(), false, at);
        tx.commit_recorded().await?;
        Ok(ProvisioningKey {
            id,
            terms,
            uses: 0,
            created_at: at,
        })
    }

    /// Keys by id, after `after`.
    pub async fn list(
        &self,
        after: Option<ProvisioningKeyId>,
        limit: u32,
    ) -> Result<Vec<ProvisioningKey>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND key_id > $2 ORDER BY key_id LIMIT $3"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing provisioning keys")?;
        tx.commit().await?;
        rows.iter().map(provisioning_key).collect()
    }

    /// Revokes one. The devices that came in with it stay.
    pub async fn delete(&self, id: ProvisioningKeyId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let deleted =
            sqlx::query("DELETE FROM provisioning_keys WHERE tenant_id = $1 AND key_id = $2")
                .bind(tenant.to_string())
                .bind(id.to_string())
                .execute(&mut *tx.inner)
                .await
                .doing("revoking a provisioning key")?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::Missing {
                what: format!("provisioning key {id}"),
            });
        }
        tx.touches(tenant, "provisioning_key", &id.to_string(), true, at);
        tx.commit_recorded().await
    }
}

pub(crate) fn provisioning_key(row: &AnyRow) -> Result<ProvisioningKey> {
    let id: String = row.try_get("key_id").doing("reading a provisioning key")?;
    let row = Named::new("provisioning_keys", &id, row);
    let count = |column| {
        let count: i64 = row.get(column)?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok(ProvisioningKey {
        id: row.parse("key_id")?,
        terms: ProvisioningTerms {
            name: row.get("name")?,
            pattern: row.get("pattern")?,
            details: row.json("details")?,
            max_uses: count("max_uses")?,
            expires_at: row.get("expires_at")?,
        },
        uses: count("uses")?,
        created_at: row.get("created_at")?,
    })
}
