//! A copy of the embedded store while it runs.

use std::path::Path;

use laneway_tenancy::control::RoleAuthority;
use sqlx::{AnyConnection, Connection};

use crate::Store;
use crate::access::Access;
use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;

impl Store {
    /// Copies a store on SQLite into the new file `to`. Nothing is written to the store from
    /// before `meanwhile` is called until the copy is made: a copy of something else that is begun
    /// in there is of the same instant. Writers wait for that long; readers do not.
    pub async fn backup<T>(
        &self,
        _authority: &RoleAuthority,
        to: &Path,
        meanwhile: impl FnOnce() -> T,
    ) -> Result<T> {
        const DOING: &str = "copying the store";
        if self.0.kind != Kind::Sqlite {
            return Err(StoreError::Config(
                "only a store on SQLite is copied; use the database's own tools".to_owned(),
            ));
        }
        if !self.0.shards.is_empty() {
            return Err(StoreError::Config(
                "a store with shards is not copied: their databases have to be of one instant; stop Laneway and copy all of its files".to_owned(),
            ));
        }
        // Of its own: a writer that waits may hold the last one of the pool.
        let mut reader = AnyConnection::connect_with(&self.0.pool.connect_options())
            .await
            .doing(DOING)?;
        let writers_wait = self.write(Access::Platform).await?;
        let of_the_instant = meanwhile();
        sqlx::query("VACUUM INTO $1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut reader)
            .await
            .doing(DOING)?;
        writers_wait.commit().await?;
        reader.close().await.doing(DOING)?;
        Ok(of_the_instant)
    }
}
