//! What the deployment as a whole remembers, a generated hash key for one.

use sqlx::Row;

use crate::Store;
use crate::access::Access;
use crate::error::{Doing, Result};

pub struct Settings<'a> {
    pub(crate) store: &'a Store,
}

impl Settings<'_> {
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut tx = self.store.read(Access::Platform).await?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("reading a setting")?;
        tx.commit().await?;
        row.map(|row| row.try_get("value").doing("reading a setting"))
            .transpose()
    }

    /// The value; `value` becomes it where there is none yet. All callers get the same one.
    pub async fn get_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let mut tx = self.store.write(Access::Platform).await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(value.to_vec())
        .execute(&mut *tx.inner)
        .await
        .doing("writing a setting")?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *tx.inner)
            .await
            .doing("reading a setting")?;
        tx.commit().await?;
        row.try_get("value").doing("reading a setting")
    }
}
