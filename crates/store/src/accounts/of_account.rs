//! The keys of service accounts.

use laneway_schemas::ControlKind;
use laneway_tenancy::{AccountId, Grants, KeyId, TenantId};
use sqlx::Row;

use super::{find, missing};
use crate::access::Tx;
use crate::codec::Named;
use crate::error::{Doing, Result, StoreError};
use crate::keys;
use crate::outbox::{Change, emit_many, next_versions};

/// Keys of one account: what is told when it changes is bounded.
const MOST: usize = 100;

/// Whether the account may have one more key, of these grants. The transaction holds the tenant's
/// row.
pub(crate) async fn check_gives(
    tx: &mut Tx,
    tenant: TenantId,
    id: AccountId,
    grants: Grants,
) -> Result<()> {
    let found = find(tx, tenant, id).await?.ok_or_else(|| missing(id))?;
    if !found.grants.include(grants) {
        return Err(StoreError::Refused(format!(
            "a key of service account {id} has no more grants than the account: {}",
            found.grants.names().join(", ")
        )));
    }
    if keys_of(tx, tenant, id).await?.len() >= MOST {
        return Err(StoreError::Refused(format!(
            "a service account has at most {MOST} keys; revoke one"
        )));
    }
    Ok(())
}

/// The account's keys, and what they may do by themselves.
pub(super) async fn keys_of(
    tx: &mut Tx,
    tenant: TenantId,
    id: AccountId,
) -> Result<Vec<(KeyId, Grants)>> {
    let rows = sqlx::query(
        "SELECT key_id, grants FROM api_keys WHERE tenant_id = $1 AND account_id = $2 ORDER BY key_id",
    )
    .bind(tenant.to_string())
    .bind(id.to_string())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("listing the keys of a service account")?;
    rows.iter()
        .map(|row| {
            let id: String = row
                .try_get("key_id")
                .doing("listing the keys of a service account")?;
            let row = Named::new("api_keys", &id, row);
            Ok((row.parse("key_id")?, keys::grants(&row)?))
        })
        .collect()
}

/// Says of each of the keys that it is another than before, or gone: whoever keeps it asks anew.
pub(super) async fn tell(
    tx: &mut Tx,
    tenant: TenantId,
    keys: &[(KeyId, Grants)],
    at_most: Option<Grants>,
    at: i64,
) -> Result<()> {
    let last = next_versions(tx, tenant, keys.len()).await?;
    let first = last - keys.len() as i64 + 1;
    let ids: Vec<String> = keys.iter().map(|(id, _)| id.to_string()).collect();
    let mut changes = Vec::with_capacity(keys.len());
    for (((_, grants), id), version) in keys.iter().zip(&ids).zip(first..) {
        let body = match at_most {
            Some(most) => Some(keys::body(grants.common(most))?),
            None => None,
        };
        changes.push(Change {
            tenant,
            version,
            kind: ControlKind::Key,
            id,
            deleted: at_most.is_none(),
            body,
            at,
        });
    }
    emit_many(tx, &changes).await
}
