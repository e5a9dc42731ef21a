//! Service accounts: named owners of keys that are no persons.

mod of_account;

use laneway_tenancy::{AccountId, Grants, KeyId, Role, TenantId, TenantScope};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::keys;
use crate::outbox::next_versions;
use crate::room::count;

use of_account::{keys_of, tell};

pub(crate) use of_account::check_gives;

/// Accounts that a tenant may have.
const MOST: u64 = 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAccount {
    pub id: AccountId,
    pub name: String,
    /// The role that its grants come from.
    pub role: Option<Role>,
    /// Its keys may do no more, whatever theirs are.
    pub grants: Grants,
    /// Its keys are refused.
    pub disabled: bool,
    /// Counts its changes.
    pub version: i64,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct NewAccount {
    pub id: AccountId,
    pub name: String,
    pub role: Option<Role>,
    pub grants: Grants,
}

/// What is given of these.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    pub name: Option<String>,
    pub rights: Option<(Option<Role>, Grants)>,
    pub disabled: Option<bool>,
}

/// The service accounts of one tenant.
pub struct ServiceAccounts<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "SELECT account_id, name, role, grants, disabled, version, created_at
    FROM service_accounts";

impl ServiceAccounts<'_> {
    pub async fn create(&self, new: NewAccount, at: i64) -> Result<ServiceAccount> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        // Locks the tenant's row: what is counted stays true.
        next_versions(&mut tx, tenant, 0).await?;
        if count(&mut tx, "service_accounts", tenant).await? >= MOST {
            return Err(StoreError::Refused(format!(
                "a tenant has at most {MOST} service accounts; delete one"
            )));
        }
        sqlx::query(
            "INSERT INTO service_accounts (tenant_id, account_id, name, role, grants, version, created_at)
             VALUES ($1, $2, $3, $4, $5, 1, $6)",
        )
        .bind(tenant.to_string())
        .bind(new.id.to_string())
        .bind(new.name.as_str())
        .bind(new.role.map(Role::name))
        .bind(to_json(&new.grants.names())?)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("creating a service account")?;
        tx.touches(tenant, "service_account", &new.id.to_string(), false, at);
        tx.commit_recorded().await?;
        Ok(ServiceAccount {
            id: new.id,
            name: new.name,
            role: new.role,
            grants: new.grants,
            disabled: false,
            version: 1,
            created_at: at,
        })
    }

    pub async fn find(&self, id: AccountId) -> Result<Option<ServiceAccount>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = find(&mut tx, self.scope.tenant(), id).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Accounts by id, after `after`.
    pub async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<ServiceAccount>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(after.map_or_else(String::new, |id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing service accounts")?;
        tx.commit().await?;
        rows.iter().map(account).collect()
    }

    /// Changes one, and tells of its keys, which are answered too; [`StoreError::Changed`] where
    /// it is not at `expected` any more.
    pub async fn change(
        &self,
        id: AccountId,
        expected: Option<i64>,
        change: AccountChange,
        at: i64,
    ) -> Result<(ServiceAccount, Vec<KeyId>)> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        next_versions(&mut tx, tenant, 0).await?;
        let found = find(&mut tx, tenant, id).await?;
        let mut account = found.ok_or_else(|| missing(id))?;
        if expected.is_some_and(|expected| expected != account.version) {
            return Err(StoreError::Changed {
                what: format!("service account {id}"),
            });
        }
        account.name = change.name.unwrap_or(account.name);
        if let Some((role, grants)) = change.rights {
            (account.role, account.grants) = (role, grants);
        }
        account.disabled = change.disabled.unwrap_or(account.disabled);
        account.version += 1;
        sqlx::query(
            "UPDATE service_accounts SET name = $3, role = $4, grants = $5, disabled = $6, version = $7
             WHERE tenant_id = $1 AND account_id = $2",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(account.name.as_str())
        .bind(account.role.map(Role::name))
        .bind(to_json(&account.grants.names())?)
        .bind(i64::from(account.disabled))
        .bind(account.version)
        .execute(&mut *tx.inner)
        .await
        .doing("changing a service account")?;
        tx.touches(tenant, "service_account", &id.to_string(), false, at);
        let keys = keys_of(&mut tx, tenant, id).await?;
        tell(&mut tx, tenant, &keys, Some(account.grants), at).await?;
        self.store.commit_change(tx).await?;
        Ok((account, keys.into_iter().map(|(id, _)| id).collect()))
    }

    /// With its keys, which are answered.
    pub async fn delete(&self, id: AccountId, at: i64) -> Result<Vec<KeyId>> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        next_versions(&mut tx, tenant, 0).await?;
        let keys = keys_of(&mut tx, tenant, id).await?;
        for table in ["api_keys", "service_accounts"] {
            let sql = format!("DELETE FROM {table} WHERE tenant_id = $1 AND account_id = $2");
            let gone = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(tenant.to_string())
                .bind(id.to_string())
                .execute(&mut *tx.inner)
                .await
                .doing("deleting a service account")?;
            if table == "service_accounts" && gone.rows_affected() == 0 {
                return Err(missing(id));
            }
        }
        tx.touches(tenant, "service_account", &id.to_string(), true, at);
        tell(&mut tx, tenant, &keys, None, at).await?;
        self.store.commit_change(tx).await?;
        Ok(keys.into_iter().map(|(id, _)| id).collect())
    }
}

fn missing(id: AccountId) -> StoreError {
    StoreError::Missing {
        what: format!("service account {id}"),
    }
}

pub(crate) async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    id: AccountId,
) -> Result<Option<ServiceAccount>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} WHERE tenant_id = $1 AND account_id = $2"
    )))
    .bind(tenant.to_string())
    .bind(id.to_string())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("looking for a service account")?;
    row.as_ref().map(account).transpose()
}

fn account(row: &AnyRow) -> Result<ServiceAccount> {
    let id: String = row
        .try_get("account_id")
        .doing("reading a service account")?;
    let row = Named::new("service_accounts", &id, row);
    Ok(ServiceAccount {
        id: row.parse("account_id")?,
        name: row.get("name")?,
        role: keys::role(&row)?,
        grants: keys::grants(&row)?,
        disabled: row.get::<i64>("disabled")? != 0,
        version: row.get("version")?,
        created_at: row.get("created_at")?,
    })
}
