//! Deleting versions: left out at first, then for good.

use super::references::referring;
use super::register::lock;
use super::{RegisteredSchema, SchemaStore, versions};
use crate::access::{Access, Tx};
use crate::error::{Doing, Result};

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// The versions that it was about.
    Done(Vec<u32>),
    /// There is no such subject or version.
    Unknown,
    /// It was left out before; only for good is left.
    DeletedBefore,
    /// For good only what is left out already.
    NotDeletedBefore,
    /// Schemas refer to this version.
    ReferredTo(u32),
}

impl SchemaStore {
    /// Deletes one version, or all of a subject. The caller has checked whose subject it is.
    pub async fn delete(
        &self,
        subject: &str,
        version: Option<u32>,
        permanent: bool,
    ) -> Result<Deletion> {
        let mut tx = self.store.write(Access::Shared).await?;
        lock(&mut tx).await?;
        let mut found = versions(&mut tx, &self.viewer(), subject).await?;
        if let Some(version) = version {
            found.retain(|v| v.version == version);
        }
        if found.is_empty() {
            return Ok(Deletion::Unknown);
        }
        if permanent {
            if found.iter().any(|v| !v.deleted) {
                return Ok(Deletion::NotDeletedBefore);
            }
        } else {
            found.retain(|v| !v.deleted);
            if found.is_empty() {
                return Ok(Deletion::DeletedBefore);
            }
        }
        for version in &found {
            // Who is left out itself needs only what is there.
            let referring = referring(&mut tx, "*", subject, version.version, permanent);
            if !referring.await?.is_empty() {
                return Ok(Deletion::ReferredTo(version.version));
            }
            delete(&mut tx, version, permanent).await?;
        }
        tx.commit().await?;
        Ok(Deletion::Done(found.iter().map(|v| v.version).collect()))
    }
}

async fn delete(tx: &mut Tx, version: &RegisteredSchema, permanent: bool) -> Result<()> {
    let sql = if permanent {
        "DELETE FROM schema_versions WHERE subject = $1 AND version = $2"
    } else {
        "UPDATE schema_versions SET deleted = 1 WHERE subject = $1 AND version = $2"
    };
    sqlx::query(sql)
        .bind(&version.subject)
        .bind(i64::from(version.version))
        .execute(&mut *tx.inner)
        .await
        .doing("deleting a version of a schema")?;
    Ok(())
}
