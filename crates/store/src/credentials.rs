//! Credentials of devices: tokens and passwords, as hashes, each for its time.

mod revoke;
mod uses;

use laneway_schemas::ControlKind;
use laneway_tenancy::control::CredentialBody;
use laneway_tenancy::{CredentialId, DeviceId, MAX_PASSWORDS, TenantScope, Validity};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, hex, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version, next_versions};

pub(crate) use revoke::{delete_of_device, delete_one};

/// Credentials that a device may have, those of another time too.
const MOST: usize = 16;

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
    pub valid: Validity,
    /// Within some minutes.
    pub last_used_at: Option<i64>,
}

/// What is kept of a secret.
#[derive(Clone)]
pub enum NewSecret {
    /// The keyed hash of a token.
    Token([u8; 32]),
    /// Argon2id, as a PHC string.
    Password(String),
}

pub struct NewCredential {
    pub id: CredentialId,
    pub secret: NewSecret,
    pub valid: Validity,
    /// When the device's earlier ones of the same kind end, unless they end sooner by themselves;
    /// one that is not in the future revokes them. `None` leaves them as they are.
    pub others_end: Option<i64>,
}

impl NewSecret {
    fn kind(&self) -> CredentialKind {
        match self {
            NewSecret::Token(_) => CredentialKind::Token,
            NewSecret::Password(_) => CredentialKind::Password,
        }
    }
}

impl CredentialKind {
    fn name(self) -> &'static str {
        match self {
            CredentialKind::Token => "token",
            CredentialKind::Password => "password",
        }
    }
}

/// The credentials of one tenant's devices.
pub struct Credentials<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "SELECT credential_id, device_id, kind, created_at, not_before, expires_at,
    last_used_at FROM credentials";

impl Credentials<'_> {
    /// One without bounds in time. A password takes the place of those before it; a token stands
    /// beside the others.
    pub async fn create(
        &self,
        id: CredentialId,
        device: &DeviceId,
        secret: NewSecret,
        at: i64,
    ) -> Result<Credential> {
        let others_end = matches!(secret, NewSecret::Password(_)).then_some(at);
        let new = NewCredential {
            id,
            secret,
            valid: Validity::default(),
            others_end,
        };
        self.add(device, new, at).await
    }

    pub async fn add(&self, device: &DeviceId, new: NewCredential, at: i64) -> Result<Credential> {
        let tenant = self.scope.tenant();
        if let NewSecret::Token(hash) = new.secret {
            self.store.claim_secrets(tenant, &[hash], at).await?;
        }
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Takes the tenant's row first: what is checked below stays true.
        let version = next_version(&mut tx, tenant).await?;
        crate::devices::lock(&mut tx, self.scope, device).await?;
        emit_change(&mut tx, self.scope, (version, new.id), device, at).await?;
        let kind = new.secret.kind();
        if let Some(end) = new.others_end {
            end_others(&mut tx, self.scope, device, kind, end, at).await?;
        }
        check_room(&mut tx, self.scope, device, kind, at).await?;
        insert(&mut tx, self.scope, device, &new, at).await?;
        self.store.commit_change(tx).await?;
        Ok(Credential {
            id: new.id,
            device: device.clone(),
            kind,
            created_at: at,
            valid: new.valid,
            last_used_at: None,
        })
    }

    pub async fn of_device(&self, device: &DeviceId) -> Result<Vec<Credential>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = of_device(&mut tx, self.scope, device).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Revokes one.
    pub async fn delete(&self, device: &DeviceId, id: CredentialId, at: i64) -> Result<()> {
        let mut tx = self
            .store
            .write(Access::Tenant(self.scope.tenant()))
            .await?;
        next_versions(&mut tx, self.scope.tenant(), 0).await?;
        if !delete_one(&mut tx, self.scope, device, id, at).await? {
            return Err(StoreError::Missing {
                what: format!("credential {id} of device {device}"),
            });
        }
        self.store.commit_change(tx).await
    }
}

async fn of_device(tx: &mut Tx, scope: &TenantScope, device: &DeviceId) -> Result<Vec<Credential>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE tenant_id = $1 AND device_id = $2 ORDER BY credential_id"
    )))
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing credentials")?;
    rows.iter().map(credential).collect()
}

/// Ends the device's credentials of a kind at `end`, or revokes them where that is now.
async fn end_others(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    kind: CredentialKind,
    end: i64,
    at: i64,
) -> Result<()> {
    if end <= at {
        return revoke::delete_of_kind(tx, scope, device, kind, at).await;
    }
    let ended = sqlx::query(
        "UPDATE credentials SET expires_at = $4 WHERE tenant_id = $1 AND device_id = $2 AND kind = $3
            AND (expires_at IS NULL OR expires_at > $4) RETURNING credential_id",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .bind(kind.name())
    .bind(end)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("ending the credentials of a device")?;
    let last = next_versions(tx, scope.tenant(), ended.len()).await?;
    let first = last - ended.len() as i64 + 1;
    for (row, version) in ended.iter().zip(first..) {
        let id: String = row.try_get(0).doing("ending a credential")?;
        let row = Named::new("credentials", &id, row);
        let id = row.parse("credential_id")?;
        emit_change(tx, scope, (version, id), device, at).await?;
    }
    Ok(())
}

/// Makes room among credentials that have ended; fails where those that have not fill it.
async fn check_room(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    kind: CredentialKind,
    at: i64,
) -> Result<()> {
    let all = of_device(tx, scope, device).await?;
    let (ended, held): (Vec<_>, Vec<_>) = all.iter().partition(|c| c.valid.ends_at() <= at);
    for credential in ended {
        delete_one(tx, scope, device, credential.id, at).await?;
    }
    let passwords = held.iter().filter(|c| c.kind == CredentialKind::Password);
    if kind == CredentialKind::Password && passwords.count() >= MAX_PASSWORDS {
        return Err(StoreError::Refused(format!(
            "a device has at most {MAX_PASSWORDS} passwords at a time; revoke one"
        )));
    }
    if held.len() >= MOST {
        return Err(StoreError::Refused(format!(
            "a device has at most {MOST} credentials at a time; revoke one"
        )));
    }
    Ok(())
}

pub(crate) async fn insert(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    new: &NewCredential,
    at: i64,
) -> Result<()> {
    let (token_hash, password_hash) = match &new.secret {
        NewSecret::Token(hash) => (Some(hex(hash)), None),
        NewSecret::Password(hash) => (None, Some(hash.as_str())),
    };
    sqlx::query(
        "INSERT INTO credentials (tenant_id, credential_id, device_id, kind, token_hash,
            password_hash, created_at, not_before, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(scope.tenant().to_string())
    .bind(new.id.to_string())
    .bind(device.as_str())
    .bind(new.secret.kind().name())
    .bind(token_hash)
    .bind(password_hash)
    .bind(at)
    .bind(new.valid.not_before)
    .bind(new.valid.expires_at)
    .execute(&mut *tx.inner)
    .await
    .doing("creating a credential")?;
    Ok(())
}

/// That a credential is there, or holds for another time than before.
pub(crate) async fn emit_change(
    tx: &mut Tx,
    scope: &TenantScope,
    (version, id): (i64, CredentialId),
    device: &DeviceId,
    at: i64,
) -> Result<()> {
    let body = to_json(&CredentialBody {
        device_id: device.clone(),
    })?;
    let change = Change {
        tenant: scope.tenant(),
        version,
        kind: ControlKind::Credential,
        id: &id.to_string(),
        deleted: false,
        body: Some(body),
        at,
    };
    emit(tx, change).await
}

fn credential(row: &AnyRow) -> Result<Credential> {
    let id: String = row.try_get("credential_id").doing("reading a credential")?;
    let row = Named::new("credentials", &id, row);
    Ok(Credential {
        id: row.parse("credential_id")?,
        device: row.parse("device_id")?,
        kind: row.variant("kind")?,
        created_at: row.get("created_at")?,
        valid: validity(&row)?,
        last_used_at: row.get("last_used_at")?,
    })
}

pub(crate) fn validity(row: &Named<'_>) -> Result<Validity> {
    Ok(Validity {
        not_before: row.get("not_before")?,
        expires_at: row.get("expires_at")?,
    })
}
