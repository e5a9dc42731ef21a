//! Credentials, as authentication asks for them.

use futures_util::future::BoxFuture;
use laneway_tenancy::{
    AccountId, CredentialSource, DeviceId, Grants, MAX_PASSWORDS, SourceError, StoredCredential,
    StoredLogin, StoredNamespace, StoredPassword, StoredPrincipal, TenantId, Validity,
};
use sqlx::Row;

use crate::access::{Access, Tx};
use crate::codec::{Named, hex};
use crate::credentials::validity;
use crate::error::{Doing, Result};
use crate::homes::owner_of_secret;
use crate::keys::{account, grants};
use crate::{Store, Tenant, accounts, tenants};

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
        now: i64,
    ) -> BoxFuture<'a, Result<Option<StoredLogin>, SourceError>> {
        Box::pin(async move {
            self.login(tenant_slug, device, now)
                .await
                .map_err(SourceError::new)
        })
    }

    fn shared_namespace<'a>(
        &'a self,
        slug: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredNamespace>, SourceError>> {
        Box::pin(async move { self.namespace(slug).await.map_err(SourceError::new) })
    }
}

impl StoreCredentials {
    async fn token(&self, hash: &str) -> Result<Option<StoredCredential>> {
        let Some((mut tx, mut found)) = self.owner(hash).await? else {
            return Ok(None);
        };
        tx.narrow(found.tenant).await?;
        let tenant = tenants::by_id(&mut tx, found.tenant).await?;
        if let StoredPrincipal::Device {
            device, disabled, ..
        } = &mut found.principal
        {
            *disabled = is_disabled(&mut tx, found.tenant, device).await?;
        }
        if let (StoredPrincipal::Key { grants, .. }, Some(account)) =
            (&mut found.principal, found.account)
        {
            match through_account(&mut tx, found.tenant, account, *grants).await? {
                Some(left) => *grants = left,
                None => return Ok(None),
            }
        }
        self.vetted(tx, tenant.as_ref()).await?;
        Ok(tenant.map(|t| StoredCredential {
            control_version: t.control_version,
            tenant: t.into_info(),
            principal: found.principal,
            valid: found.valid,
            last_used_at: found.last_used_at,
        }))
    }

    /// Ends the transaction in which a tenant was read.
    async fn vetted(&self, tx: Tx, tenant: Option<&Tenant>) -> Result<()> {
        let in_shard = tx.in_shard;
        tx.commit().await?;
        match tenant.filter(|_| in_shard) {
            Some(tenant) => self.0.vet(std::slice::from_ref(tenant)).await,
            None => Ok(()),
        }
    }

    /// In the database where the secret is: mostly the main one, which knows of the others'.
    async fn owner(&self, hash: &str) -> Result<Option<(Tx, Owner)>> {
        let mut tx = self.0.read(Access::Secret(hash.to_owned())).await?;
        if let Some(found) = principal(&mut tx, hash).await? {
            return Ok(Some((tx, found)));
        }
        let tenant = owner_of_secret(&mut tx, hash).await?;
        tx.commit().await?;
        let Some(tenant) = tenant else {
            return Ok(None);
        };
        let home = self.0.home(tenant).await?;
        let mut tx = home.read(Access::Secret(hash.to_owned())).await?;
        let found = principal(&mut tx, hash).await?;
        // A database that says whose else it is is not believed.
        Ok(found
            .filter(|found| found.tenant == tenant)
            .map(|found| (tx, found)))
    }

    /// The tenant that is called so, or was until lately, as its own database has it.
    async fn called(&self, slug: &str, now: i64) -> Result<Option<(Tx, Tenant)>> {
        let mut tx = self.0.read(Access::Slug(slug.to_owned())).await?;
        let Some(found) = tenants::called(&mut tx, slug, now).await? else {
            return Ok(None);
        };
        if found.home.is_none() {
            return Ok(Some((tx, found)));
        }
        tx.commit().await?;
        let mut tx = self.0.read(Access::Tenant(found.id)).await?;
        let own = tenants::by_id(&mut tx, found.id).await?;
        Ok(own.map(|own| (tx, own)))
    }

    async fn namespace(&self, slug: &str) -> Result<Option<StoredNamespace>> {
        let mut tx = self.0.read(Access::Slug(slug.to_owned())).await?;
        let tenant = tenants::by_slug(&mut tx, slug).await?;
        tx.commit().await?;
        Ok(tenant.map(|tenant| StoredNamespace {
            control_version: tenant.control_version,
            tenant: tenant.into_info(),
        }))
    }

    async fn login(&self, slug: &str, device: &str, now: i64) -> Result<Option<StoredLogin>> {
        let Some((mut tx, tenant)) = self.called(slug, now).await? else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT credential_id, password_hash, not_before, expires_at, last_used_at
             FROM credentials WHERE tenant_id = $1 AND device_id = $2 AND kind = 'password'
             ORDER BY credential_id DESC LIMIT $3",
        )
        .bind(tenant.id.to_string())
        .bind(device)
        .bind(MAX_PASSWORDS as i64)
        .fetch_all(&mut *tx.inner)
        .await
        .doing("looking for a device's passwords")?;
        let Ok(device) = device.parse::<DeviceId>() else {
            return Ok(None);
        };
        if rows.is_empty() {
            tx.commit().await?;
            return Ok(None);
        }
        let disabled = is_disabled(&mut tx, tenant.id, &device).await?;
        self.vetted(tx, Some(&tenant)).await?;
        let name = format!("{}/{device}", tenant.id);
        let password = |row| {
            let row = Named::new("credentials", &name, row);
            Ok(StoredPassword {
                credential: row.parse("credential_id")?,
                hash: row.get("password_hash")?,
                valid: validity(&row)?,
                last_used_at: row.get("last_used_at")?,
            })
        };
        Ok(Some(StoredLogin {
            control_version: tenant.control_version,
            passwords: rows.iter().map(password).collect::<Result<_>>()?,
            device,
            disabled,
            tenant: tenant.into_info(),
        }))
    }
}

/// Whose a token is.
struct Owner {
    tenant: TenantId,
    principal: StoredPrincipal,
    /// Of a key: the service account that it belongs to.
    account: Option<AccountId>,
    valid: Validity,
    last_used_at: Option<i64>,
}

async fn is_disabled(tx: &mut Tx, tenant: TenantId, device: &DeviceId) -> Result<bool> {
    let row = sqlx::query("SELECT disabled FROM devices WHERE tenant_id = $1 AND device_id = $2")
        .bind(tenant.to_string())
        .bind(device.as_str())
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a credential's device")?;
    let disabled: Option<i64> = row
        .map(|row| row.try_get(0).doing("looking for a credential's device"))
        .transpose()?;
    Ok(disabled.is_some_and(|disabled| disabled != 0))
}

async fn principal(tx: &mut Tx, hash: &str) -> Result<Option<Owner>> {
    let row = sqlx::query(
        "SELECT tenant_id, credential_id, device_id, not_before, expires_at, last_used_at
         FROM credentials WHERE token_hash = $1",
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
            // As its own row says, once the tenant is known.
            disabled: false,
        };
        return Ok(Some(Owner {
            tenant: row.parse("tenant_id")?,
            principal,
            account: None,
            valid: validity(&row)?,
            last_used_at: row.get("last_used_at")?,
        }));
    }
    key(tx, hash).await
}

/// Of a key whose secret it is, or was before a rotation.
async fn key(tx: &mut Tx, hash: &str) -> Result<Option<Owner>> {
    let row = sqlx::query(
        "SELECT tenant_id, key_id, account_id, grants, token_hash, expires_at, former_until,
            last_used_at
         FROM api_keys WHERE token_hash = $1 OR former_hash = $1",
    )
    .bind(hash)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for an API key")?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.try_get("key_id").doing("looking for an API key")?;
    let row = Named::new("api_keys", &id, &row);
    let is_former = row.get::<String>("token_hash")? != hash;
    let ends = if is_former {
        "former_until"
    } else {
        "expires_at"
    };
    Ok(Some(Owner {
        tenant: row.parse("tenant_id")?,
        principal: StoredPrincipal::Key {
            id: row.parse("key_id")?,
            grants: grants(&row)?,
        },
        account: account(&row)?,
        valid: Validity {
            not_before: None,
            expires_at: row.get(ends)?,
        },
        last_used_at: row.get("last_used_at")?,
    }))
}

/// What a key may do, where it belongs to an account: no more than the account. `None` where that
/// is disabled.
async fn through_account(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    grants: Grants,
) -> Result<Option<Grants>> {
    let found = accounts::find(tx, tenant, account).await?;
    Ok(found
        .filter(|account| !account.disabled)
        .map(|account| account.grants.common(grants)))
}
