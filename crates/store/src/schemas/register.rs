//! Registering schemas.

use futures_util::future::BoxFuture;
use laneway_schemas::{Registry, RegistryError};
use sqlx::Row;

use super::{SchemaStore, levels, normal, to_u32, versions};
use crate::access::{Access, Tx};
use crate::error::{Doing, Result, StoreError};

impl SchemaStore {
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
        let kept = || existing.iter().filter(|v| !v.deleted);
        if let Some(same) = kept().find(|v| v.schema == schema) {
            return Ok(same.id);
        }
        let level = levels::in_force(&mut tx, subject)
            .await
            .map_err(unavailable)?;
        level.check(subject, kept().map(|v| v.schema.as_str()), &schema)?;
        let version = existing.last().map_or(1, |last| last.version + 1);
        let id = insert(&mut tx, subject, version, &schema, next)
            .await
            .map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        Ok(id)
    }
}

impl Registry for SchemaStore {
    /// Compatible as the subject's level says.
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

/// Locks the registry until the transaction ends, and returns the next free id.
pub(super) async fn lock(tx: &mut Tx) -> Result<i64> {
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
    // A deleted version of the same schema comes back as the new one.
    sqlx::query(
        "INSERT INTO schema_versions (subject, version, schema_id) VALUES ($1, $2, $3)
         ON CONFLICT (subject, schema_id) DO UPDATE SET version = excluded.version, deleted = 0",
    )
    .bind(subject)
    .bind(i64::from(version))
    .bind(id)
    .execute(&mut *tx.inner)
    .await
    .doing(doing)?;
    to_u32(id)
}

/// Takes a new subject, and says whether it is the owner's. The platform may register anywhere.
pub(super) async fn owns(tx: &mut Tx, subject: &str, owner: &str, any: bool) -> Result<bool> {
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
