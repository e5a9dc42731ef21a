//! API keys, as hashes.

use laneway_schemas::ControlKind;
use laneway_tenancy::control::KeyBody;
use laneway_tenancy::{Grants, KeyId, Role, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, hex, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};

#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: String,
    /// The role that its grants come from.
    pub role: Option<Role>,
    pub grants: Grants,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    pub id: KeyId,
    pub name: &'a str,
    pub role: Option<Role>,
    pub grants: Grants,
    /// The keyed hash of its token.
    pub token_hash: [u8; 32],
}

/// The API keys of one tenant.
pub struct ApiKeys<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

impl ApiKeys<'_> {
    pub async fn create(&self, new: NewKey<'_>, at: i64) -> Result<ApiKey> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let key = insert(&mut tx, tenant, new, at).await?;
        self.store.commit_change(tx).await?;
        Ok(key)
    }

    /// Keys by id, after `after`.
    pub async fn list(&self, after: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(
            "SELECT key_id, name, role, grants, created_at FROM api_keys
             WHERE tenant_id = $1 AND key_id > $2 ORDER BY key_id LIMIT $3",
        )
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing API keys")?;
        tx.commit().await?;
        rows.iter().map(key).collect()
    }

    /// Revokes one.
    pub async fn delete(&self, id: KeyId, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let version = next_version(&mut tx, tenant).await?;
        let id_text = id.to_string();
        let deleted = sqlx::query("DELETE FROM api_keys WHERE tenant_id = $1 AND key_id = $2")
            .bind(tenant.to_string())
            .bind(id_text.as_str())
            .execute(&mut *tx.inner)
            .await
            .doing("revoking an API key")?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::Missing {
                what: format!("API key {id}"),
            });
        }
        emit(
            &mut tx,
            Change {
                tenant,
                version,
                kind: ControlKind::Key,
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

pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    new: NewKey<'_>,
    at: i64,
) -> Result<ApiKey> {
    let version = next_version(tx, tenant).await?;
    let names = grant_names(new.grants);
    let id_text = new.id.to_string();
    sqlx::query(
        "INSERT INTO api_keys (tenant_id, key_id, name, role, grants, token_hash, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.to_string())
    .bind(id_text.as_str())
    .bind(new.name)
    .bind(new.role.map(Role::name))
    .bind(to_json(&names)?)
    .bind(hex(&new.token_hash))
    .bind(at)
    .execute(&mut *tx.inner)
    .await
    .doing("creating an API key")?;
    let change = Change {
        tenant,
        version,
        kind: ControlKind::Key,
        id: &id_text,
        deleted: false,
        body: Some(to_json(&KeyBody { grants: names })?),
        at,
    };
    emit(tx, change).await?;
    Ok(ApiKey {
        id: new.id,
        name: new.name.to_owned(),
        role: new.role,
        grants: new.grants,
        created_at: at,
    })
}

fn grant_names(grants: Grants) -> Vec<String> {
    grants.iter().map(|g| g.name().to_owned()).collect()
}

/// Grants from their stored names.
pub(crate) fn grants(row: &Named<'_>) -> Result<Grants> {
    let names: Vec<String> = row.json("grants")?;
    // A grant that this version does not know gives nothing.
    Ok(names
        .iter()
        .filter_map(|name| Grants::parse(name))
        .fold(Grants::NONE, Grants::and))
}

fn key(row: &AnyRow) -> Result<ApiKey> {
    let id: String = row.try_get("key_id").doing("reading an API key")?;
    let row = Named::new("api_keys", &id, row);
    Ok(ApiKey {
        id: row.parse("key_id")?,
        name: row.get("name")?,
        role: row
            .get::<Option<String>>("role")?
            .and_then(|name| Role::parse(&name)),
        grants: grants(&row)?,
        created_at: row.get("created_at")?,
    })
}
