//! Credentials of devices: tokens and passwords, as hashes.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::CredentialBody;
use laneway_tenancy::{CredentialId, DeviceId, TenantScope};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, hex, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    Token,
    Password,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    pub id: CredentialId,
    pub device: DeviceId,
    pub kind: CredentialKind,
    pub created_at: i64,
}

/// What is kept of a secret.
#[derive(Clone)]
pub enum NewSecret {
    /// The keyed hash of a token.
    Token([u8; 32]),
    /// Argon2id, as a PHC string. A device has one password: a new one takes the old one's place.
    Password(String),
}

/// The credentials of one tenant's devices.
pub struct Credentials<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl Credentials<'_> {
    pub async fn create(
        &self,
        id: CredentialId,
        device: &DeviceId,
        secret: NewSecret,
        at: i64,
    ) -> Result<Credential> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Takes the tenant's row first: what is checked below stays true.
        let version = next_version(&mut tx, tenant).await?;
        crate::devices::lock(&mut tx, self.scope, device).await?;
        let (kind, name, token_hash, password_hash) = match secret {
            NewSecret::Token(hash) => (CredentialKind::Token, "token", Some(hex(&hash)), None),
            NewSecret::Password(hash) => (CredentialKind::Password, "password", None, Some(hash)),
        };
        let id_text = id.to_string();
        let body = Some(to_json(&CredentialBody {
            device_id: device.clone(),
        })?);
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Credential,
                id: &id_text,
                deleted: false,
                body,
                at,
            },
        )
        .await?;
        if kind == CredentialKind::Password {
            delete_password(&mut tx, self.scope, device, at).await?;
        }
        sqlx::query(
            "INSERT INTO credentials
             (tenant_id, credential_id, device_id, kind, token_hash, password_hash, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(tenant.to_string())
        .bind(id_text.as_str())
        .bind(device.as_str())
        .bind(name)
        .bind(token_hash)
        .bind(password_hash)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("creating a credential")?;
        self.store.commit_change(tx).await?;
        Ok(Credential {
            id,
            device: device.clone(),
            kind,
            created_at: at,
        })
    }

    pub async fn of_device(&self, device: &DeviceId) -> Result<Vec<Credential>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(
            "SELECT credential_id, device_id, kind, created_at FROM credentials
             WHERE tenant_id = $1 AND device_id = $2 ORDER BY credential_id",
        )
        .bind(self.scope.tenant().to_string())
        .bind(device.as_str())
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing credentials")?;
        tx.commit().await?;
        rows.iter().map(credential).collect()
    }

    /// Revokes one.
    pub async fn delete(&self, device: &DeviceId, id: CredentialId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let id_text = id.to_string();
        let deleted = sqlx::query(
            "DELETE FROM credentials WHERE tenant_id = $1 AND device_id = $2 AND credential_id = $3",
        )
        .bind(tenant.to_string())
        .bind(device.as_str())
        .bind(id_text.as_str())
        .execute(&mut *tx.inner)
        .await
        .doing("revoking a credential")?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::Missing {
                what: format!("credential {id} of device {device}"),
            });
        }
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Credential,
                id: &id_text,
                deleted: true,
                body: None,
                at,
            },
        )
        .await?;
        self.store.commit_change(tx).await
    }
}

pub(crate) async fn delete_of_device(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    at: i64,
) -> Result<()> {
    let gone = sqlx::query(
        "DELETE FROM credentials WHERE tenant_id = $1 AND device_id = $2 RETURNING credential_id",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("revoking the credentials of a device")?;
    emit_gone(tx, scope, &gone, at).await
}

async fn delete_password(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    at: i64,
) -> Result<()> {
    let gone = sqlx::query(
        "DELETE FROM credentials WHERE tenant_id = $1 AND device_id = $2 AND kind = 'password'
         RETURNING credential_id",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("replacing the password of a device")?;
    emit_gone(tx, scope, &gone, at).await
}

async fn emit_gone(tx: &mut Tx, scope: &TenantScope, gone: &[AnyRow], at: i64) -> Result<()> {
    let tenant = scope.tenant();
    for row in gone {
        let id: String = row
            .try_get("credential_id")
            .doing("revoking a credential")?;
        let version = next_version(tx, tenant).await?;
        emit(
            tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Credential,
                id: &id,
                deleted: true,
                body: None,
                at,
            },
        )
        .await?;
    }
    Ok(())
}

fn credential(row: &AnyRow) -> Result<Credential> {
    let id: String = row.try_get("credential_id").doing("reading a credential")?;
    let row = Named::new("credentials", &id, row);
    Ok(Credential {
        id: row.parse("credential_id")?,
        device: row.parse("device_id")?,
        kind: row.variant("kind")?,
        created_at: row.get("created_at")?,
    })
}
