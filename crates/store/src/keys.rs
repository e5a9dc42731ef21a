//! API keys, as hashes, each for its time.

mod change;

use laneway_schemas::ControlKind;
use laneway_tenancy::control::KeyBody;
use laneway_tenancy::{AccountId, Grants, KeyId, Role, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::access::{Access, Tx};
use crate::codec::{Named, hex, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::outbox::{Change, emit, next_version};
use crate::room::Room;
use crate::{Store, Tenant, accounts, tenants};

pub use change::{KeyChange, KeyRotation};

#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub name: String,
    /// The service account that it belongs to, whose grants it has at most.
    pub account: Option<AccountId>,
    /// The role that its grants come from.
    pub role: Option<Role>,
    pub grants: Grants,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    /// Until when the secret that it had before its last rotation holds beside its own.
    pub former_until: Option<i64>,
    /// Within some minutes.
    pub last_used_at: Option<i64>,
    /// The control version of its last change; 0 for one from before that was kept.
    pub version: i64,
}

#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    pub id: KeyId,
    pub name: &'a str,
    pub account: Option<AccountId>,
    pub role: Option<Role>,
    pub grants: Grants,
    /// The keyed hash of its token.
    pub token_hash: [u8; 32],
    /// The tenant's option `key_lifetime_seconds` bounds it.
    pub expires_at: Option<i64>,
}

/// The API keys of one tenant.
pub struct ApiKeys<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "SELECT key_id, name, account_id, role, grants, created_at, expires_at,
    former_until, last_used_at, version FROM api_keys";

impl ApiKeys<'_> {
    pub async fn create(&self, new: NewKey<'_>, at: i64) -> Result<ApiKey> {
        let tenant = self.scope.tenant();
        let secret = [new.token_hash];
        self.store.claim_secrets(tenant, &secret, at).await?;
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let key = insert(&mut tx, tenant, new, at).await?;
        self.store.commit_change(tx).await?;
        Ok(key)
    }

    pub async fn find(&self, id: KeyId) -> Result<Option<ApiKey>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = find(&mut tx, self.scope.tenant(), id).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Keys by id, after `after`.
    pub async fn list(&self, after: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND key_id > $2 ORDER BY key_id LIMIT $3"
        )))
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
            return Err(missing(id));
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

fn missing(id: KeyId) -> StoreError {
    StoreError::Missing {
        what: format!("API key {id}"),
    }
}

async fn find(tx: &mut Tx, tenant: TenantId, id: KeyId) -> Result<Option<ApiKey>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE tenant_id = $1 AND key_id = $2"
    )))
    .bind(tenant.to_string())
    .bind(id.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for an API key")?;
    row.as_ref().map(key).transpose()
}

pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    new: NewKey<'_>,
    at: i64,
) -> Result<ApiKey> {
    let version = next_version(tx, tenant).await?;
    let found = tenants::by_id(tx, tenant).await?;
    let expires_at = bounded(found.as_ref(), new.expires_at, at)?;
    if let Some(found) = found.filter(|_| new.role.is_some() && new.account.is_none()) {
        seat(tx, &found, at).await?.for_one()?;
    }
    if let Some(account) = new.account {
        accounts::check_gives(tx, tenant, account, new.grants).await?;
    }
    let id_text = new.id.to_string();
    sqlx::query(
        "INSERT INTO api_keys (tenant_id, key_id, name, account_id, role, grants, token_hash,
            created_at, expires_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(tenant.to_string())
    .bind(id_text.as_str())
    .bind(new.name)
    .bind(new.account.map(|account| account.to_string()))
    .bind(new.role.map(Role::name))
    .bind(to_json(&new.grants.names())?)
    .bind(hex(&new.token_hash))
    .bind(at)
    .bind(expires_at)
    .bind(version)
    .execute(&mut *tx.inner)
    .await
    .doing("creating an API key")?;
    let key = ApiKey {
        id: new.id,
        name: new.name.to_owned(),
        account: new.account,
        role: new.role,
        grants: new.grants,
        created_at: at,
        expires_at,
        former_until: None,
        last_used_at: None,
        version,
    };
    tell(tx, tenant, &key, at).await?;
    Ok(key)
}

/// Room for one more of the people that act with keys: those of programs belong to a service
/// account, or have no role. The transaction holds the tenant's row.
async fn seat(tx: &mut Tx, tenant: &Tenant, at: i64) -> Result<Room> {
    const DOING: &str = "counting the keys of people";
    let most = tenant.body.limits.users;
    if most == 0 {
        return Ok(Room::beside("users", 0, u64::MAX));
    }
    let row = sqlx::query(
        "SELECT COUNT(*) FROM api_keys WHERE tenant_id = $1 AND role IS NOT NULL
            AND account_id IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(tenant.id.to_string())
    .bind(at)
    .fetch_one(&mut *tx.inner)
    .await
    .doing(DOING)?;
    let count: i64 = row.try_get(0).doing(DOING)?;
    Ok(Room::beside("users", count.unsigned_abs(), most.into()))
}

/// When a key ends that is to end at `asked`: at the latest as the tenant's option says. The
/// transaction holds the tenant's row.
fn bounded(tenant: Option<&Tenant>, asked: Option<i64>, at: i64) -> Result<Option<i64>> {
    let Some(tenant) = tenant else {
        return Ok(asked);
    };
    let options = &tenant.body.options;
    match (asked, options.key_ends(at)) {
        (Some(asked), Some(latest)) if asked > latest => Err(StoreError::Refused(format!(
            "expires_at: the tenant's option key_lifetime_seconds lets its keys hold for {} s at most",
            options.key_lifetime_seconds
        ))),
        (asked, latest) => Ok(asked.or(latest)),
    }
}

/// That a key is there, or has another secret or another time than before.
async fn tell(tx: &mut Tx, tenant: TenantId, key: &ApiKey, at: i64) -> Result<()> {
    let change = Change {
        tenant,
        version: key.version,
        kind: ControlKind::Key,
        id: &key.id.to_string(),
        deleted: false,
        body: Some(body(key.grants)?),
        at,
    };
    emit(tx, change).await
}

/// What is told of a key.
pub(crate) fn body(grants: Grants) -> Result<String> {
    let grants = grants.names().into_iter().map(str::to_owned).collect();
    to_json(&KeyBody { grants })
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

/// The role whose name a row has.
pub(crate) fn role(row: &Named<'_>) -> Result<Option<Role>> {
    let name: Option<String> = row.get("role")?;
    Ok(name.and_then(|name| Role::parse(&name)))
}

/// The account that a key's row names.
pub(crate) fn account(row: &Named<'_>) -> Result<Option<AccountId>> {
    match row.get::<Option<String>>("account_id")? {
        Some(_) => row.parse("account_id").map(Some),
        None => Ok(None),
    }
}

fn key(row: &AnyRow) -> Result<ApiKey> {
    let id: String = row.try_get("key_id").doing("reading an API key")?;
    let row = Named::new("api_keys", &id, row);
    Ok(ApiKey {
        id: row.parse("key_id")?,
        name: row.get("name")?,
        account: account(&row)?,
        role: role(&row)?,
        grants: grants(&row)?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        former_until: row.get("former_until")?,
        last_used_at: row.get("last_used_at")?,
        version: row.get("version")?,
    })
}
