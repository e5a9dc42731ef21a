//! Credentials that end now.

use laneway_schemas::ControlKind;
use laneway_tenancy::{CredentialId, DeviceId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::CredentialKind;
use crate::access::Tx;
use crate::error::{Doing, Result};
use crate::outbox::{Change, emit_many, next_versions};

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

pub(super) async fn delete_of_kind(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    kind: CredentialKind,
    at: i64,
) -> Result<()> {
    let gone = sqlx::query(
        "DELETE FROM credentials WHERE tenant_id = $1 AND device_id = $2 AND kind = $3
         RETURNING credential_id",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .bind(kind.name())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("replacing the credentials of a device")?;
    emit_gone(tx, scope, &gone, at).await
}

/// Whether there was such a one.
pub(crate) async fn delete_one(
    tx: &mut Tx,
    scope: &TenantScope,
    device: &DeviceId,
    id: CredentialId,
    at: i64,
) -> Result<bool> {
    let gone = sqlx::query(
        "DELETE FROM credentials WHERE tenant_id = $1 AND device_id = $2 AND credential_id = $3
         RETURNING credential_id",
    )
    .bind(scope.tenant().to_string())
    .bind(device.as_str())
    .bind(id.to_string())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("revoking a credential")?;
    emit_gone(tx, scope, &gone, at).await?;
    Ok(!gone.is_empty())
}

async fn emit_gone(tx: &mut Tx, scope: &TenantScope, gone: &[AnyRow], at: i64) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let last = next_versions(tx, scope.tenant(), gone.len()).await?;
    let first = last - gone.len() as i64 + 1;
    let ids = gone
        .iter()
        .map(|row| row.try_get(0).doing("revoking a credential"))
        .collect::<Result<Vec<String>>>()?;
    let changes: Vec<Change<'_>> = ids
        .iter()
        .zip(first..)
        .map(|(id, version)| Change {
            tenant: scope.tenant(),
            version,
            kind: ControlKind::Credential,
            id,
            deleted: true,
            body: None,
            at,
        })
        .collect();
    emit_many(tx, &changes).await
}
