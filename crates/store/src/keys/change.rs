//! Keys that get another secret, name or end.

use laneway_tenancy::{KeyId, TenantId};

use super::{ApiKey, ApiKeys, bounded, find, missing, tell};
use crate::access::{Access, Tx};
use crate::codec::hex;
use crate::error::{Doing, Result, StoreError};
use crate::outbox::next_version;
use crate::tenants;

/// What is given of these.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    pub name: Option<String>,
    /// The tenant's option `key_lifetime_seconds` bounds it.
    pub expires_at: Option<i64>,
}

/// A new secret for a key.
pub struct KeyRotation {
    /// The keyed hash of the new token.
    pub token_hash: [u8; 32],
    /// Until when the secret before holds too, unless the key ended sooner; at once where that is
    /// not in the future.
    pub former_until: i64,
    /// When the key ends. Where it is not said: as the tenant's option `key_lifetime_seconds`
    /// says, else when it would have.
    pub expires_at: Option<i64>,
}

impl ApiKeys<'_> {
    /// Changes one; [`StoreError::Changed`] where it is not at `expected` any more.
    pub async fn change(
        &self,
        id: KeyId,
        expected: Option<i64>,
        change: KeyChange,
        at: i64,
    ) -> Result<ApiKey> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let mut key = lock(&mut tx, tenant, id, expected).await?;
        if change.expires_at.is_some() {
            let found = tenants::by_id(&mut tx, tenant).await?;
            key.expires_at = bounded(found.as_ref(), change.expires_at, at)?;
        }
        key.name = change.name.unwrap_or(key.name);
        sqlx::query(
            "UPDATE api_keys SET name = $3, expires_at = $4, version = $5
             WHERE tenant_id = $1 AND key_id = $2",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(key.name.as_str())
        .bind(key.expires_at)
        .bind(key.version)
        .execute(&mut *tx.inner)
        .await
        .doing("changing an API key")?;
        tell(&mut tx, tenant, &key, at).await?;
        self.store.commit_change(tx).await?;
        Ok(key)
    }

    /// Gives one another secret. What it had before the last rotation ends at once.
    pub async fn rotate(
        &self,
        id: KeyId,
        expected: Option<i64>,
        rotation: KeyRotation,
        at: i64,
    ) -> Result<ApiKey> {
        let tenant = self.scope.tenant();
        let secret = [rotation.token_hash];
        self.store.claim_secrets(tenant, &secret, at).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let mut key = lock(&mut tx, tenant, id, expected).await?;
        let ended = key.expires_at.unwrap_or(i64::MAX);
        let former_until = rotation.former_until.min(ended);
        key.former_until = (former_until > at).then_some(former_until);
        let found = tenants::by_id(&mut tx, tenant).await?;
        let bound = bounded(found.as_ref(), rotation.expires_at, at)?;
        key.expires_at = bound.or(key.expires_at);
        if key.expires_at.is_some_and(|end| end <= at) {
            return Err(StoreError::Refused(format!(
                "API key {id} has ended; say when the new secret is to end (expires_at)"
            )));
        }
        sqlx::query(
            "UPDATE api_keys SET former_hash = CASE WHEN $3 THEN token_hash END, former_until = $4,
                token_hash = $5, expires_at = $6, version = $7
             WHERE tenant_id = $1 AND key_id = $2",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(key.former_until.is_some())
        .bind(key.former_until)
        .bind(hex(&rotation.token_hash))
        .bind(key.expires_at)
        .bind(key.version)
        .execute(&mut *tx.inner)
        .await
        .doing("rotating an API key")?;
        tell(&mut tx, tenant, &key, at).await?;
        self.store.commit_change(tx).await?;
        Ok(key)
    }
}

/// The key at its next version. Locks the tenant's row.
async fn lock(tx: &mut Tx, tenant: TenantId, id: KeyId, expected: Option<i64>) -> Result<ApiKey> {
    let version = next_version(tx, tenant).await?;
    let mut key = find(tx, tenant, id).await?.ok_or_else(|| missing(id))?;
    if expected.is_some_and(|expected| expected != key.version) {
        return Err(StoreError::Changed {
            what: format!("API key {id}"),
        });
    }
    key.version = version;
    Ok(key)
}
