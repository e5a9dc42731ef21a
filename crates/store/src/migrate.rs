//! Migrations. They only expand, so that an older node goes on beside a newer one.

use std::time::Duration;

use sqlx::AnyPool;
use sqlx::migrate::Migrator;

use crate::error::{Doing, Result, StoreError};
use crate::open::Kind;

const ATTEMPTS: u32 = 5;

fn migrations(kind: Kind) -> Migrator {
    let mut migrator = match kind {
        Kind::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Kind::Postgres => sqlx::migrate!("migrations/postgres"),
    };
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, once, however many processes start together: PostgreSQL by an
/// advisory lock of the session, SQLite by its write lock around all of it.
pub(crate) async fn run(kind: Kind, pool: &AnyPool) -> Result<()> {
    let mut attempt = 1;
    loop {
        match once(kind, pool).await {
            Ok(()) => return Ok(()),
            // Roles belong to the whole PostgreSQL cluster, out of the lock's reach; and SQLite
            // may be busy with turning on its write-ahead log. Both pass.
            Err(error) if attempt < ATTEMPTS => {
                tracing::info!(%error, attempt, "migrating the store did not succeed yet; trying again");
                tokio::time::sleep(Duration::from_millis(u64::from(100 * attempt))).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn once(kind: Kind, pool: &AnyPool) -> Result<()> {
    let mut migrator = migrations(kind);
    let failed = |e: sqlx::migrate::MigrateError| StoreError::Migration(e.to_string());
    match kind {
        Kind::Postgres => migrator.run(pool).await.map_err(failed),
        Kind::Sqlite => {
            migrator.set_locking(false);
            let mut tx = pool
                .begin_with("BEGIN IMMEDIATE")
                .await
                .doing("locking the database for migrations")?;
            migrator
                .run_direct(None, &mut *tx, false)
                .await
                .map_err(failed)?;
            tx.commit().await.doing("committing the migrations")
        }
    }
}
