//! Leases: work that one process does at a time.

use crate::Store;
use crate::access::Access;
use crate::error::{Doing, Result};

pub struct Leases<'a> {
    pub(crate) store: &'a Store,
}

impl Leases<'_> {
    /// Takes or renews a lease until `now + for_us`, unless another owner holds it. An owner that
    /// was restarted under its name has it at once.
    pub async fn take(&self, name: &str, owner: &str, now: i64, for_us: i64) -> Result<bool> {
        let mut tx = self.store.write(Access::Platform).await?;
        let taken = sqlx::query(
            "INSERT INTO leases (name, owner, expires_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
             WHERE leases.owner = excluded.owner OR leases.expires_at <= $4",
        )
        .bind(name)
        .bind(owner)
        .bind(now + for_us)
        .bind(now)
        .execute(&mut *tx.inner)
        .await
        .doing("taking a lease")?;
        tx.commit().await?;
        Ok(taken.rows_affected() > 0)
    }

    /// Gives a lease up early.
    pub async fn release(&self, name: &str, owner: &str) -> Result<()> {
        let mut tx = self.store.write(Access::Platform).await?;
        sqlx::query("DELETE FROM leases WHERE name = $1 AND owner = $2")
            .bind(name)
            .bind(owner)
            .execute(&mut *tx.inner)
            .await
            .doing("releasing a lease")?;
        tx.commit().await
    }
}
