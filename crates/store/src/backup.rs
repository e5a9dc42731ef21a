//! A copy of the embedded store while it runs.

use std::path::Path;

use laneway_tenancy::control::RoleAuthority;
use sqlx::{AnyConnection, Connection};

use crate::Store;
use crate::access::Access;
use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;

const DOING: &str = "copying the store";

impl Store {
    /// Copies a store on SQLite into the new file `to`, and each of its shards into the folder
    /// `shards`, which has to be there if there are any, as `{name}.db`. Nothing is written to any
    /// of them from before `meanwhile` is called until the copies are made: a copy of something
    /// else that is begun in there is of the same instant. Writers wait for that long; readers do
    /// not.
    pub async fn backup<T>(
        &self,
        _authority: &RoleAuthority,
        to: &Path,
        shards: &Path,
        meanwhile: impl FnOnce() -> T,
    ) -> Result<T> {
        // The main one first: whoever writes to two at once begins with it.
        let mut stores = vec![(self, to.to_owned())];
        for shard in self.0.shards.each() {
            let to = shards.join(format!("{}.db", shard.name()));
            stores.push((shard.store()?, to));
        }
        let mut copies = Vec::with_capacity(stores.len());
        for (store, to) in &stores {
            copies.push(Copy::prepare(store, to).await?);
        }
        let mut writers_wait = Vec::with_capacity(stores.len());
        for (store, _) in &stores {
            writers_wait.push(store.write(Access::Platform).await?);
        }
        let of_the_instant = meanwhile();
        for copy in &mut copies {
            copy.make().await?;
        }
        for writers in writers_wait {
            writers.commit().await?;
        }
        Ok(of_the_instant)
    }
}

struct Copy {
    /// Of its own: a writer that waits may hold the last one of the pool.
    reader: AnyConnection,
    to: String,
}

impl Copy {
    async fn prepare(store: &Store, to: &Path) -> Result<Self> {
        if store.0.kind != Kind::Sqlite {
            return Err(StoreError::Config(
                "only databases on SQLite are copied; use the database's own tools".to_owned(),
            ));
        }
        let options = store.0.pool.connect_options();
        Ok(Copy {
            reader: AnyConnection::connect_with(&options).await.doing(DOING)?,
            to: to.to_string_lossy().into_owned(),
        })
    }

    async fn make(&mut self) -> Result<()> {
        sqlx::query("VACUUM INTO $1")
            .bind(self.to.as_str())
            .execute(&mut self.reader)
            .await
            .doing(DOING)?;
        Ok(())
    }
}
