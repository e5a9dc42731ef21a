//! The embedded schema registry's storage, and a [`Registry`] over it.

use futures_util::future::BoxFuture;
use laneway_schemas::{Registry, RegistryError, check_backward};
use laneway_tenancy::TenantId;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::Store;
use crate::access::{Access, Tx};
use crate::error::{Doing, Result, StoreError};

/// A schema as registered under a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredSchema {
    pub subject: String,
    /// Counts the versions of the subject, from 1.
    pub version: u32,
    /// The same schema has the same id under every subject.
    pub id: u32,
    pub schema: String,
}

/// The registry as someone sees it. Cheap to clone.
#[derive(Clone)]
pub struct SchemaStore {
    store: Store,
    /// A tenant that sees the shared subjects and its own; the platform sees all.
    tenant: Option<TenantId>,
}

/// Rows that the one who asks may see: the first parameter is its id, `*` for the platform.
const COLUMNS: &str = "SELECT v.subject, v.version, v.schema_id, s.schema
    FROM schema_versions v
    JOIN schemas s ON s.id = v.schema_id
    JOIN schema_subjects o ON o.subject = v.subject
    WHERE ($1 = '*' OR o.owner = '' OR o.owner = $1)";

impl SchemaStore {
    pub(crate) fn new(store: Store, tenant: Option<TenantId>) -> Self {
        SchemaStore { store, tenant }
    }

    pub async fn subjects(&self) -> Result<Vec<String>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let rows = sqlx::query(
            "SELECT subject FROM schema_subjects WHERE $1 = '*' OR owner = '' OR owner = $1 ORDER BY subject",
        )
        .bind(self.viewer())
        .fetch_all(&mut *tx.inner)
        .await
        .doing("listing schema subjects")?;
        tx.commit().await?;
        rows.iter()
            .map(|row| row.try_get(0).doing("listing schema subjects"))
            .collect()
    }

    /// All versions of a subject, oldest first; empty where there is no such subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let found = versions(&mut tx, &self.viewer(), subject).await?;
        tx.commit().await?;
        Ok(found)
    }

    pub async fn by_id(&self, id: u32) -> Result<Option<String>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} AND v.schema_id = $2 LIMIT 1"
        )))
        .bind(self.viewer())
        .bind(i64::from(id))
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("looking for a schema")?;
        tx.commit().await?;
        row.map(|row| row.try_get("schema").doing("looking for a schema"))
            .transpose()
    }

    /// The version under which exactly this schema is registered.
    pub async fn lookup(&self, subject: &str, schema: &str) -> Result<Option<RegisteredSchema>> {
        let schema = normal(schema);
        Ok(self
            .versions(subject)
            .await?
            .into_iter()
            .find(|v| v.schema == schema))
    }

    fn viewer(&self) -> String {
        self.tenant
            .map_or_else(|| "*".to_owned(), |tenant| tenant.to_string())
    }

    fn owner(&self) -> String {
        self.tenant
            .map_or_else(String::new, |tenant| tenant.to_string())
    }

    async fn add(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let unavailable = |e: StoreError| RegistryError::Unavailable {
            doing: format!("registering a schema for {subject}"),
            reason: e.to_string(),
        };
        let schema = normal(schema);
        let mut tx = self
            .store
            .write(Access::Shared)
            .await
            .map_err(unavailable)?;
        // One registration at a time: two could each be compatible with the last version, but
        // not with each other.
        let next = lock(&mut tx).await.map_err(unavailable)?;
        if !owns(&mut tx, subject, &self.owner(), self.tenant.is_none())
            .await
            .map_err(unavailable)?
        {
            let reason = "it is another's subject".to_owned();
            return Err(RegistryError::Invalid {
                subject: subject.to_owned(),
                reason,
            });
        }
        let existing = versions(&mut tx, "*", subject).await.map_err(unavailable)?;
        if let Some(same) = existing.iter().find(|v| v.schema == schema) {
            return Ok(same.id);
        }
        check_backward(
            subject,
            existing.last().map_or(&schema, |last| &last.schema),
            &schema,
        )?;
        let version = existing.last().map_or(1, |last| last.version + 1);
        let id = insert(&mut tx, subject, version, &schema, next)
            .await
            .map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        Ok(id)
    }
}

impl Registry for SchemaStore {
    /// Compatible means BACKWARD, with the last version.
    fn register<'a>(
        &'a self,
        subject: &'a str,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<u32, RegistryError>> {
        Box::pin(self.add(subject, schema))
    }

    fn schema(&self, id: u32) -> BoxFuture<'_, Result<String, RegistryError>> {
        Box::pin(async move {
            let found = self
                .by_id(id)
                .await
                .map_err(|e| RegistryError::Unavailable {
                    doing: format!("looking for schema {id}"),
                    reason: e.to_string(),
                })?;
            found.ok_or(RegistryError::UnknownId { id })
        })
    }
}

/// The same schema in the same text, whatever its white space.
fn normal(schema: &str) -> String {
    serde_json::from_str::<serde_json::Value>(schema)
        .map_or_else(|_| schema.to_owned(), |value| value.to_string())
}

/// Locks the registry until the transaction ends, and returns the next free id.
async fn lock(tx: &mut Tx) -> Result<i64> {
    let row = sqlx::query(
        "UPDATE registry_state SET next_id = next_id WHERE only_row = 1 RETURNING next_id",
    )
    .fetch_one(&mut *tx.inner)
    .await
    .doing("locking the schema registry")?;
    row.try_get(0).doing("locking the schema registry")
}

async fn insert(tx: &mut Tx, subject: &str, version: u32, schema: &str, next: i64) -> Result<u32> {
    let doing = "registering a schema";
    let known = sqlx::query("SELECT id FROM schemas WHERE schema = $1")
        .bind(schema)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing(doing)?;
    let id = match known {
        Some(row) => row.try_get(0).doing(doing)?,
        None => {
            sqlx::query("INSERT INTO schemas (id, schema) VALUES ($1, $2)")
                .bind(next)
                .bind(schema)
                .execute(&mut *tx.inner)
                .await
                .doing(doing)?;
            sqlx::query("UPDATE registry_state SET next_id = $1 WHERE only_row = 1")
                .bind(next + 1)
                .execute(&mut *tx.inner)
                .await
                .doing(doing)?;
            next
        }
    };
    sqlx::query("INSERT INTO schema_versions (subject, version, schema_id) VALUES ($1, $2, $3)")
        .bind(subject)
        .bind(i64::from(version))
        .bind(id)
        .execute(&mut *tx.inner)
        .await
        .doing(doing)?;
    to_u32(id)
}

/// Takes a new subject, and says whether it is the owner's. The platform may register anywhere.
async fn owns(tx: &mut Tx, subject: &str, owner: &str, any: bool) -> Result<bool> {
    let doing = "looking whose a schema subject is";
    sqlx::query("INSERT INTO schema_subjects (subject, owner) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING")
        .bind(subject)
        .bind(owner)
        .execute(&mut *tx.inner)
        .await
        .doing(doing)?;
    let row = sqlx::query("SELECT owner FROM schema_subjects WHERE subject = $1")
        .bind(subject)
        .fetch_one(&mut *tx.inner)
        .await
        .doing(doing)?;
    let found: String = row.try_get(0).doing(doing)?;
    Ok(any || found == owner)
}

async fn versions(tx: &mut Tx, viewer: &str, subject: &str) -> Result<Vec<RegisteredSchema>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{COLUMNS} AND v.subject = $2 ORDER BY v.version"
    )))
    .bind(viewer)
    .bind(subject)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("reading the versions of a schema")?;
    rows.iter().map(registered).collect()
}

fn registered(row: &AnyRow) -> Result<RegisteredSchema> {
    let doing = "reading the versions of a schema";
    Ok(RegisteredSchema {
        subject: row.try_get("subject").doing(doing)?,
        version: to_u32(row.try_get("version").doing(doing)?)?,
        id: to_u32(row.try_get("schema_id").doing(doing)?)?,
        schema: row.try_get("schema").doing(doing)?,
    })
}

fn to_u32(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|e| StoreError::Corrupt {
        table: "schema_versions",
        row: number.to_string(),
        reason: format!("a number is out of range: {e}"),
    })
}
