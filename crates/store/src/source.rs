//! Credentials, as authentication asks for them.

use futures_util::future::BoxFuture;
use laneway_tenancy::{
    CredentialSource, SourceError, StoredCredential, StoredLogin, StoredPrincipal, TenantId,
};
use sqlx::Row;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, hex};
use crate::error::{Doing, Result};
use crate::keys::grants;
use crate::tenants;

/// The store as a [`CredentialSource`].
pub struct StoreCredentials(pub Store);

impl CredentialSource for StoreCredentials {
    fn by_token(
        &self,
        hash: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<StoredCredential>, SourceError>> {
        Box::pin(async move { self.token(&hex(&hash)).await.map_err(SourceError::new) })
    }

    fn by_login<'a>(
        &'a self,
        tenant_slug: &'a str,
        device: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredLogin>, SourceError>> {
        Box::pin(async move {
            self.login(tenant_slug, device)
                .await
                .map_err(SourceError::new)
        })
    }
}

impl StoreCredentials {
    async fn token(&self, hash: &str) -> Result<Option<StoredCredential>> {
        let mut tx = self.0.read(Access::Secret(hash.to_owned())).await?;
        let Some((tenant, principal)) = principal(&mut tx, hash).await? else {
            return Ok(None);
        };
        tx.narrow(tenant).await?;
        let tenant = tenants::by_id(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(tenant.map(|t| StoredCredential {
            control_version: t.control_version,
            tenant: t.into_info(),
            principal,
        }))
    }

    async fn login(&self, slug: &str, device: &str) -> Result<Option<StoredLogin>> {
        let mut tx = self.0.read(Access::Slug(slug.to_owned())).await?;
        let Some(tenant) = tenants::by_slug(&mut tx, slug).await? else {
            return Ok(None);
        };
        tx.narrow(tenant.id).await?;
        let row = sqlx::query(
            "SELECT credential_id, device_id, password_hash FROM credentials
             WHERE tenant_id = $1 AND device_id = $2 AND kind = 'password'",
        )
        .bind(tenant.id.to_string())
        .bind(device)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a device's password")?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let name = format!("{}/{device}", tenant.id);
        let row = Named::new("credentials", &name, &row);
        Ok(Some(StoredLogin {
            control_version: tenant.control_version,
            device: row.parse("device_id")?,
            credential: row.parse("credential_id")?,
            password_hash: row.get("password_hash")?,
            tenant: tenant.into_info(),
        }))
    }
}

async fn principal(tx: &mut Tx, hash: &str) -> Result<Option<(TenantId, StoredPrincipal)>> {
    let row = sqlx::query(
        "SELECT tenant_id, credential_id, device_id FROM credentials WHERE token_hash = $1",
    )
    .bind(hash)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a device token")?;
    if let Some(row) = row {
        let id: String = row
            .try_get("credential_id")
            .doing("looking for a device token")?;
        let row = Named::new("credentials", &id, &row);
        let principal = StoredPrincipal::Device {
            device: row.parse("device_id")?,
            credential: row.parse("credential_id")?,
        };
        return Ok(Some((row.parse("tenant_id")?, principal)));
    }
    let row = sqlx::query("SELECT tenant_id, key_id, grants FROM api_keys WHERE token_hash = $1")
        .bind(hash)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for an API key")?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.try_get("key_id").doing("looking for an API key")?;
    let row = Named::new("api_keys", &id, &row);
    Ok(Some((
        row.parse("tenant_id")?,
        StoredPrincipal::Key {
            id: row.parse("key_id")?,
            grants: grants(&row)?,
        },
    )))
}
