//! What has to stay compatible, of a subject and in general.

use laneway_schemas::Compatibility;

use super::SchemaStore;
use crate::access::{Access, Tx};
use crate::codec::Named;
use crate::error::{Doing, Result};

/// In the place of a subject: what holds for those that have no level of their own.
const GENERAL: &str = "";

impl SchemaStore {
    /// The level that holds for a subject.
    pub async fn level(&self, subject: &str) -> Result<Compatibility> {
        let mut tx = self.store.read(Access::Shared).await?;
        let level = in_force(&mut tx, subject).await?;
        tx.commit().await?;
        Ok(level)
    }

    /// The level that holds for subjects without one of their own.
    pub async fn general_level(&self) -> Result<Compatibility> {
        self.level(GENERAL).await
    }

    /// A subject's own level. The caller has checked that it may be seen.
    pub async fn own_level(&self, subject: &str) -> Result<Option<Compatibility>> {
        let mut tx = self.store.read(Access::Shared).await?;
        let row = sqlx::query("SELECT level FROM schema_levels WHERE subject = $1")
            .bind(subject)
            .fetch_optional(&mut *tx.inner)
            .await
            .doing(READING)?;
        tx.commit().await?;
        let level = |row| Named::new("schema_levels", subject, &row).variant("level");
        row.map(level).transpose()
    }

    /// The caller has checked whose subject it is.
    pub async fn set_level(&self, subject: &str, level: Compatibility) -> Result<()> {
        let mut tx = self.store.write(Access::Shared).await?;
        sqlx::query(
            "INSERT INTO schema_levels (subject, level) VALUES ($1, $2)
             ON CONFLICT (subject) DO UPDATE SET level = excluded.level",
        )
        .bind(subject)
        .bind(level.name())
        .execute(&mut *tx.inner)
        .await
        .doing("setting a compatibility level")?;
        tx.commit().await
    }

    pub async fn set_general_level(&self, level: Compatibility) -> Result<()> {
        self.set_level(GENERAL, level).await
    }

    /// From then on the general level holds. The caller has checked whose subject it is.
    pub async fn remove_level(&self, subject: &str) -> Result<()> {
        let mut tx = self.store.write(Access::Shared).await?;
        sqlx::query("DELETE FROM schema_levels WHERE subject = $1")
            .bind(subject)
            .execute(&mut *tx.inner)
            .await
            .doing("removing a compatibility level")?;
        tx.commit().await
    }
}

const READING: &str = "reading a compatibility level";

/// The subject's own level, else the general one, else BACKWARD.
pub(super) async fn in_force(tx: &mut Tx, subject: &str) -> Result<Compatibility> {
    let row = sqlx::query(
        "SELECT level FROM schema_levels WHERE subject IN ($1, $2) ORDER BY subject DESC LIMIT 1",
    )
    .bind(subject)
    .bind(GENERAL)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing(READING)?;
    match row {
        Some(row) => Named::new("schema_levels", subject, &row).variant("level"),
        None => Ok(Compatibility::default()),
    }
}
