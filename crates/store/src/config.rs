//! A namespace's own values by name.

use laneway_tenancy::TenantScope;
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::codec::{Named, to_json};
use crate::error::{Doing, Result, StoreError};
use crate::room::{Room, count};

/// Values of one namespace.
pub const MOST_CONFIG_ENTRIES: u64 = 1000;

#[derive(Debug, Clone, PartialEq)]
pub struct ConfigEntry {
    pub key: String,
    pub value: Value,
    /// Counts its changes.
    pub version: i64,
    pub updated_at: i64,
}

pub struct Config<'a> {
    pub(crate) store: &'a Store,
    pub(crate) scope: &'a TenantScope,
}

const COLUMNS: &str = "SELECT key, value, version, updated_at FROM config_entries";

impl Config<'_> {
    pub async fn find(&self, key: &str) -> Result<Option<ConfigEntry>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let found = self.read(&mut tx, key).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// By key, after `after`.
    pub async fn list(&self, after: Option<&str>, limit: u32) -> Result<Vec<ConfigEntry>> {
        let mut tx = self.store.read(Access::Tenant(self.scope.tenant())).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND key > $2 ORDER BY key LIMIT $3"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(after.unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing configuration")?;
        tx.commit().await?;
        rows.iter().map(entry).collect()
    }

    /// Sets a value, where it is still at `expected` if that is given (0: where it is not set).
    pub async fn set(
        &self,
        key: &str,
        value: Value,
        expected: Option<i64>,
        at: i64,
    ) -> Result<ConfigEntry> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        tx.take_turns(tenant).await?;
        let before = self.read(&mut tx, key).await?;
        let version = before.as_ref().map_or(0, |entry| entry.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(StoreError::Changed {
                what: format!("the configuration {key}"),
            });
        }
        if before.is_none() {
            self.make_room(&mut tx).await?;
        }
        let text = to_json(&value)?;
        sqlx::query(
            "INSERT INTO config_entries (tenant_id, key, value, version, updated_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, key) DO UPDATE
                SET value = excluded.value, version = excluded.version, updated_at = excluded.updated_at",
        )
        .bind(tenant.to_string())
        .bind(key)
        .bind(text)
        .bind(version + 1)
        .bind(at)
        .execute(&mut *tx.inner)
        .await
        .doing("setting configuration")?;
        tx.touches(tenant, "config", key, false, at);
        tx.commit_recorded().await?;
        Ok(ConfigEntry {
            key: key.to_owned(),
            value,
            version: version + 1,
            updated_at: at,
        })
    }

    pub async fn delete(&self, key: &str, at: i64) -> Result<()> {
        let tenant = self.scope.tenant();
        let mut tx = self.store.write(Access::Tenant(tenant)).await?;
        let deleted = sqlx::query("DELETE FROM config_entries WHERE tenant_id = $1 AND key = $2")
            .bind(tenant.to_string())
            .bind(key)
            .execute(&mut *tx.inner)
            .await
            .doing("deleting configuration")?;
        if deleted.rows_affected() == 0 {
            return Err(StoreError::Missing {
                what: format!("configuration {key}"),
            });
        }
        tx.touches(tenant, "config", key, true, at);
        tx.commit_recorded().await
    }

    async fn read(&self, tx: &mut Tx, key: &str) -> Result<Option<ConfigEntry>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tenant_id = $1 AND key = $2"
        )))
        .bind(self.scope.tenant().to_string())
        .bind(key)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for configuration")?;
        row.as_ref().map(entry).transpose()
    }

    async fn make_room(&self, tx: &mut Tx) -> Result<()> {
        let counted = count(tx, "config_entries", self.scope.tenant()).await?;
        Room::beside("config", counted, MOST_CONFIG_ENTRIES).for_one()
    }
}

fn entry(row: &AnyRow) -> Result<ConfigEntry> {
    let key: String = row.try_get("key").doing("reading configuration")?;
    let row = Named::new("config_entries", &key, row);
    Ok(ConfigEntry {
        value: row.json("value")?,
        version: row.get("version")?,
        updated_at: row.get("updated_at")?,
        key: row.get("key")?,
    })
}
