//! Registering schemas.

use futures_util::future::BoxFuture;
use laneway_schemas::{Registry, RegistryError};
use sqlx::Row;

use super::check::{NewSchema, check};
use super::references::{self, SchemaReference};
use super::{SchemaStore, levels, normal, to_u32, versions};
use crate::access::{Access, Tx};
use crate::error::{Doing, Result, StoreError};

impl SchemaStore {
    /// The id of the schema under a subject; registers it when it is new and compatible as the
    /// subject's level says.
    pub async fn add(&self, subject: &str, new: NewSchema<'_>) -> Result<u32, RegistryError> {
        let unavailable = |e: StoreError| RegistryError::Unavailable {
            doing: format!("registering a schema for {subject}"),
            reason: e.to_string(),
        };
        let schema = normal(new.schema);
        let new = NewSchema {
            schema: &schema,
            ..new
        };
        let mut tx = self
            .store
            .write(Access::Shared)
            .await
            .map_err(unavailable)?;
        // One registration at a time: two could each be compatible with the last version, but
        // not with each other.
        let next = lock(&mut tx).await.map_err(unavailable)?;
        let owner = owner_of(&mut tx, subject, &self.owner())
            .await
            .map_err(unavailable)?;
        // The platform may register anywhere.
        if self.tenant.is_some() && owner != self.owner() {
            let reason = "it is another's subject".to_owned();
            return Err(RegistryError::Invalid {
                subject: subject.to_owned(),
                reason,
            });
        }
        let mut existing = versions(&mut tx, "*", subject).await.map_err(unavailable)?;
        let version = existing.last().map_or(1, |last| last.version + 1);
        existing.retain(|v| !v.deleted);
        if let Some(same) = existing.iter().find(|v| v.as_new() == new) {
            return Ok(same.id);
        }
        let level = levels::in_force(&mut tx, subject)
            .await
            .map_err(unavailable)?;
        check(&mut tx, level, subject, &owner, &existing, new).await?;
        let id = insert(&mut tx, subject, version, new, next)
            .await
            .map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        Ok(id)
    }
}

impl Registry for SchemaStore {
    fn register<'a>(
        &'a self,
        subject: &'a str,
        schema: &'a str,
    ) -> BoxFuture<'a, Result<u32, RegistryError>> {
        let new = NewSchema {
            schema,
            references: &[],
        };
        Box::pin(self.add(subject, new))
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
            found
                .map(|found| found.schema)
                .ok_or(RegistryError::UnknownId { id })
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

async fn insert(
    tx: &mut Tx,
    subject: &str,
    version: u32,
    new: NewSchema<'_>,
    next: i64,
) -> Result<u32> {
    let doing = "registering a schema";
    let id = match known(tx, new).await? {
        Some(id) => id,
        None => {
            sqlx::query("INSERT INTO schemas (id, schema) VALUES ($1, $2)")
                .bind(next)
                .bind(new.schema)
                .execute(&mut *tx.inner)
                .await
                .doing(doing)?;
            references::insert(tx, next, new.references).await?;
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

/// The id that the same schema with the same references has.
async fn known(tx: &mut Tx, new: NewSchema<'_>) -> Result<Option<i64>> {
    let doing = "looking for the same schema";
    let rows = sqlx::query(
        "SELECT s.id, r.name AS of_name, r.subject AS of_subject, r.version AS of_version
         FROM schemas s LEFT JOIN schema_references r ON r.schema_id = s.id
         WHERE s.schema = $1 ORDER BY s.id, r.position",
    )
    .bind(new.schema)
    .fetch_all(&mut *tx.inner)
    .await
    .doing(doing)?;
    let mut found: Vec<(i64, Vec<SchemaReference>)> = Vec::new();
    for row in &rows {
        let id = row.try_get("id").doing(doing)?;
        if found.last().is_none_or(|(last, _)| *last != id) {
            found.push((id, Vec::new()));
        }
        if let Some((_, references)) = found.last_mut() {
            references.extend(references::referred(row)?);
        }
    }
    let same = found.into_iter().find(|(_, r)| r == new.references);
    Ok(same.map(|(id, _)| id))
}

/// Whose a subject is; a new one is taken for `owner`.
async fn owner_of(tx: &mut Tx, subject: &str, owner: &str) -> Result<String> {
    sqlx::query("INSERT INTO schema_subjects (subject, owner) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING")
        .bind(subject)
        .bind(owner)
        .execute(&mut *tx.inner)
        .await
        .doing(OWNER)?;
    let found = find_owner(tx, subject).await?;
    Ok(found.unwrap_or_else(|| owner.to_owned()))
}

const OWNER: &str = "looking whose a schema subject is";

pub(super) async fn find_owner(tx: &mut Tx, subject: &str) -> Result<Option<String>> {
    let row = sqlx::query("SELECT owner FROM schema_subjects WHERE subject = $1")
        .bind(subject)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing(OWNER)?;
    row.map(|row| row.try_get(0).doing(OWNER)).transpose()
}
